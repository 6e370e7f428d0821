//! A file in one transaction, with the record of it: both stand, or neither.

use tokio::time::Instant;

use crate::database::Session;
use crate::error::{Error, Fault, FaultKind};
use crate::limits::SLACK;
use crate::progress::Progress;
use crate::record::State;
use crate::runner::watch::{Run, Where, watched};
use crate::runner::{
    Course, End, again, begun, end, line_of, millis, rolled_back, sealed, taken_back, unreadable, unwritable,
};
use handover_script::{Script, Statement};

pub(crate) async fn run<S: Session>(
    session: &mut S,
    eye: &mut S::Eye,
    course: &mut Course<'_, '_>,
    script: &Script,
    statements: &[Statement],
) -> Result<(), End> {
    let file = script.to_string();
    loop {
        let Some((fault, statement)) = once(session, eye, course, script, statements).await? else {
            return Ok(());
        };
        if fault.kind != FaultKind::Locked || !again(session, course, &file, &fault).await? {
            return Err(failed(course, script, statement, fault, "nothing stands: correct it"));
        }
    }
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
        return Err(taken_back(session, unwritable(fault)).await);
    }
    for (at, statement) in statements.iter().enumerate() {
        let number = at + 1;
        course.tell(Progress::Statement { file: file.clone(), number, of: statements.len() });
        let place = Where { file: &file, longest: Some(longest + SLACK) };
        if let Err(fault) = watched(session, eye, course, Run::Plain(&statement.text), place).await {
            if fault.kind == FaultKind::Lost {
                return Err(End::Lost(fault));
            }
            rolled_back(session).await?;
            return Ok(Some((fault, statement)));
        }
        course.tell(Progress::StatementDone { file: file.clone(), number });
    }
    course.tell(Progress::Commits { file });
    let applied = session.tables().applied(script.version, millis(began.elapsed()));
    match sealed(session, &mark, &applied).await {
        // A deferred constraint speaks up only now.
        Err(End::Error(Error::Table { source, .. })) => {
            Ok(statements.last().map(|statement| (source, statement)))
        }
        other => other.map(|()| None),
    }
}
