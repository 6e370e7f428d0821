//! What a database remembers of what was applied to it.

use handover_model::{SchemaPhase, SchemaVersion};
use handover_script::Checksum;

/// One row of the table `handover_migrations`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The migration's number.
    pub version: SchemaVersion,
    /// Its phase, as it was then.
    pub phase: SchemaPhase,
    /// Its name, as it was then.
    pub name: String,
    /// Of its bytes, as they were then.
    pub checksum: Checksum,
    /// Whether it is whole.
    pub state: State,
    /// How many of its statements were begun.
    pub begun: u32,
    /// How many of its statements are known to have taken effect.
    pub done: u32,
    /// When it was begun, in Unix milliseconds by the database's clock.
    pub started_ms: i64,
    /// When it was applied, in the same way.
    pub applied_ms: Option<i64>,
    /// Who applied it.
    pub by: String,
    /// How long it took, in milliseconds.
    pub took_ms: i64,
    /// The deployment that it was part of.
    pub deployment: String,
}

/// Whether a migration is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It was begun, and is not whole yet. Only of what one transaction cannot hold.
    Started,
    /// It is whole.
    Applied,
}

impl State {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Applied => "applied",
        }
    }
}

/// How far a backfill is: a row of the table `handover_backfills`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackfillRecord {
    /// The migration's number.
    pub version: SchemaVersion,
    /// The last key that is done, as text.
    pub last_key: Option<String>,
    /// The rows that its statement says it touched.
    pub rows: u64,
    /// The batches that are done.
    pub batches: u64,
}
