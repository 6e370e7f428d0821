//! What a person says of a migration that stands half, having looked.

use crate::address::Kind;
use crate::control::Control;
use crate::database::tables::Tables;
use crate::database::{Session, mysql::MySql, postgres::Postgres, sqlite::Sqlite};
use crate::error::Error;
use crate::plan::Refusal;
use crate::record::{Record, State};
use crate::runner::{Course, End, Job, Write, again, prepared, take_lock, write};
use handover_model::SchemaVersion;
use handover_script::Work;

/// What a person says of the statement at which a run was cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// It took effect.
    TookEffect,
    /// It did not.
    DidNot,
    /// All of the migration was put back by hand: forget that it was begun.
    PutBack,
}

/// Writes down what a person found. The next run goes on from there.
///
/// # Errors
///
/// [`Error::Unresolved`] where the record does not say that something was begun and is not done, or where it tells by itself how
/// far it is; [`Refusal::Changed`] where what is said to have taken effect is another file than the one that was begun;
/// [`Error::Busy`] while a run is at work.
pub async fn resolve(job: &Job<'_>, version: SchemaVersion, resolution: Resolution) -> Result<(), Error> {
    job.target.secret()?;
    let done = match job.target.address.kind() {
        Kind::Postgres => write_down::<Postgres>(job, version, resolution).await,
        Kind::MySql => write_down::<MySql>(job, version, resolution).await,
        Kind::Sqlite => write_down::<Sqlite>(job, version, resolution).await,
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
    version: SchemaVersion,
    resolution: Resolution,
) -> Result<(), End> {
    let database = job.target.address.to_string();
    let holder = format!("handover migrate {} by {}: resolve", job.service, job.by);
    let mut session = S::connect(job.target, &holder, job.limits)
        .await
        .map_err(|source| Error::Connect { database: database.clone(), source })?;
    let control = Control::new();
    let mut quiet = |_| {};
    let mut course = Course::new(job, &control, &mut quiet);
    let done = resolved(&mut session, &mut course, &database, version, resolution).await;
    session.close().await;
    done
}

async fn resolved<S: Session>(
    session: &mut S,
    course: &mut Course<'_, '_>,
    database: &str,
    version: SchemaVersion,
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
    let record = records.into_iter().find(|record| record.version == version);
    let writes = writes::<S>(session.tables(), course.job, version, record, resolution)?;
    write(session, course, &writes).await
}

/// What is to be written, all of it at once; or why what the person says cannot be so.
fn writes<S: Session>(
    tables: &Tables,
    job: &Job<'_>,
    version: SchemaVersion,
    record: Option<Record>,
    resolution: Resolution,
) -> Result<Vec<Write>, Error> {
    let not_so = |what: String| Error::Unresolved { what };
    let Some(record) = record.filter(|record| record.state == State::Started) else {
        return Err(not_so(format!("version {version} does not stand half: there is nothing to resolve")));
    };
    let Some(script) = job.scripts.get(version) else {
        let (name, phase) = (record.name, record.phase);
        return Err(Refusal::UnfinishedMissing { version, name, phase }.into());
    };
    if resolution == Resolution::PutBack {
        return Ok(vec![tables.forget(version), tables.forget_backfill(version)]);
    }
    let of = match &script.work {
        Work::Together(statements) => u32::try_from(statements.len()).unwrap_or(u32::MAX),
        Work::Alone(..) => 1,
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
    match resolution {
        Resolution::TookEffect if script.checksum != record.checksum => {
            Err(Refusal::Changed { file: script.to_string(), was: record.checksum, is: script.checksum }
                .into())
        }
        Resolution::TookEffect if record.done + 1 >= of => Ok(vec![tables.applied(version, 0)]),
        Resolution::TookEffect => Ok(vec![tables.at_statement(version, record.done + 1, record.done + 1)]),
        // Nothing of it stands: the file may be another one now.
        Resolution::DidNot if record.done == 0 => Ok(vec![tables.forget(version)]),
        Resolution::DidNot | Resolution::PutBack => {
            Ok(vec![tables.at_statement(version, record.done, record.done)])
        }
    }
}
