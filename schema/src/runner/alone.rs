//! A statement that no transaction holds. That it begins is recorded before it begins; what became of it when it was cut off is
//! read from the catalog, and where that does not tell, nothing is done and a person is asked.

use tokio::time::Instant;

use crate::database::{Index, Session};
use crate::error::{Error, Fault, FaultKind};
use crate::progress::Progress;
use crate::record::{Record, State};
use crate::runner::together::failed;
use crate::runner::watch::{Run, Where, watched};
use crate::runner::{Course, End, again, end, millis, unreadable, write};
use handover_script::{Alone, Script, Statement};

/// What a former run left of it.
enum Left {
    /// Nothing: it can begin.
    Nothing,
    /// All of it.
    Whole,
    /// Something that has to go first.
    Invalid(Vec<String>),
}

pub(crate) async fn run<S: Session>(
    session: &mut S,
    eye: &mut S::Eye,
    course: &mut Course<'_, '_>,
    script: &Script,
    (statement, alone): (&Statement, &Alone),
    record: Option<&Record>,
) -> Result<(), End> {
    let began = Instant::now();
    // Not bounded by the server but by this side: these wait for others by their nature, and keep nobody from reading or writing.
    session.settle(script.lock_timeout, script.statement_timeout).await.map_err(unreadable)?;
    let file = script.to_string();
    if record.is_some() {
        match left(session, script, alone).await? {
            Left::Whole => return finish(session, course, script, alone, began).await,
            Left::Invalid(indexes) => drop_indexes(session, eye, course, &file, &indexes).await?,
            Left::Nothing => {}
        }
    } else {
        // IF NOT EXISTS passes over one that is there, and so over one that is invalid as well.
        if let Alone::CreateIndex { index, table, lenient } = alone
            && let Some(Index { name, valid }) = session.index(index, table).await.map_err(unreadable)?
            && !(valid && *lenient)
        {
            return Err(Error::IndexStands { file, index: name, valid }.into());
        }
        let begins = session.tables().insert(script, State::Started, &course.hand());
        write(session, course, &[begins]).await?;
        course.tell(Progress::Recorded { file: file.clone() });
    }
    loop {
        course.tell(Progress::Statement { file: file.clone(), number: 1, of: 1 });
        let place = Where { file: &file, longest: script.statement_timeout };
        let Err(fault) = watched(session, eye, course, Run::Plain(&statement.text), place).await else {
            course.tell(Progress::StatementDone { file: file.clone(), number: 1 });
            return finish(session, course, script, alone, began).await;
        };
        if fault.kind == FaultKind::Lost {
            return Err(End::Lost(fault));
        }
        if *alone == Alone::Unknown {
            return Err(failed_midway(script, &fault).into());
        }
        // The server says that it failed, so it did not take effect; but an index can be left of it.
        let invalid = match alone {
            Alone::CreateIndex { .. } | Alone::Reindex { .. } => match left(session, script, alone).await? {
                Left::Invalid(indexes) => indexes,
                Left::Nothing | Left::Whole => Vec::new(),
            },
            Alone::DropIndex { .. } | Alone::Repeatable | Alone::Unknown => Vec::new(),
        };
        if fault.kind == FaultKind::Cancelled && !invalid.is_empty() {
            // Who cancels does not want to wait for what a drop waits for.
            let stands =
                format!("index {} is invalid; the next run drops it and begins anew", invalid.join(", "));
            return Err(Error::Cancelled { stands }.into());
        }
        drop_indexes(session, eye, course, &file, &invalid).await?;
        if fault.kind == FaultKind::Locked && again(session, course, &file, &fault).await? {
            continue;
        }
        let forgotten = session.tables().forget(script.version);
        write(session, course, &[forgotten]).await?;
        return Err(failed(course, script, statement, fault, "nothing stands: correct it"));
    }
}

/// What is said of a statement that failed outside of any transaction: a part of it may have been committed before. A procedure
/// commits as often as it likes, a partition is detached in two transactions.
pub(crate) fn failed_midway(script: &Script, fault: &Fault) -> Error {
    let stands = format!(
        "its statement was begun and failed ({fault}), and a part of it may stand: what runs outside of a transaction is not \
         taken back. {}",
        look(script)
    );
    Error::Stands { file: script.to_string(), stands }
}

/// What a person is asked for where only a person can tell.
pub(crate) fn look(script: &Script) -> String {
    let version = script.version;
    format!(
        "Look, then run it again with what you found: --resolve {version}=took-effect, or {version}=did-not, with a --reason"
    )
}

/// What is said where a statement has taken effect, and that could not be written down.
pub(crate) fn unrecorded(script: &Script, error: &Error) -> Error {
    let stands = format!(
        "its statement took effect, and that could not be written down ({}): run it again with --resolve {}=took-effect",
        error.chain(),
        script.version
    );
    Error::Stands { file: script.to_string(), stands }
}

/// What the catalog says of a statement that was begun.
async fn left<S: Session>(session: &mut S, script: &Script, alone: &Alone) -> Result<Left, End> {
    Ok(match alone {
        Alone::CreateIndex { index, table, .. } => {
            match session.index(index, table).await.map_err(unreadable)? {
                None => Left::Nothing,
                Some(Index { valid: true, .. }) => Left::Whole,
                Some(Index { name, valid: false }) => Left::Invalid(vec![name]),
            }
        }
        Alone::DropIndex { index } if session.exists(index).await.map_err(unreadable)? => Left::Nothing,
        Alone::DropIndex { .. } => Left::Whole,
        Alone::Reindex { of } => {
            let found = session.invalid_indexes(of.as_deref()).await.map_err(unreadable)?;
            // Of the names that REINDEX gives to what it makes and to what it replaces.
            let ours: Vec<String> = found
                .into_iter()
                .filter(|name| {
                    let plain = name.trim_end_matches('"').trim_end_matches(|c: char| c.is_ascii_digit());
                    plain.ends_with("_ccnew") || plain.ends_with("_ccold")
                })
                .collect();
            if ours.is_empty() { Left::Nothing } else { Left::Invalid(ours) }
        }
        Alone::Repeatable => Left::Nothing,
        Alone::Unknown => {
            let stands = format!(
                "its statement was begun by a run that was cut off, and whether it took effect cannot be read from the \
                 database. {}",
                look(script)
            );
            return Err(Error::Stands { file: script.to_string(), stands }.into());
        }
    })
}

async fn drop_indexes<S: Session>(
    session: &mut S,
    eye: &mut S::Eye,
    course: &mut Course<'_, '_>,
    file: &str,
    indexes: &[String],
) -> Result<(), End> {
    for index in indexes {
        course.tell(Progress::InvalidIndex { index: index.clone() });
        let sql = format!("DROP INDEX CONCURRENTLY IF EXISTS {index}");
        let place = Where { file, longest: None };
        watched(session, eye, course, Run::Plain(&sql), place).await.map_err(|fault| {
            end(fault, |source| Error::Stands {
                file: file.to_owned(),
                stands: format!("index {index} is invalid, left by a failure, and could not be dropped ({source}): drop it (DROP INDEX CONCURRENTLY {index}), then run it again"),
            })
        })?;
    }
    Ok(())
}

async fn finish<S: Session>(
    session: &mut S,
    course: &mut Course<'_, '_>,
    script: &Script,
    alone: &Alone,
    began: Instant,
) -> Result<(), End> {
    course.tell(Progress::Commits { file: script.to_string() });
    let applied = session.tables().applied(script.version, millis(began.elapsed()));
    match write(session, course, &[applied]).await {
        // Of the others the next run sees that they took effect, or does no harm.
        Err(End::Error(error)) if *alone == Alone::Unknown => Err(unrecorded(script, &error).into()),
        done => done,
    }
}
