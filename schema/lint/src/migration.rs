//! What is linted, and what the linter is told beside it.

use crate::name::Name;
pub use handover_model::SchemaPhase;
use handover_script::Kind;
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// One file of a release's migrations.
#[derive(Clone, Debug)]
pub struct Migration<'t> {
    /// The file, as findings name it.
    pub file: &'t str,
    /// What stands in it.
    pub text: &'t str,
    /// When it runs.
    pub phase: SchemaPhase,
    /// Whether the file is one transaction. `None`: it is what the runner makes of it.
    pub transaction: Option<bool>,
}

/// The kind of database that migrations are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Database {
    /// PostgreSQL: linted.
    PostgreSql,
    /// MySQL and MariaDB: not linted.
    MySql,
    /// SQLite: not linted.
    Sqlite,
}

impl Database {
    /// The kind, as the runner knows it.
    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::PostgreSql => Kind::Postgres,
            Self::MySql => Kind::MySql,
            Self::Sqlite => Kind::Sqlite,
        }
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind().name())
    }
}

/// A column of a table, both as PostgreSQL folds them.
pub type ColumnOf = (Name, String);

/// What running releases read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Reads {
    /// Nobody said: a contract may drop anything, an expand nothing.
    #[default]
    Unknown,
    /// These columns, and no others.
    Columns(BTreeSet<ColumnOf>),
}

/// What the linter knows beside the files.
#[derive(Clone, Debug)]
pub struct Context {
    /// The kind of database.
    pub database: Database,
    /// The server's major version, or the oldest that it may have: `15`. What a statement locks and rewrites depends on it.
    pub server_major: u16,
    /// What running releases read.
    pub reads: Reads,
    /// Tables made by earlier files of the same phase of this release, which are not among those linted: no release
    /// uses them yet.
    pub made: BTreeSet<Name>,
    /// The types of columns as they stand in the database, where that is known: which changes of a type rewrite the
    /// table depends on the old one.
    pub types: BTreeMap<ColumnOf, String>,
}

impl Context {
    /// A PostgreSQL server of a major version, of which nothing else is known.
    #[must_use]
    pub fn postgresql(server_major: u16) -> Self {
        Self {
            database: Database::PostgreSql,
            server_major,
            reads: Reads::Unknown,
            made: BTreeSet::new(),
            types: BTreeMap::new(),
        }
    }
}
