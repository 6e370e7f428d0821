//! What a run tells while it goes on.

use std::fmt;
use std::time::Duration;

use handover_model::SchemaVersion;

/// Something that happened, or that is waited for. Printing one gives a sentence.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// The database is reached.
    Connected,
    /// The lock is ours.
    Locked,
    /// Another runner has the lock, and this one waits for it.
    WaitsForLock {
        /// Who has it.
        holder: String,
    },
    /// So many migrations are to be applied.
    Planned {
        /// The schema's version now.
        from: SchemaVersion,
        /// The schema's version afterwards.
        to: SchemaVersion,
        /// How many.
        steps: usize,
    },
    /// A migration begins.
    Begins {
        /// Its file.
        file: String,
        /// Whether a part of it was done before.
        again: bool,
    },
    /// A record of something that one transaction cannot hold was written, before it begins.
    Recorded {
        /// Its file.
        file: String,
    },
    /// A statement begins.
    Statement {
        /// Its file.
        file: String,
        /// Which one, from 1.
        number: usize,
        /// Of how many.
        of: usize,
    },
    /// A statement has come to its end.
    StatementDone {
        /// Its file.
        file: String,
        /// Which one, from 1.
        number: usize,
    },
    /// A statement waits for a lock that others hold.
    Blocked {
        /// Its file.
        file: String,
        /// Who holds it, or stands before it in the queue.
        by: Vec<Blocker>,
        /// Which try it is.
        attempt: u32,
        /// Of how many.
        of: u32,
    },
    /// What was tried is taken back, and tried again after a pause.
    Again {
        /// Its file.
        file: String,
        /// Why.
        why: String,
        /// Which try comes next.
        attempt: u32,
        /// Of how many.
        of: u32,
        /// The pause.
        after: Duration,
    },
    /// All of a migration stands, but for the commit.
    Commits {
        /// Its file.
        file: String,
    },
    /// A migration is whole.
    Applied {
        /// Its file.
        file: String,
        /// How long it took.
        took: Duration,
    },
    /// An index that a failure left invalid was found; it is dropped, and made anew.
    InvalidIndex {
        /// The index.
        index: String,
    },
    /// A batch of a backfill is committed.
    Batch {
        /// Its file.
        file: String,
        /// The rows of the table that are behind it, as its statement told.
        rows: u64,
        /// Of about how many, where the database has an estimate.
        of: Option<u64>,
        /// Rows in a second, of this run, rests included.
        per_second: f64,
        /// The rows of this batch.
        batch: u32,
    },
    /// A backfill waits because of load.
    Throttled {
        /// Why.
        why: String,
    },
    /// A person paused it.
    Paused,
    /// It goes on.
    Resumed,
    /// The database went away; it is tried again.
    Lost {
        /// What was said.
        why: String,
    },
    /// A line of a migration that is a program.
    Said {
        /// Its file.
        file: String,
        /// What it wrote.
        line: String,
    },
    /// Something that the operator should know.
    Note(String),
}

/// Who holds a lock that a statement waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocker {
    /// The number of the session at the server.
    pub session: i64,
    /// What it calls itself, or who it is.
    pub name: String,
    /// For how long its transaction, or its statement, goes on.
    pub for_ms: i64,
    /// What is locked, where it is known.
    pub what: Option<String>,
}

impl fmt::Display for Blocker {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(what) = &self.what {
            write!(out, "{what}, ")?;
        }
        write!(out, "held by session {} ({}) for {} s", self.session, self.name, self.for_ms / 1000)
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected => out.write_str("connected"),
            Self::Locked => out.write_str("has the lock"),
            Self::WaitsForLock { holder } => write!(out, "waits for the lock: {holder} has it"),
            Self::Planned { from, to, steps: 0 } => {
                debug_assert_eq!(from, to);
                write!(out, "nothing to do: the schema is at version {from}")
            }
            Self::Planned { from, to, steps } => write!(out, "from version {from} to {to}: {steps} to apply"),
            Self::Begins { file, again: false } => write!(out, "{file}: begins"),
            Self::Begins { file, again: true } => write!(out, "{file}: goes on"),
            Self::Recorded { file } => write!(out, "{file}: recorded as begun"),
            Self::Statement { file, number, of } => write!(out, "{file}: statement {number} of {of}"),
            Self::StatementDone { file, number } => write!(out, "{file}: statement {number} is done"),
            Self::Blocked { file, by, attempt, of } => {
                write!(out, "{file}: waits for a lock")?;
                for blocker in by {
                    write!(out, "; {blocker}")?;
                }
                write!(out, " (try {attempt} of {of})")
            }
            Self::Again { file, why, attempt, of, after } => {
                write!(
                    out,
                    "{file}: {why}; taken back, try {attempt} of {of} in {:.1} s",
                    after.as_secs_f64()
                )
            }
            Self::Commits { file } => write!(out, "{file}: commits"),
            Self::Applied { file, took } => write!(out, "{file}: applied in {:.1} s", took.as_secs_f64()),
            Self::InvalidIndex { index } => {
                write!(out, "index {index} is invalid, left by a failure: it is dropped and made anew")
            }
            Self::Batch { file, rows, of: Some(of), per_second, batch } => {
                write!(out, "{file}: {rows} rows of about {of}, {per_second:.0} a second, {batch} in a batch")
            }
            Self::Batch { file, rows, of: None, per_second, batch } => {
                write!(out, "{file}: {rows} rows, {per_second:.0} a second, {batch} in a batch")
            }
            Self::Throttled { why } => write!(out, "waits: {why}"),
            Self::Paused => out.write_str("paused"),
            Self::Resumed => out.write_str("goes on"),
            Self::Lost { why } => write!(out, "the database is gone ({why}); tries to reach it again"),
            Self::Said { file, line } => write!(out, "{file}: {line}"),
            Self::Note(note) => out.write_str(note),
        }
    }
}
