//! Why a run ended before its end, and what stands then.

use crate::plan::Refusal;
use crate::secret::SecretError;
use handover_model::SchemaVersion;

/// What a database said, or that it said nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// What kind of answer it is.
    pub kind: FaultKind,
    /// In its words.
    pub message: String,
    /// The place in the statement's text where it found the mistake, in characters from 1.
    pub position: Option<usize>,
}

/// What follows from an answer of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Something was locked for too long, or two waited for each other. It may go better later.
    Locked,
    /// It took too long.
    TooLong,
    /// The statement was cancelled.
    Cancelled,
    /// The connection is gone, and with it whatever was not committed.
    Lost,
    /// The database does not let us in.
    Refused,
    /// Anything else: the statement is wrong, or does not suit the data.
    Other,
}

/// Why a run ended before its end. Each says what stands.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The password cannot be had.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The database cannot be reached.
    #[error("cannot reach {database}: nothing was done")]
    Connect {
        /// Which.
        database: String,
        /// What it said.
        #[source]
        source: Fault,
    },
    /// Another runner is at work.
    #[error("{holder} has the lock of the migrations of {database}: {stands}; wait until it is through")]
    Busy {
        /// Which database.
        database: String,
        /// Who.
        holder: String,
        /// What stands.
        stands: String,
    },
    /// The plan does not come about.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The table of what was applied cannot be read or written.
    #[error("the table of what was applied cannot be {doing}")]
    Table {
        /// Read or written.
        doing: &'static str,
        /// What the database said.
        #[source]
        source: Fault,
    },
    /// What the table says makes no sense.
    #[error("the table of what was applied is not as it was written: {what}")]
    Nonsense {
        /// What.
        what: String,
    },
    /// A migration failed.
    #[error("{file}, line {line}: {source}. {stands}")]
    Failed {
        /// Its file.
        file: String,
        /// The line of the statement, or in it.
        line: usize,
        /// What stands now, and what to do.
        stands: String,
        /// What the database said.
        source: Fault,
    },
    /// What a person says of a migration is of one that does not stand half.
    #[error("version {version} does not stand half: there is nothing to resolve")]
    NothingHalf {
        /// Which.
        version: SchemaVersion,
    },
    /// A migration that is a program failed.
    #[error("{file} {why}. {stands}")]
    Program {
        /// Its file.
        file: String,
        /// How it ended.
        why: String,
        /// What stands now, and what to do.
        stands: String,
    },
    /// A migration stands half, and only a person can tell how far it came.
    #[error("{file} stands half: {stands}")]
    Stands {
        /// Its file.
        file: String,
        /// What stands, and what to do.
        stands: String,
    },
    /// An index has the name that a migration is to make.
    #[error("{file}: there is an index {index} already{}: it was not begun; {}", if *.valid { "" } else { ", and it is invalid, left by a failure" }, if *.valid { "give the new one another name" } else { "drop it (DROP INDEX CONCURRENTLY), then again" })]
    IndexStands {
        /// The file.
        file: String,
        /// The index.
        index: String,
        /// Whether it is whole.
        valid: bool,
    },
    /// A backfill cannot be walked over as its file says.
    #[error("{file}: {what}: {stands}")]
    Backfill {
        /// Its file.
        file: String,
        /// Why.
        what: String,
        /// What stands of it.
        stands: String,
    },
    /// What a person says of a migration cannot be so.
    #[error("{what}. Nothing was written down")]
    Unresolved {
        /// Why not, and what to do.
        what: String,
    },
    /// The session is not the one that has the lock.
    #[error(
        "the session does not have the lock any more: what it had begun was not committed, what was applied before stands. A pooler that gives each transaction another session (PgBouncer's transaction mode) cannot be between, and a migration must not give up advisory locks"
    )]
    LockLost,
    /// Somebody cancelled it.
    #[error("cancelled. {stands}")]
    Cancelled {
        /// What stands.
        stands: String,
    },
    /// The connection was lost and did not come back.
    #[error("the database went away and did not come back: {source}. {stands}")]
    Lost {
        /// What stands.
        stands: String,
        /// What was said last.
        source: Fault,
    },
    /// It took longer than it may.
    #[error("it took longer than it may ({} s). {stands}", took.as_secs())]
    TooLong {
        /// How long it may.
        took: std::time::Duration,
        /// What stands.
        stands: String,
    },
}

impl Error {
    /// The error with all that lies behind it, on one line.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            let said = error.to_string();
            if !text.contains(&said) {
                text.push_str(": ");
                text.push_str(&said);
            }
            source = error.source();
        }
        text
    }
}
