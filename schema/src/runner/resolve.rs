//! What a person says of a migration that stands half, having looked.

use crate::address::Kind;
use crate::database::{Session, mysql::MySql, postgres::Postgres, sqlite::Sqlite};
use crate::error::Error;
use crate::plan::Refusal;
use crate::record::State;
use crate::runner::alone::write;
use crate::runner::{Course, End, Job, Outcome, end, prepared, take_lock};
use crate::script::Work;
use handover_model::SchemaVersion;

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
pub async fn resolve(job: &Job<'_>, version: SchemaVersion, resolution: Resolution) -> Result<(), Error> {
    job.target.secret()?;
    let done = match job.target.address.kind() {
        Kind::Postgres => write_down::<Postgres>(job, version, resolution).await,
        Kind::MySql => write_down::<MySql>(job, version, resolution).await,
        Kind::Sqlite => write_down::<Sqlite>(job, version, resolution).await,
    };
    done.map_err(|end| match end {
        End::Error(error) => error,
        End::Lost(source) => Error::Connect { database: job.target.address.to_string(), source },
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
        .map_err(|fault| end(fault, |source| Error::Connect { database: database.clone(), source }))?;
    let control = crate::control::Control::new();
    let until = tokio::time::Instant::now() + job.limits.whole;
    let mut quiet = |_| {};
    let mut course = Course {
        job,
        control: &control,
        listener: &mut quiet,
        outcome: Outcome::default(),
        until,
        connected: true,
        reached: false,
        moved: false,
    };
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
    let records = prepared(session).await?;
    let Some(record) =
        records.into_iter().find(|record| record.version == version && record.state == State::Started)
    else {
        let what = format!("version {version} does not stand half: there is nothing to resolve");
        return Err(Error::Nonsense { what }.into());
    };
    let Some(script) = course.job.scripts.get(version) else {
        let (name, phase) = (record.name, record.phase);
        return Err(Error::from(Refusal::UnfinishedMissing { version, name, phase }).into());
    };
    let of = match &script.work {
        Work::Together(statements) => u32::try_from(statements.len()).unwrap_or(u32::MAX),
        Work::Alone(..) | Work::Program(_) => 1,
        // How far a backfill is stands in the table, to the row.
        Work::Batches(..) if resolution != Resolution::PutBack => {
            let what = format!("{script} is a backfill: run it again, it goes on where it stands");
            return Err(Error::Nonsense { what }.into());
        }
        Work::Batches(..) => 0,
    };
    let done = match resolution {
        Resolution::TookEffect => record.done + 1,
        Resolution::DidNot => record.done,
        Resolution::PutBack => 0,
    };
    if resolution == Resolution::PutBack
        || matches!(script.work, Work::Alone(..) | Work::Program(_)) && done == 0
    {
        let (sql, values) = session.tables().forget(version);
        write(session, &sql, &values).await?;
        if matches!(script.work, Work::Batches(..)) {
            let (sql, values) = session.tables().forget_backfill(version);
            write(session, &sql, &values).await?;
        }
        return Ok(());
    }
    let (sql, values) = if done >= of {
        session.tables().applied(version, 0)
    } else {
        session.tables().at_statement(version, done, done)
    };
    write(session, &sql, &values).await
}
