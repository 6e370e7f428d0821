//! A file in one transaction, with the record of it: both stand, or neither.

use std::time::Duration;

use tokio::time::Instant;

use crate::database::Session;
use crate::error::{Error, Fault, FaultKind};
use crate::progress::Progress;
use crate::record::State;
use crate::runner::watch::{Run, Where, watched};
use crate::runner::{
    Course, End, begun, committed, end, line_of, millis, rest, unbroken, unreadable, unwritable,
};
use crate::script::{Script, Statement};

/// By how much this side's clock is more patient than the server's.
pub(crate) const SLACK: Duration = Duration::from_secs(5);

pub(crate) async fn run<S: Session>(
    session: &mut S,
    eye: &mut S::Eye,
    course: &mut Course<'_, '_>,
    script: &Script,
    statements: &[Statement],
) -> Result<(), End> {
    let mut pauses = course.job.limits.pauses();
    let mut attempt = 1;
    loop {
        let Some((fault, statement)) = once(session, eye, course, script, statements, attempt).await? else {
            return Ok(());
        };
        if fault.kind == FaultKind::Locked
            && let Some(pause) = pauses.next()
        {
            attempt += 1;
            again(course, script, &fault, attempt, pause);
            rest(session, course, pause).await?;
            continue;
        }
        return Err(failed(course, script, statement, fault, "nothing stands: correct it"));
    }
}

/// Tells that it is tried again.
pub(crate) fn again(
    course: &mut Course<'_, '_>,
    script: &Script,
    fault: &Fault,
    attempt: u32,
    after: Duration,
) {
    let of = course.job.limits.attempts;
    course.tell(Progress::Again { file: script.to_string(), why: fault.message.clone(), attempt, of, after });
}

/// What a fault in a statement becomes.
pub(crate) fn failed(
    course: &Course<'_, '_>,
    script: &Script,
    statement: &Statement,
    fault: Fault,
    stands: &str,
) -> End {
    let version = course.outcome.to;
    let stands = format!("The schema is at version {version}, and of this file {stands}, then run it again.");
    if fault.kind == FaultKind::Cancelled {
        return Error::Cancelled { stands: course.stands() }.into();
    }
    let (file, line) = (script.to_string(), line_of(statement, &fault));
    end(fault, |source| Error::Failed { file, line, stands, source })
}

/// One try. A statement's fault comes back with the statement, and everything is taken back.
async fn once<'s, S: Session>(
    session: &mut S,
    eye: &mut S::Eye,
    course: &mut Course<'_, '_>,
    script: &Script,
    statements: &'s [Statement],
    attempt: u32,
) -> Result<Option<(Fault, &'s Statement)>, End> {
    let limits = course.job.limits;
    let longest = script.statement_timeout.unwrap_or(limits.statement_timeout);
    session
        .settle(Some(script.lock_timeout.unwrap_or(limits.lock_timeout)), Some(longest))
        .await
        .map_err(unreadable)?;
    let file = script.to_string();
    let began = Instant::now();
    let mark = begun(session).await?;
    // First, not last: whoever else would apply the same waits for this row, and then finds it.
    let (sql, values) = session.tables().insert(script, State::Applied, &course.hand());
    if let Err(fault) = session.run(&sql, &values).await {
        let _ = session.rollback().await;
        return Err(unwritable(fault));
    }
    for (at, statement) in statements.iter().enumerate() {
        let number = at + 1;
        course.tell(Progress::Statement { file: file.clone(), number, of: statements.len() });
        let place = Where { file: &file, attempt, longest: Some(longest + SLACK) };
        if let Err(fault) = watched(session, eye, course, Run::Plain(&statement.text), place).await {
            if fault.kind == FaultKind::Lost {
                return Err(End::Lost(fault));
            }
            session.rollback().await.map_err(unwritable)?;
            return Ok(Some((fault, statement)));
        }
        course.tell(Progress::StatementDone { file: file.clone(), number });
    }
    let last = async {
        unbroken(session, &mark).await?;
        let (sql, values) = session.tables().applied(script.version, millis(began.elapsed()));
        session.run(&sql, &values).await.map_err(unwritable)
    };
    if let Err(error) = last.await {
        let _ = session.rollback().await;
        return Err(error);
    }
    course.tell(Progress::Commits { file });
    match committed(session).await {
        // A deferred constraint speaks up only now; the server has taken everything back.
        Err(End::Error(Error::Table { source, .. })) => {
            Ok(statements.last().map(|statement| (source, statement)))
        }
        other => other.map(|()| None),
    }
}
