//! Transactions of the runner's own: each begins with a look at the lock, and ends in a commit or is taken back.

use std::time::Duration;

use crate::database::{Session, Value, within};
use crate::error::{Error, Fault, FaultKind};
use crate::runner::{Course, End, again, unreadable, unwritable};

/// A transaction is begun, and the session has the lock: its number.
pub(crate) async fn begun<S: Session>(session: &mut S) -> Result<String, End> {
    session.begin().await.map_err(unwritable)?;
    match session.mark().await {
        Ok(Some(mark)) => Ok(mark),
        Ok(None) => Err(taken_back(session, Error::LockLost.into()).await),
        Err(fault) => Err(taken_back(session, unreadable(fault)).await),
    }
}

/// Takes a transaction back. A session that cannot do that counts as lost: nothing is begun in what may be open still.
pub(crate) async fn rolled_back<S: Session>(session: &mut S) -> Result<(), End> {
    session.rollback().await.map_err(|fault| End::Lost(Fault { kind: FaultKind::Lost, ..fault }))
}

/// What a transaction ended with that did not come to its commit: it is taken back, whatever that is.
pub(crate) async fn taken_back<S: Session>(session: &mut S, end: End) -> End {
    match end {
        End::Lost(_) => end,
        End::Locked { .. } | End::Error(_) => rolled_back(session).await.err().unwrap_or(end),
    }
}

/// How long a commit may take: it waits for a disk, or for a replica that has to confirm.
const COMMIT: Duration = Duration::from_secs(60);

/// Commits, or takes everything back.
pub(crate) async fn committed<S: Session>(session: &mut S) -> Result<(), End> {
    // Whether a commit whose answer did not come has happened is what the table says to the next round.
    match within(COMMIT, session.commit()).await {
        Ok(()) => Ok(()),
        Err(fault) => Err(taken_back(session, unwritable(fault)).await),
    }
}

/// The last write of a transaction and its commit, if it is still the one that was begun and the session still has the lock.
/// Otherwise everything is taken back.
pub(crate) async fn sealed<S: Session>(session: &mut S, mark: &str, last: &Write) -> Result<(), End> {
    let unbroken = async {
        session.own().await.map_err(unwritable)?;
        if session.mark().await.map_err(unreadable)?.as_deref() != Some(mark) {
            return Err(Error::LockLost.into());
        }
        of_a_row(session, last).await
    };
    match unbroken.await {
        Ok(()) => committed(session).await,
        Err(end) => Err(taken_back(session, end).await),
    }
}

/// A statement of ours with its values.
pub(crate) type Write = (String, Vec<Value>);

/// A write that touches one row. Where that is not there any more, somebody else was at work.
async fn of_a_row<S: Session>(session: &mut S, (sql, values): &Write) -> Result<(), End> {
    match session.run(sql, values).await.map_err(unwritable)? {
        1 => Ok(()),
        _ => {
            Err(Error::Nonsense { what: "the row of what is being applied is not as it was left".to_owned() }
                .into())
        }
    }
}

/// Writes of ours in a transaction of their own, which checks the lock; tried again where they meet one. The first is of a row that
/// has to be there.
pub(crate) async fn write<S: Session>(
    session: &mut S,
    course: &mut Course<'_, '_>,
    writes: &[Write],
) -> Result<(), End> {
    loop {
        match write_once(session, writes).await {
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

async fn write_once<S: Session>(session: &mut S, writes: &[Write]) -> Result<(), End> {
    begun(session).await?;
    let written = async {
        let Some((first, others)) = writes.split_first() else { return Ok(()) };
        of_a_row(session, first).await?;
        for (sql, values) in others {
            session.run(sql, values).await.map_err(unwritable)?;
        }
        Ok(())
    };
    match written.await {
        Ok(()) => committed(session).await,
        Err(end) => Err(taken_back(session, end).await),
    }
}
