//! What a release needs of its database's schema, and how it gets it.

use crate::{ColumnPattern, Labels, SchemaPhase, SchemaRange};
use serde::{Serialize, Serializer};
use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

/// Most entries of `uses`.
pub const MAX_USES: usize = 64;
/// Most bytes of them together.
pub const MAX_USES_BYTES: usize = 2048;

/// What a release needs of its database's schema, and how it gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaConfig {
    /// The database: the hosts that may migrate it have it described in `NAME.toml`, in the folder of their agent's databases. 1 to
    /// 63 of a-z, 0-9, `-` and `_`.
    pub database: String,
    /// Of which kind it is.
    pub kind: DatabaseKind,
    /// The versions of the schema that the release's code works with.
    pub reads: SchemaRange,
    /// Columns that the code uses, at most [`MAX_USES`]; empty where it does not say. PostgreSQL only.
    pub uses: Vec<ColumnPattern>,
    /// Labels of the host whose agent migrates; `None`: those of the service.
    pub hosts: Option<Labels>,
    /// Folder of the bundle with files `NUMBER_NAME.sql`, or `NUMBER_NAME.run` for a program, the number being the schema's
    /// version afterwards: what is applied before the release's code runs anywhere.
    pub expand: Option<PathBuf>,
    /// The folder of what is carried over once it runs everywhere.
    pub backfill: Option<PathBuf>,
    /// The folder of what is taken away once no code is left that needs it.
    pub contract: Option<PathBuf>,
    /// How long the release is the current one before the contract comes by itself, 1 s to 365 d; `None`: never.
    pub contract_after: Option<Duration>,
    /// How long expand or contract may take, 1 s to 24 h.
    pub within: Duration,
    /// How long a backfill may take, 1 s to 30 d.
    pub backfill_within: Duration,
    /// How long a statement waits for a lock before it lets the others pass, 10 ms to 1 min.
    pub lock_timeout: Duration,
    /// How long a statement in a transaction may run, 100 ms to 1 h.
    pub statement_timeout: Duration,
    /// A backfill stands still while a replica is further behind, 100 ms to 1 h.
    pub max_lag: Duration,
}

/// A kind of database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatabaseKind {
    /// PostgreSQL, 12 or later.
    Postgres,
    /// MySQL 8 or MariaDB 10.5, or later.
    MySql,
    /// SQLite, a file on the host that migrates it.
    Sqlite,
}

impl DatabaseKind {
    /// Its name, as a manifest has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgresql",
            Self::MySql => "mysql",
            Self::Sqlite => "sqlite",
        }
    }
}

impl Serialize for DatabaseKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl fmt::Display for DatabaseKind {
    /// Its name, for a sentence.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Postgres => "PostgreSQL",
            Self::MySql => "MySQL",
            Self::Sqlite => "SQLite",
        })
    }
}

impl SchemaConfig {
    /// The folder with the migrations of a phase; `None` where it has none.
    #[must_use]
    pub fn migrations(&self, phase: SchemaPhase) -> Option<&Path> {
        match phase {
            SchemaPhase::Expand => self.expand.as_deref(),
            SchemaPhase::Backfill => self.backfill.as_deref(),
            SchemaPhase::Contract => self.contract.as_deref(),
        }
    }

    /// How long the migrations of a phase may take.
    #[must_use]
    pub const fn time_for(&self, phase: SchemaPhase) -> Duration {
        match phase {
            SchemaPhase::Expand | SchemaPhase::Contract => self.within,
            SchemaPhase::Backfill => self.backfill_within,
        }
    }
}
