//! A statement that runs is looked at from outside: who keeps it waiting, whether somebody wants it ended, whether it is over time.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::control::Control;
use crate::database::{Eye, Session, Value};
use crate::error::{Fault, FaultKind};
use crate::progress::{Blocker, Progress};
use crate::runner::Course;

/// How often a statement is looked at, at most.
const LOOK: Duration = Duration::from_millis(400);
/// How often one is looked at that runs for long.
const SELDOM: Duration = Duration::from_secs(5);
/// How long a statement that was cancelled may take to end.
const GRACE: Duration = Duration::from_secs(10);
/// For how long nothing may be seen of a server before it counts as gone. Long: it may just have no room for one more session.
const UNSEEN: Duration = Duration::from_secs(120);

/// What is run.
pub(crate) enum Run<'a> {
    /// A statement as it stands.
    Plain(&'a str),
    /// A statement with values.
    With(&'a str, &'a [Value]),
}

/// Of which file, and how long.
#[derive(Clone, Copy)]
pub(crate) struct Where<'a> {
    pub(crate) file: &'a str,
    /// No longer than that by this side's clock. The server's own bound is shorter, where it has one.
    pub(crate) longest: Option<Duration>,
}

/// Runs a statement to its end, or ends it.
pub(crate) async fn watched<S: Session>(
    session: &mut S,
    eye: &mut S::Eye,
    course: &mut Course<'_, '_>,
    run: Run<'_>,
    place: Where<'_>,
) -> Result<u64, Fault> {
    let control: Control = course.control.clone();
    let until = place.longest.map_or(course.until, |time| course.until.min(Instant::now() + time));
    let work = async {
        match run {
            Run::Plain(sql) => session.statement(sql).await,
            Run::With(sql, values) => session.batch(sql, values).await,
        }
    };
    tokio::pin!(work);
    // While it still waits: who it waits for is gone from sight once its time is up.
    let pace = (course.job.limits.lock_timeout / 2).clamp(Duration::from_millis(50), LOOK);
    let mut pace = pace;
    let mut look = Instant::now() + pace;
    let mut seen = Instant::now();
    let mut ending: Option<(Instant, FaultKind)> = None;
    let mut told: Vec<Blocker> = Vec::new();
    loop {
        tokio::select! {
            biased;
            done = &mut work => {
                return match (done, ending) {
                    (Err(fault), Some((_, kind))) if fault.kind == FaultKind::TooLong => Err(Fault { kind, ..fault }),
                    (done, _) => done,
                };
            }
            () = control.cancelled(), if ending.is_none() => {
                let _ = eye.cancel().await;
                ending = Some((Instant::now() + GRACE, FaultKind::Cancelled));
            }
            () = sleep_until(until), if ending.is_none() => {
                let _ = eye.cancel().await;
                ending = Some((Instant::now() + GRACE, FaultKind::TooLong));
            }
            () = sleep_until(ending.map_or(until, |(at, _)| at)), if ending.is_some() => {
                let _ = eye.terminate().await;
                return Err(Fault { kind: FaultKind::Lost, message: "the server did not end the statement".to_owned(), position: None });
            }
            () = sleep_until(look), if ending.is_none() => {
                let gone = |what: &str| Err(Fault { kind: FaultKind::Lost, message: what.to_owned(), position: None });
                let by = match eye.blockers().await {
                    Ok(Some(by)) => by,
                    // A server that was started anew sends nothing to a connection of before that waits for it.
                    Ok(None) => return gone("the server does not know the session any more"),
                    Err(_) if seen.elapsed() > UNSEEN => return gone("the server cannot be reached"),
                    Err(_) => {
                        look = Instant::now() + SELDOM;
                        continue;
                    }
                };
                seen = Instant::now();
                let who = |by: &[Blocker]| by.iter().map(|blocker| blocker.session).collect::<Vec<_>>();
                if !by.is_empty() && who(&by) != who(&told) {
                    let (attempt, of) = (course.attempt(), course.job.limits.attempts);
                    course.tell(Progress::Blocked { file: place.file.to_owned(), by: by.clone(), attempt, of });
                    told = by;
                }
                pace = (pace * 3 / 2).min(SELDOM);
                look = Instant::now() + pace;
            }
        }
    }
}
