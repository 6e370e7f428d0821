//! The course of a run over all its rounds: what is known of what stands, how often something was tried, how it waits.

use std::time::Duration;

use tokio::time::Instant;

use crate::control::Control;
use crate::database::Session;
use crate::database::tables::Hand;
use crate::error::{Error, Fault, FaultKind};
use crate::limits::Limits;
use crate::plan::version_of;
use crate::progress::Progress;
use crate::record::{Record, State};
use crate::runner::{End, Job, Listener, Outcome, unreadable};
use handover_script::Script;

/// What is known of what stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Nothing was read yet, so nothing was done either.
    Never,
    /// It was read by the session that is at work.
    Now,
    /// It was read by a session that is gone. What that was about to commit may stand or not.
    Before,
}

/// How often something was tried that met a lock, since something was committed.
struct Tries {
    pauses: Box<dyn Iterator<Item = Duration> + Send>,
    attempt: u32,
}

impl Tries {
    fn new(limits: &Limits) -> Self {
        Self { pauses: Box::new(limits.pauses()), attempt: 1 }
    }
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
    pub(crate) connected: bool,
    pub(crate) seen: Seen,
    /// The file that is being applied.
    pub(crate) file: String,
    tries: Tries,
    /// Whether this round committed something.
    pub(super) moved: bool,
}

impl<'a, 'l> Course<'a, 'l> {
    pub(crate) fn new(job: &'a Job<'a>, control: &'a Control, listener: &'a mut Listener<'l>) -> Self {
        Self {
            job,
            control,
            listener,
            outcome: Outcome::default(),
            until: Instant::now() + job.limits.whole,
            connected: false,
            seen: Seen::Never,
            file: job.target.address.to_string(),
            tries: Tries::new(job.limits),
            moved: false,
        }
    }

    /// Something was committed: what comes now has all its tries.
    pub(crate) fn moved(&mut self) {
        self.moved = true;
        self.tries = Tries::new(self.job.limits);
    }

    /// Which try it is, from 1.
    pub(crate) fn attempt(&self) -> u32 {
        self.tries.attempt
    }

    /// Takes in what a session read. What stands beyond what was known before was committed by a session of this run that did
    /// not live to hear of it.
    pub(crate) fn read(&mut self, records: &[Record]) {
        let version = version_of(records);
        if self.seen == Seen::Never {
            self.outcome.from = version;
        } else {
            let Hand { by, deployment } = self.hand();
            for record in records.iter().filter(|record| record.state == State::Applied) {
                let ours = record.version > self.outcome.to
                    && (&record.by, &record.deployment) == (&by, &deployment);
                if let Some(script) = self.job.scripts.get(record.version).filter(|_| ours) {
                    let took = Duration::from_millis(u64::try_from(record.took_ms).unwrap_or(0));
                    self.applied(script, took);
                }
            }
        }
        self.outcome.to = version;
        self.seen = Seen::Now;
    }

    pub(crate) fn applied(&mut self, script: &Script, took: Duration) {
        self.moved();
        // A backfill that is done again is below what is applied already.
        self.outcome.to = self.outcome.to.max(script.version);
        self.outcome.applied.push((script.to_string(), took));
        self.tell(Progress::Applied { file: script.to_string(), took });
    }
}

impl Course<'_, '_> {
    pub(crate) fn tell(&mut self, progress: Progress) {
        (self.listener)(progress);
    }

    pub(crate) fn hand(&self) -> Hand {
        Hand { by: self.job.by.to_owned(), deployment: self.job.deployment.to_owned() }
    }

    pub(crate) fn stands(&self) -> String {
        let version = self.outcome.to;
        match self.seen {
            Seen::Never => "Nothing was done.".to_owned(),
            Seen::Now => format!(
                "The schema is at version {version}, and what was not committed is taken back; run it again to go on."
            ),
            Seen::Before => format!(
                "The schema was at version {version} when it was read last; whether what was under way then stands, the database says once it is back: run it again, it goes on from there."
            ),
        }
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

/// Waits, and says meanwhile that the runner is there. Ends early when it was cancelled.
pub(crate) async fn rest<S: Session>(
    session: &mut S,
    course: &mut Course<'_, '_>,
    time: Duration,
) -> Result<(), End> {
    let until = Instant::now() + time;
    let mut look = course.job.limits.lease / 3;
    loop {
        course.in_time()?;
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        tokio::select! {
            () = tokio::time::sleep(left.min(look)) => {}
            () = course.control.cancelled() => {}
        }
        look = said_to_be_there(session, course.job.limits.lease).await?;
    }
}

/// Says that the runner is there; comes back with when to say it again.
pub(crate) async fn said_to_be_there<S: Session>(session: &mut S, lease: Duration) -> Result<Duration, End> {
    match session.keep_alive().await {
        Ok(()) => Ok(lease / 3),
        // Whether the lock is ours still is asked before anything is committed. Until then there is time to say it again.
        Err(fault) if fault.kind == FaultKind::Locked => Ok(lease / 20),
        Err(fault) => Err(unreadable(fault)),
    }
}

/// After something that met a lock: a pause, then it may be tried again. False: it was tried as often as it may be.
pub(crate) async fn again<S: Session>(
    session: &mut S,
    course: &mut Course<'_, '_>,
    file: &str,
    fault: &Fault,
) -> Result<bool, End> {
    let Some(after) = course.tries.pauses.next() else { return Ok(false) };
    course.tries.attempt += 1;
    let (attempt, of) = (course.tries.attempt, course.job.limits.attempts);
    course.tell(Progress::Again { file: file.to_owned(), why: fault.message.clone(), attempt, of, after });
    rest(session, course, after).await?;
    Ok(true)
}

/// Waits until nobody wants it to stand still. That time is the person's, and none of what the run may take.
pub(crate) async fn wait_while_paused<S: Session>(
    session: &mut S,
    course: &mut Course<'_, '_>,
) -> Result<(), End> {
    course.in_time()?;
    if !course.control.is_paused() {
        return Ok(());
    }
    course.tell(Progress::Paused);
    let mut look = course.job.limits.lease / 3;
    let mut since = Instant::now();
    while course.control.is_paused() {
        tokio::select! {
            () = tokio::time::sleep(look) => {}
            () = course.control.unpaused() => {}
        }
        look = said_to_be_there(session, course.job.limits.lease).await?;
        course.until += since.elapsed();
        since = Instant::now();
        course.in_time()?;
    }
    course.tell(Progress::Resumed);
    Ok(())
}
