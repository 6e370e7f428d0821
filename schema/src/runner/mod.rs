//! The run of a phase: reach the database, lock, plan, apply. What was applied is only what the table says, so a run that was
//! killed, or whose connection went away, begins anew by reading it.

mod alone;
mod backfill;
mod course;
mod program;
mod resolve;
mod status;
mod steps;
mod together;
mod transaction;
mod watch;

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use crate::address::{Address, Kind};
use crate::control::Control;
use crate::database::tables;
use crate::database::{Lock, Session};
use crate::database::{mysql::MySql, postgres::Postgres, sqlite::Sqlite};
use crate::error::{Error, Fault, FaultKind};
use crate::folder::Scripts;
use crate::limits::Limits;
use crate::plan::{self, version_of};
use crate::programs::Programs;
use crate::progress::Progress;
use crate::record::Record;
use crate::secret::{PasswordSource, Secret, SecretError};
use handover_model::{SchemaPhase, SchemaReader, SchemaVersion};
use handover_script::{Script, Statement, Work};

pub(crate) use course::{Course, Seen, again, rest, wait_while_paused};
pub(crate) use transaction::{Write, begun, rolled_back, sealed, taken_back, write};

pub use resolve::resolve;
pub use status::{Status, status};

/// Which database, and how to be let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where it is.
    pub address: Address,
    /// Where its password is.
    pub password: PasswordSource,
    /// `$CREDENTIALS_DIRECTORY`, where the password is a credential.
    pub credentials: Option<PathBuf>,
    /// The schema (PostgreSQL: `public`) or database (MySQL: the address's) in which the tables of what was applied are. They are
    /// one history: two services that share a database and number their migrations apart need two.
    pub schema: Option<String>,
}

impl Target {
    /// The password, read anew for each connection: it may be changed while a run goes on.
    pub fn secret(&self) -> Result<Option<Secret>, SecretError> {
        self.password.read(self.credentials.as_deref())
    }
}

/// What is to be run.
#[derive(Clone, Debug)]
pub struct Job<'a> {
    /// In which database.
    pub target: &'a Target,
    /// For which service: who holds the lock is named after it.
    pub service: &'a str,
    /// Who runs it.
    pub by: &'a str,
    /// The deployment that it is part of.
    pub deployment: &'a str,
    /// Which phase.
    pub phase: SchemaPhase,
    /// The release's migrations, of all phases.
    pub scripts: &'a Scripts,
    /// Code that runs meanwhile.
    pub readers: &'a [SchemaReader],
    /// The bounds.
    pub limits: &'a Limits,
    /// Runs migrations that are programs; `None`: they are refused.
    pub programs: Option<&'a dyn Programs>,
}

/// What a run has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The schema's version before it.
    pub from: SchemaVersion,
    /// The schema's version after it.
    pub to: SchemaVersion,
    /// The files that it applied, in their order, each with how long that took.
    pub applied: Vec<(String, Duration)>,
}

/// Who hears what a run tells.
pub type Listener<'a> = dyn FnMut(Progress) + Send + 'a;

/// Applies a phase. What it tells is told in order, and before the next thing is begun.
pub async fn run(job: &Job<'_>, control: &Control, listener: &mut Listener<'_>) -> Result<Outcome, Error> {
    match job.target.address.kind() {
        Kind::Postgres => drive::<Postgres>(job, control, listener).await,
        Kind::MySql => drive::<MySql>(job, control, listener).await,
        Kind::Sqlite => drive::<Sqlite>(job, control, listener).await,
    }
}

/// Why a round ended before its end.
pub(crate) enum End {
    /// The connection is gone: another round can go on.
    Lost(Fault),
    /// A statement of ours met a lock, and its transaction is taken back: the same round can go on, from what the table says.
    Locked {
        /// What could not be done with the table.
        doing: &'static str,
        source: Fault,
    },
    Error(Error),
}

impl End {
    /// The error of something that was asked for once, and is not tried again.
    pub(crate) fn into_error(self, lost: impl FnOnce(Fault) -> Error) -> Error {
        match self {
            Self::Lost(source) => lost(source),
            Self::Locked { doing, source } => Error::Table { doing, source },
            Self::Error(error) => error,
        }
    }
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// A fault as an end: lost, or the error that is made of it.
pub(crate) fn end(fault: Fault, error: impl FnOnce(Fault) -> Error) -> End {
    if fault.kind == FaultKind::Lost { End::Lost(fault) } else { End::Error(error(fault)) }
}

pub(crate) fn unreadable(fault: Fault) -> End {
    of_the_table("read", fault)
}

pub(crate) fn unwritable(fault: Fault) -> End {
    of_the_table("written", fault)
}

fn of_the_table(doing: &'static str, source: Fault) -> End {
    match source.kind {
        FaultKind::Locked => End::Locked { doing, source },
        _ => end(source, |source| Error::Table { doing, source }),
    }
}

async fn drive<S: Session>(
    job: &Job<'_>,
    control: &Control,
    listener: &mut Listener<'_>,
) -> Result<Outcome, Error> {
    job.target.secret()?;
    let mut course = Course::new(job, control, listener);
    let mut lost_at: Option<Instant> = None;
    let mut pause = job.limits.pause;
    loop {
        course.in_time()?;
        course.moved = false;
        let fault = match round::<S>(&mut course).await {
            Ok(()) => return Ok(course.outcome),
            Err(End::Lost(fault)) if course.connected => fault,
            Err(end) => {
                let database = job.target.address.to_string();
                return Err(end.into_error(|source| Error::Connect { database, source }));
            }
        };
        if course.seen == Seen::Now {
            course.seen = Seen::Before;
        }
        if course.moved {
            (lost_at, pause) = (None, job.limits.pause);
        }
        let since = *lost_at.get_or_insert_with(Instant::now);
        if since.elapsed() >= job.limits.reconnect {
            return Err(Error::Lost { stands: course.stands(), source: fault });
        }
        course.tell(Progress::Lost { why: fault.message });
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = control.cancelled() => {}
        }
        pause = (pause * 2).min(Duration::from_secs(10));
    }
}

async fn round<S: Session>(course: &mut Course<'_, '_>) -> Result<(), End> {
    let job = course.job;
    let holder = format!("handover migrate {} by {}", job.service, job.by);
    let database = job.target.address.to_string();
    let mut session =
        S::connect(job.target, &holder, job.limits).await.map_err(|fault| not_let_in(course, fault))?;
    course.connected = true;
    course.tell(Progress::Connected);
    let done = locked(&mut session, course, &database).await;
    session.close().await;
    done
}

/// A session that did not come about: of a database that is away, or that does not want us.
fn not_let_in(course: &Course<'_, '_>, fault: Fault) -> End {
    end(fault, |source| match course.seen {
        Seen::Never => Error::Connect { database: course.job.target.address.to_string(), source },
        Seen::Now | Seen::Before => Error::Lost { stands: course.stands(), source },
    })
}

async fn locked<S: Session>(session: &mut S, course: &mut Course<'_, '_>, database: &str) -> Result<(), End> {
    take_lock(session, course, database).await?;
    course.tell(Progress::Locked);
    let mut eye = session.eye();
    loop {
        match phase(session, &mut eye, course).await {
            Err(End::Locked { doing, source }) => {
                let file = course.file.clone();
                if !again(session, course, &file, &source).await? {
                    return Err(Error::Table { doing, source }.into());
                }
            }
            done => return done,
        }
    }
}

/// Applies what is not applied yet, by what the table says now.
async fn phase<S: Session>(
    session: &mut S,
    eye: &mut S::Eye,
    course: &mut Course<'_, '_>,
) -> Result<(), End> {
    let records = prepared(session).await?;
    course.read(&records);
    let job = course.job;
    let plan = plan::plan(job.phase, job.scripts, &records, job.readers).map_err(Error::from)?;
    course.tell(Progress::Planned { from: plan.from, to: plan.to, steps: plan.steps.len() });
    for script in plan.steps {
        wait_while_paused(session, course).await?;
        let record = records.iter().find(|record| record.version == script.version);
        course.file = script.to_string();
        course.tell(Progress::Begins { file: script.to_string(), again: record.is_some() });
        let began = Instant::now();
        let is_last = records.iter().all(|other| other.version <= script.version);
        apply(session, eye, course, script, program::Before { record, is_last }).await?;
        course.applied(script, began.elapsed());
    }
    Ok(())
}

async fn apply<S: Session>(
    session: &mut S,
    eye: &mut S::Eye,
    course: &mut Course<'_, '_>,
    script: &Script,
    before: program::Before<'_>,
) -> Result<(), End> {
    let record = before.record;
    match &script.work {
        Work::Batches(statement, batch) => {
            backfill::run(session, eye, course, script, (statement, batch), record).await
        }
        Work::Together(statements) if S::TRANSACTIONAL => {
            together::run(session, eye, course, script, statements).await
        }
        Work::Together(statements) => steps::run(session, eye, course, script, statements, record).await,
        Work::Alone(statement, alone) if S::TRANSACTIONAL => {
            alone::run(session, eye, course, script, (statement, alone), record).await
        }
        Work::Program(path) => program::run(session, course, script, path, before).await,
        Work::Alone(statement, _) => {
            steps::run(session, eye, course, script, std::slice::from_ref(statement), record).await
        }
    }
}

async fn take_lock<S: Session>(
    session: &mut S,
    course: &mut Course<'_, '_>,
    database: &str,
) -> Result<(), End> {
    let limits = course.job.limits;
    // After a connection was lost it is our own former session that has it still, until the server notices.
    let patience = if course.seen == Seen::Never {
        limits.wait_for_lock
    } else {
        limits.lease * 2 + limits.check_interval()
    };
    let until = Instant::now() + patience;
    let mut told = None;
    loop {
        course.in_time()?;
        let holder = match session.try_lock().await.map_err(unreadable)? {
            Lock::Ours => return Ok(()),
            Lock::Held(holder) => holder,
        };
        if Instant::now() >= until {
            let stands = beside_another(session, course).await;
            return Err(Error::Busy { database: database.to_owned(), holder, stands }.into());
        }
        if told.as_ref() != Some(&holder) {
            course.tell(Progress::WaitsForLock { holder: holder.clone() });
            told = Some(holder);
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(250)) => {}
            () = course.control.cancelled() => {}
        }
    }
}

/// What stands while another runner has the lock: after a connection was lost, what the table says now.
async fn beside_another<S: Session>(session: &mut S, course: &mut Course<'_, '_>) -> String {
    if course.seen == Seen::Never {
        return "nothing was done".to_owned();
    }
    match records(session).await {
        Ok(records) => {
            format!("the connection was lost, and the schema is at version {}", version_of(&records))
        }
        Err(_) => format!(
            "the connection was lost, and the schema was at version {} when it was read last",
            course.outcome.to
        ),
    }
}

/// Makes the tables where they are missing, and reads what was applied.
pub(crate) async fn prepared<S: Session>(session: &mut S) -> Result<Vec<Record>, End> {
    if !session.has_tables().await.map_err(unreadable)? {
        session.make_room().await.map_err(unwritable)?;
        for sql in session.tables().create() {
            session.run(&sql, &[]).await.map_err(unwritable)?;
        }
    }
    records(session).await
}

pub(crate) async fn records<S: Session>(session: &mut S) -> Result<Vec<Record>, End> {
    let sql = session.tables().records();
    let rows = session.rows(&sql, &[]).await.map_err(unreadable)?;
    Ok(rows.iter().map(tables::record).collect::<Result<_, _>>()?)
}

/// The line on which the database found a mistake.
pub(crate) fn line_of(statement: &Statement, fault: &Fault) -> usize {
    let within = fault
        .position
        .map_or(0, |at| statement.text.chars().take(at.saturating_sub(1)).filter(|c| *c == '\n').count());
    statement.line + within
}

pub(crate) fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
