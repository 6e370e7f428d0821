//! What differs between databases, and nothing else: how a session is opened, locked, bounded and looked at from outside.
//!
//! The lock is the session's that does the work, not another's. So who does not have the lock any more has no transaction to
//! commit any more either, and a statement that still runs for a runner that was killed holds the lock until it ends.

pub(crate) mod mysql;
pub(crate) mod postgres;
pub(crate) mod sqlite;
pub(crate) mod tables;
mod values;

use std::future::Future;
use std::time::Duration;

use crate::error::{Fault, FaultKind};
use crate::limits::{Limits, SLACK};
use crate::progress::Blocker;
use crate::runner::Target;
use tables::Tables;
pub(crate) use values::{Row, Value};

/// Whose the lock is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Lock {
    Ours,
    /// Somebody else's, in words.
    Held(String),
}

/// An index as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Index {
    /// Its name, quoted and with its schema where that is needed.
    pub(crate) name: String,
    pub(crate) valid: bool,
}

/// The column by which a table is walked over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    /// Both quoted.
    pub(crate) table: String,
    pub(crate) column: String,
    /// What is around a bound value to make it one of the column's type.
    pub(crate) cast: (String, String),
    /// What is around the column's value to make it text.
    pub(crate) text: (&'static str, &'static str),
    /// Whether the value is bound as a number.
    pub(crate) number: bool,
}

/// How far the replicas are behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lag {
    /// There are none, or the database does not tell.
    None,
    /// There are some, and this user may not see how far.
    Hidden,
    Behind(Duration),
}

/// The session that has the lock and does the work.
pub(crate) trait Session: Send + Sized {
    /// Whether a statement that changes the schema is in a transaction like any other.
    const TRANSACTIONAL: bool;
    /// Looks at the session from outside.
    type Eye: Eye;

    fn connect(
        target: &Target,
        holder: &str,
        limits: &Limits,
    ) -> impl Future<Output = Result<Self, Fault>> + Send;
    fn eye(&self) -> Self::Eye;
    fn tables(&self) -> &Tables;

    /// Takes the lock, if it is free.
    fn try_lock(&mut self) -> impl Future<Output = Result<Lock, Fault>> + Send;
    /// Who has the lock, if somebody has. Takes nothing.
    fn holder(&mut self) -> impl Future<Output = Result<Option<String>, Fault>> + Send;
    /// The transaction's number if the session has the lock, nothing if it has not.
    fn mark(&mut self) -> impl Future<Output = Result<Option<String>, Fault>> + Send;
    /// Says that the runner is still there.
    fn keep_alive(&mut self) -> impl Future<Output = Result<(), Fault>> + Send;
    /// Ends the session in an orderly way, and gives up the lock.
    fn close(self) -> impl Future<Output = ()> + Send;

    /// Takes back what a file may have set, and sets the timeouts. None: no bound.
    fn settle(
        &mut self,
        lock: Option<Duration>,
        statement: Option<Duration>,
    ) -> impl Future<Output = Result<(), Fault>> + Send;
    /// Within a transaction: who speaks is the runner again, whatever role a file has taken.
    fn own(&mut self) -> impl Future<Output = Result<(), Fault>> + Send {
        std::future::ready(Ok(()))
    }
    /// One of our own statements that gives rows. Its places are `?`.
    fn rows(&mut self, sql: &str, values: &[Value]) -> impl Future<Output = Result<Vec<Row>, Fault>> + Send;
    /// One of our own statements; how many rows it touched.
    fn run(&mut self, sql: &str, values: &[Value]) -> impl Future<Output = Result<u64, Fault>> + Send;
    /// A statement of a file, as it stands there.
    fn statement(&mut self, sql: &str) -> impl Future<Output = Result<u64, Fault>> + Send;
    /// A statement of a file with values in it, at places that `place` named.
    fn batch(&mut self, sql: &str, values: &[Value]) -> impl Future<Output = Result<u64, Fault>> + Send;
    /// How the place of a value is written, from 1.
    fn place(number: usize) -> String;
    fn begin(&mut self) -> impl Future<Output = Result<(), Fault>> + Send;
    fn commit(&mut self) -> impl Future<Output = Result<(), Fault>> + Send;
    fn rollback(&mut self) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Whether the tables of what was applied are there.
    fn has_tables(&mut self) -> impl Future<Output = Result<bool, Fault>> + Send;
    /// Makes what the tables are to be in.
    fn make_room(&mut self) -> impl Future<Output = Result<(), Fault>> + Send {
        std::future::ready(Ok(()))
    }
    /// The index of that name on that table.
    fn index(
        &mut self,
        _name: &str,
        _table: &str,
    ) -> impl Future<Output = Result<Option<Index>, Fault>> + Send {
        std::future::ready(Ok(None))
    }
    /// Whether there is a table or index of that name.
    fn exists(&mut self, _name: &str) -> impl Future<Output = Result<bool, Fault>> + Send {
        std::future::ready(Ok(false))
    }
    /// Indexes that are there and are not used, because a failure left them: all, or those of a table or index.
    fn invalid_indexes(
        &mut self,
        _of: Option<&str>,
    ) -> impl Future<Output = Result<Vec<String>, Fault>> + Send {
        std::future::ready(Ok(Vec::new()))
    }
    /// The column by which a table can be walked over, or why it cannot.
    fn key(
        &mut self,
        table: &[String],
        column: &str,
    ) -> impl Future<Output = Result<Result<Key, String>, Fault>> + Send;
    /// About how many rows a table has.
    fn estimate(&mut self, table: &[String]) -> impl Future<Output = Result<Option<u64>, Fault>> + Send;
    fn lag(&mut self) -> impl Future<Output = Result<Lag, Fault>> + Send {
        std::future::ready(Ok(Lag::None))
    }
    /// How many sessions are at work, ours not among them.
    fn active(&mut self) -> impl Future<Output = Result<u32, Fault>> + Send {
        std::future::ready(Ok(0))
    }
}

/// Looks at a session from outside, while that is busy.
pub(crate) trait Eye: Send {
    /// Who holds what the session's statement waits for. None: there is no such session any more.
    fn blockers(&mut self) -> impl Future<Output = Result<Option<Vec<Blocker>>, Fault>> + Send;
    /// Ends the statement that the session runs.
    fn cancel(&mut self) -> impl Future<Output = Result<(), Fault>> + Send;
    /// Ends the session.
    fn terminate(&mut self) -> impl Future<Output = Result<(), Fault>> + Send;
}

/// What the driver said, where it is none of a database's own answers.
pub(crate) fn fault_of_driver(error: &sqlx::Error) -> Fault {
    let (kind, message) = match error {
        // What a certificate is refused with comes as an error of the connection.
        sqlx::Error::Io(source) if source.kind() == std::io::ErrorKind::InvalidData => {
            (FaultKind::Refused, format!("TLS: {source}"))
        }
        sqlx::Error::Io(source) => (FaultKind::Lost, format!("the connection failed: {source}")),
        sqlx::Error::Tls(source) => (FaultKind::Refused, format!("TLS: {source}")),
        sqlx::Error::Protocol(what) => (FaultKind::Lost, format!("the connection failed: {what}")),
        sqlx::Error::WorkerCrashed => (FaultKind::Lost, "the connection's thread ended".to_owned()),
        other => (FaultKind::Other, other.to_string()),
    };
    Fault { kind, message, position: None }
}

/// How long an answer to a question about the session, or of the catalog, may take.
const QUICK: Duration = Duration::from_secs(10);
/// How long one of our own statements may take where the server does not end it before.
const OURS: Duration = Duration::from_secs(60);

/// How long to wait for the end of one of our own statements: it may wait for a lock and run as long as the server lets it, and the
/// server is the first to say that it took too long.
fn patience(lock: Option<Duration>, statement: Option<Duration>) -> Duration {
    [lock, statement].into_iter().flatten().fold(OURS, Duration::max) + SLACK
}

/// What waits no longer than that for a database.
pub(crate) async fn within<T>(
    time: Duration,
    what: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    tokio::time::timeout(time, what).await.unwrap_or_else(|_| {
        Err(Fault {
            kind: FaultKind::Lost,
            message: format!("no answer within {} s", time.as_secs()),
            position: None,
        })
    })
}

/// An answer that should be there and is not.
pub(crate) fn no_answer(what: &str) -> Fault {
    Fault { kind: FaultKind::Other, message: format!("the database did not say {what}"), position: None }
}
