//! A file where the database commits by itself what changes a schema (MySQL): one statement after the other, each recorded before
//! it begins and after it has ended. What only changes rows is one transaction with its record.

use tokio::time::Instant;

use crate::database::Session;
use crate::error::{Error, FaultKind};
use crate::limits::SLACK;
use crate::progress::Progress;
use crate::record::{Record, State};
use crate::runner::alone::{failed_midway, look, unrecorded};
use crate::runner::together::failed;
use crate::runner::watch::{Run, Where, watched};
use crate::runner::{Course, End, again, begun, millis, rolled_back, sealed, unreadable, write};
use handover_script::{Piece, Script, Statement, Work};

pub(crate) async fn run<S: Session>(
    session: &mut S,
    eye: &mut S::Eye,
    course: &mut Course<'_, '_>,
    script: &Script,
    statements: &[Statement],
    record: Option<&Record>,
) -> Result<(), End> {
    let began = Instant::now();
    let file = script.to_string();
    let mut done = 0;
    match record {
        Some(record) if record.begun > record.done => {
            return Err(Error::Stands { file, stands: half(script, statements, record) }.into());
        }
        Some(record) => done = record.done,
        None => {
            let begins = session.tables().insert(script, State::Started, &course.hand());
            write(session, course, &[begins]).await?;
            course.tell(Progress::Recorded { file: file.clone() });
        }
    }
    for statement in statements.iter().skip(usize::try_from(done).unwrap_or(usize::MAX)) {
        step(session, eye, course, script, (statement, done, statements.len())).await?;
        done += 1;
        course.moved();
        course
            .tell(Progress::StatementDone { file: file.clone(), number: usize::try_from(done).unwrap_or(0) });
    }
    course.tell(Progress::Commits { file });
    let applied = session.tables().applied(script.version, millis(began.elapsed()));
    write(session, course, &[applied]).await
}

/// What stands of a file that was cut off, in words.
pub(crate) fn half(script: &Script, statements: &[Statement], record: &Record) -> String {
    let at = usize::try_from(record.done).unwrap_or(usize::MAX);
    let (line, text) =
        statements.get(at).map_or((0, ""), |statement| (statement.line, statement.text.as_str()));
    let text: String = text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(80).collect();
    let before = match record.done {
        0 => "no statement before it".to_owned(),
        1 => "statement 1 is applied".to_owned(),
        more => format!("statements 1 to {more} are applied"),
    };
    format!(
        "{before}; statement {} (line {line}: {text}) was begun by a run that was cut off, and this database does not tell whether it took \
         effect. {}",
        at.saturating_add(1),
        look(script)
    )
}

/// Whether a statement changes rows only, and so can be taken back.
fn only_rows(statement: &Statement) -> bool {
    let word = statement.start.first().and_then(Piece::keyword);
    matches!(word.as_deref(), Some("INSERT" | "UPDATE" | "DELETE" | "REPLACE"))
}

/// Whether the server takes back all of a statement that changes more than rows, where it fails. Not of what runs code of
/// somebody else's, nor of several tables that are dropped at once: those that went before the mistake are gone.
fn taken_back_whole(script: &Script, statement: &Statement) -> bool {
    let word = |at: usize| statement.start.get(at).and_then(Piece::keyword).unwrap_or_default();
    let several = statement.start.contains(&Piece::Sign(","));
    match word(0).as_str() {
        _ if matches!(script.work, Work::Alone(..)) => false,
        "CALL" | "EXECUTE" | "LOAD" => false,
        "DROP" => !several,
        _ => true,
    }
}

async fn step<S: Session>(
    session: &mut S,
    eye: &mut S::Eye,
    course: &mut Course<'_, '_>,
    script: &Script,
    (statement, done, of): (&Statement, u32, usize),
) -> Result<(), End> {
    let limits = course.job.limits;
    let longest = script.statement_timeout.unwrap_or(limits.statement_timeout);
    let file = script.to_string();
    let number = usize::try_from(done).unwrap_or(0) + 1;
    let rows = only_rows(statement);
    loop {
        session
            .settle(Some(script.lock_timeout.unwrap_or(limits.lock_timeout)), Some(longest))
            .await
            .map_err(unreadable)?;
        let begins = session.tables().at_statement(script.version, done + 1, done);
        let after = session.tables().at_statement(script.version, done + 1, done + 1);
        let mark = if rows {
            Some(begun(session).await?)
        } else {
            write(session, course, &[begins]).await?;
            course.tell(Progress::Recorded { file: file.clone() });
            None
        };
        course.tell(Progress::Statement { file: file.clone(), number, of });
        let place = Where { file: &file, longest: Some(longest + SLACK) };
        let Err(fault) = watched(session, eye, course, Run::Plain(&statement.text), place).await else {
            if let Some(mark) = mark {
                return sealed(session, &mark, &after).await;
            }
            return match write(session, course, &[after]).await {
                Err(End::Error(error)) => Err(unrecorded(script, &error).into()),
                done => done,
            };
        };
        if fault.kind == FaultKind::Lost {
            return Err(End::Lost(fault));
        }
        if rows {
            rolled_back(session).await?;
        } else if taken_back_whole(script, statement) {
            let not_begun = session.tables().at_statement(script.version, done, done);
            write(session, course, &[not_begun]).await?;
        } else {
            return Err(failed_midway(script, &fault).into());
        }
        if fault.kind != FaultKind::Locked || !again(session, course, &file, &fault).await? {
            let stands = match done {
                0 => "nothing stands: correct what it meets".to_owned(),
                1 => "statement 1 stands: correct what the next one meets".to_owned(),
                more => format!("statements 1 to {more} stand: correct what the next one meets"),
            };
            return Err(failed(course, script, statement, fault, &stands));
        }
    }
}
