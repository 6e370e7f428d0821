//! What a person says of a migration that stands half, having looked.

use crate::address::Kind;
use crate::control::Control;
use crate::database::tables::Tables;
use crate::database::{Session, mysql::MySql, postgres::Postgres, sqlite::Sqlite};
use crate::error::Error;
use crate::plan::Refusal;
use crate::record::{Record, State};
use crate::runner::{Course, End, Job, Listener, Write, again, prepared, take_lock, write};
use handover_model::{Found, Resolution, SchemaPhase, SchemaVersion};
use handover_script::Work;

/// Writes down what a person found. The next run goes on from there. Asked again for the same deployment it changes nothing: what
/// stands half then is not what the person saw.
///
/// # Errors
///
/// [`Error::NothingHalf`] where it does not stand half; [`Error::Unresolved`] where the record tells by itself how far it is; [`Refusal::Changed`] where what is said to have taken effect is another file than the one that was begun;
/// [`Error::Busy`] while a run is at work.
pub async fn resolve(
    job: &Job<'_>,
    resolution: Resolution,
    control: &Control,
    listener: &mut Listener<'_>,
) -> Result<(), Error> {
    let version = resolution.version;
    job.target.secret()?;
    let done = match job.target.address.kind() {
        Kind::Postgres => write_down::<Postgres>(job, resolution, control, listener).await,
        Kind::MySql => write_down::<MySql>(job, resolution, control, listener).await,
        Kind::Sqlite => write_down::<Sqlite>(job, resolution, control, listener).await,
    };
    done.map_err(|end| {
        end.into_error(|source| {
            let stands = format!(
                "Whether it was written down, the database says once it is back: say it again where version {version} stands half still."
            );
            Error::Lost { stands, source }
        })
    })
}

async fn write_down<S: Session>(
    job: &Job<'_>,
    resolution: Resolution,
    control: &Control,
    listener: &mut Listener<'_>,
) -> Result<(), End> {
    let database = job.target.address.to_string();
    let holder = format!("handover migrate {} by {}: resolve", job.service, job.by);
    let mut session = S::connect(job.target, &holder, job.limits)
        .await
        .map_err(|source| Error::Connect { database: database.clone(), source })?;
    let mut course = Course::new(job, control, listener);
    let done = resolved(&mut session, &mut course, &database, resolution).await;
    session.close().await;
    done
}

async fn resolved<S: Session>(
    session: &mut S,
    course: &mut Course<'_, '_>,
    database: &str,
    resolution: Resolution,
) -> Result<(), End> {
    take_lock(session, course, database).await?;
    let records = loop {
        match prepared(session).await {
            Err(End::Locked { doing, source }) => {
                if !again(session, course, database, &source).await? {
                    return Err(Error::Table { doing, source }.into());
                }
            }
            read => break read?,
        }
    };
    let Resolution { version, found } = resolution;
    let writes = if found == Found::Again {
        anew(session.tables(), course, &records, version)?
    } else {
        let is_last = records.iter().all(|record| record.version <= version);
        let record = records.into_iter().find(|record| record.version == version);
        writes::<S>(session.tables(), course, record, is_last, resolution)?
    };
    course.in_time()?;
    if writes.is_empty() { Ok(()) } else { write(session, course, &writes).await }
}

/// What is to be written, all of it at once; or why what the person says cannot be so.
fn writes<S: Session>(
    tables: &Tables,
    course: &Course<'_, '_>,
    record: Option<Record>,
    is_last: bool,
    Resolution { version, found }: Resolution,
) -> Result<Vec<Write>, Error> {
    let (job, hand) = (course.job, course.hand());
    let not_so = |what: String| Error::Unresolved { what };
    let Some(record) = record.filter(|record| record.state == State::Started) else {
        return Err(Error::NothingHalf { version });
    };
    if record.deployment == job.deployment {
        return Ok(Vec::new());
    }
    let Some(script) = job.scripts.get(version) else {
        let (name, phase) = (record.name, record.phase);
        return Err(Refusal::UnfinishedMissing { version, name, phase }.into());
    };
    if record.phase != job.phase {
        return Err(not_so(format!(
            "{script} is of the phase {phase}: say it with that, `handover migrate {phase}`",
            phase = record.phase
        )));
    }
    // A row below others cannot be made anew: the line of versions would have a hole. It begins from its beginning.
    if !is_last && (found == Found::PutBack || found == Found::DidNot && record.done == 0) {
        let mut writes = vec![tables.reopen(version, &hand)];
        if matches!(script.work, Work::Batches(..)) {
            writes.extend([tables.forget_backfill(version), tables.insert_backfill(version)]);
        }
        return Ok(writes);
    }
    if found == Found::PutBack {
        return Ok(vec![tables.forget(version), tables.forget_backfill(version)]);
    }
    let of = match &script.work {
        Work::Together(statements) => u32::try_from(statements.len()).unwrap_or(u32::MAX),
        Work::Alone(..) | Work::Program(_) => 1,
        // How far a backfill is stands in the table, to the row.
        Work::Batches(..) => {
            return Err(not_so(format!("{script} is a backfill: run it again, it goes on where it stands")));
        }
    };
    // Where a statement runs by itself, the record says that it was begun; where they are counted, the counts do.
    if !S::TRANSACTIONAL && record.begun <= record.done {
        return Err(not_so(format!(
            "{script}: {} of its statements are recorded as applied, and none beyond them as begun: run it again, it goes on \
             behind them",
            record.done
        )));
    }
    match found {
        Found::TookEffect if script.checksum != record.checksum => {
            Err(Refusal::Changed { file: script.to_string(), was: record.checksum, is: script.checksum }
                .into())
        }
        Found::TookEffect if record.done + 1 >= of => Ok(vec![tables.applied(version, 0)]),
        Found::TookEffect => Ok(vec![tables.at_statement_by(version, record.done + 1, &hand)]),
        // Nothing of it stands: the file may be another one now.
        Found::DidNot if record.done == 0 => Ok(vec![tables.forget(version)]),
        Found::DidNot | Found::PutBack | Found::Again => {
            Ok(vec![tables.at_statement_by(version, record.done, &hand)])
        }
    }
}

/// What is to be written so that the backfills from a version on are done again from their beginnings, all of it at once.
fn anew(
    tables: &Tables,
    course: &Course<'_, '_>,
    records: &[Record],
    from: SchemaVersion,
) -> Result<Vec<Write>, Error> {
    let (job, hand) = (course.job, course.hand());
    if job.phase != SchemaPhase::Backfill {
        let what = format!(
            "only backfills are done again: say it with `handover migrate backfill`, not {}",
            job.phase
        );
        return Err(Error::Unresolved { what });
    }
    let concerns = |record: &&Record| record.phase == SchemaPhase::Backfill && record.version >= from;
    let mut writes = Vec::new();
    // What this deployment has begun anew already goes on where it is.
    let not_ours = |record: &&Record| record.deployment != job.deployment;
    for record in records.iter().filter(concerns).filter(not_ours) {
        let version = record.version;
        let not_so = |what: String| Error::Unresolved { what };
        let Some(script) = job.scripts.get(version) else {
            return Err(not_so(format!(
                "backfill {version} ({}) has to be done again as well, and is not in this release: take one that has it",
                record.name
            )));
        };
        if script.checksum != record.checksum {
            let (file, was, is) = (script.to_string(), record.checksum, script.checksum);
            return Err(Refusal::Changed { file, was, is }.into());
        }
        match &script.work {
            Work::Batches(..) => writes.extend([
                tables.reopen(version, &hand),
                tables.forget_backfill(version),
                tables.insert_backfill(version),
            ]),
            Work::Program(_) => writes.push(tables.reopen(version, &hand)),
            Work::Together(_) | Work::Alone(..) => {
                return Err(not_so(format!(
                    "{script} is no backfill in batches and no program: do by hand what it did, then say that it is right: --resolve {version}=took-effect"
                )));
            }
        }
    }
    match records.iter().any(|record| concerns(&record)) {
        true => Ok(writes),
        false => Err(Error::NothingHalf { version: from }),
    }
}
