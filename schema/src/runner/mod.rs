//! The run of a phase: reach the database, lock, plan, apply. What was applied is only what the table says, so a run that was
//! killed, or whose connection went away, begins anew by reading it.

mod alone;
mod backfill;
mod program;
mod resolve;
mod status;
mod steps;
mod together;
mod watch;

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use crate::address::{Address, Kind};
use crate::control::Control;
use crate::database::tables::{self, Hand};
use crate::database::{Lock, Session, within};
use crate::database::{mysql::MySql, postgres::Postgres, sqlite::Sqlite};
use crate::error::{Error, Fault, FaultKind};
use crate::limits::Limits;
use crate::plan;
use crate::programs::Programs;
use crate::progress::Progress;
use crate::record::Record;
use crate::script::{Script, Scripts, Statement, Work};
use crate::secret::{PasswordSource, Secret, SecretError};
use handover_model::{SchemaPhase, SchemaReader, SchemaVersion};

pub use resolve::{Resolution, resolve};
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
    Error(Error),
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
    end(fault, |source| Error::Table { doing: "read", source })
}

pub(crate) fn unwritable(fault: Fault) -> End {
    end(fault, |source| Error::Table { doing: "written", source })
}

/// What is the same in all rounds of a run.
pub(crate) struct Course<'a, 'l> {
    pub(crate) job: &'a Job<'a>,
    pub(crate) control: &'a Control,
    pub(crate) listener: &'a mut Listener<'l>,
    pub(crate) outcome: Outcome,
    /// When all of it has to be over.
    pub(crate) until: Instant,
    /// Whether the database was reached. Before, that it cannot be is told at once.
    connected: bool,
    /// Whether a session had the lock.
    reached: bool,
    /// Whether this round committed something.
    pub(crate) moved: bool,
}

impl Course<'_, '_> {
    pub(crate) fn tell(&mut self, progress: Progress) {
        (self.listener)(progress);
    }

    pub(crate) fn hand(&self) -> Hand {
        Hand { by: self.job.by.to_owned(), deployment: self.job.deployment.to_owned() }
    }

    pub(crate) fn stands(&self) -> String {
        format!(
            "The schema is at version {}, and what was not committed is taken back; run it again to go on.",
            self.outcome.to
        )
    }

    pub(crate) fn in_time(&self) -> Result<(), Error> {
        if self.control.is_cancelled() {
            return Err(Error::Cancelled { stands: self.stands() });
        }
        if Instant::now() >= self.until {
            return Err(Error::TooLong { took: self.job.limits.whole, stands: self.stands() });
        }
        Ok(())
    }
}

async fn drive<S: Session>(
    job: &Job<'_>,
    control: &Control,
    listener: &mut Listener<'_>,
) -> Result<Outcome, Error> {
    job.target.secret()?;
    let until = Instant::now() + job.limits.whole;
    let mut course = Course {
        job,
        control,
        listener,
        outcome: Outcome::default(),
        until,
        connected: false,
        reached: false,
        moved: false,
    };
    let mut lost_at: Option<Instant> = None;
    let mut pause = job.limits.pause;
    loop {
        course.in_time()?;
        course.moved = false;
        let fault = match round::<S>(&mut course).await {
            Ok(()) => return Ok(course.outcome),
            Err(End::Error(error)) => return Err(error),
            Err(End::Lost(fault)) if !course.connected => {
                return Err(Error::Connect { database: job.target.address.to_string(), source: fault });
            }
            Err(End::Lost(fault)) => fault,
        };
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
    let mut session = S::connect(job.target, &holder, job.limits).await.map_err(|fault| {
        let source = fault.clone();
        end(fault, |_| Error::Connect { database: database.clone(), source })
    })?;
    course.connected = true;
    course.tell(Progress::Connected);
    let done = locked(&mut session, course, &database).await;
    session.close().await;
    done
}

async fn locked<S: Session>(session: &mut S, course: &mut Course<'_, '_>, database: &str) -> Result<(), End> {
    take_lock(session, course, database).await?;
    course.reached = true;
    course.tell(Progress::Locked);
    let records = prepared(session).await?;
    let job = course.job;
    let plan = plan::plan(job.phase, job.scripts, &records, job.readers).map_err(Error::from)?;
    if course.outcome.applied.is_empty() {
        course.outcome.from = plan.from;
    }
    course.outcome.to = plan.from;
    course.tell(Progress::Planned { from: plan.from, to: plan.to, steps: plan.steps.len() });
    let mut eye = session.eye();
    for script in plan.steps {
        wait_while_paused(session, course).await?;
        let record = records.iter().find(|record| record.version == script.version);
        let file = script.to_string();
        course.tell(Progress::Begins { file: file.clone(), again: record.is_some() });
        let began = Instant::now();
        apply(session, &mut eye, course, script, record).await?;
        let took = began.elapsed();
        course.moved = true;
        course.outcome.to = script.version;
        course.outcome.applied.push((file.clone(), took));
        course.tell(Progress::Applied { file, took });
    }
    Ok(())
}

async fn apply<S: Session>(
    session: &mut S,
    eye: &mut S::Eye,
    course: &mut Course<'_, '_>,
    script: &Script,
    record: Option<&Record>,
) -> Result<(), End> {
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
        Work::Program(path) => program::run(session, course, script, path, record).await,
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
    let patience =
        if course.reached { limits.lease * 2 + limits.check_interval() } else { limits.wait_for_lock };
    let until = Instant::now() + patience;
    let mut told = None;
    loop {
        course.in_time()?;
        let holder = match session.try_lock().await.map_err(unreadable)? {
            Lock::Ours => return Ok(()),
            Lock::Held(holder) => holder,
        };
        if Instant::now() >= until {
            return Err(Error::Busy { database: database.to_owned(), holder }.into());
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

/// Waits, and says meanwhile that the runner is there. Ends early when it was cancelled.
pub(crate) async fn rest<S: Session>(
    session: &mut S,
    course: &mut Course<'_, '_>,
    time: Duration,
) -> Result<(), End> {
    let until = Instant::now() + time;
    loop {
        course.in_time()?;
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        tokio::select! {
            () = tokio::time::sleep(left.min(course.job.limits.lease / 3)) => {}
            () = course.control.cancelled() => {}
        }
        session.keep_alive().await.map_err(unreadable)?;
    }
}

pub(crate) async fn wait_while_paused<S: Session>(
    session: &mut S,
    course: &mut Course<'_, '_>,
) -> Result<(), End> {
    course.in_time()?;
    if !course.control.is_paused() {
        return Ok(());
    }
    course.tell(Progress::Paused);
    while course.control.is_paused() {
        tokio::select! {
            () = tokio::time::sleep(course.job.limits.lease / 3) => {}
            () = course.control.unpaused() => {}
        }
        course.in_time()?;
        session.keep_alive().await.map_err(unreadable)?;
    }
    course.tell(Progress::Resumed);
    Ok(())
}

/// A transaction is begun, and the session has the lock: its number.
pub(crate) async fn begun<S: Session>(session: &mut S) -> Result<String, End> {
    session.begin().await.map_err(unwritable)?;
    match session.mark().await.map_err(unreadable)? {
        Some(mark) => Ok(mark),
        None => {
            let _ = session.rollback().await;
            Err(Error::LockLost.into())
        }
    }
}

/// The transaction is still the one that was begun, and the session still has the lock.
pub(crate) async fn unbroken<S: Session>(session: &mut S, mark: &str) -> Result<(), End> {
    session.own().await.map_err(unwritable)?;
    if session.mark().await.map_err(unreadable)?.as_deref() == Some(mark) {
        Ok(())
    } else {
        Err(Error::LockLost.into())
    }
}

/// How long a commit may take: it waits for a disk, or for a replica that has to confirm.
const COMMIT: Duration = Duration::from_secs(60);

pub(crate) async fn committed<S: Session>(session: &mut S) -> Result<(), End> {
    // Whether a commit whose answer did not come has happened is what the table says to the next round.
    within(COMMIT, session.commit()).await.map_err(unwritable)
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
