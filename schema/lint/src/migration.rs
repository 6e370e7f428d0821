//! What is linted, and what the linter is told beside it.

use crate::name::Name;
pub use handover_model::{SchemaPhase, config::DatabaseKind};
use std::collections::{BTreeMap, BTreeSet};

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
    pub database: DatabaseKind,
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
            database: DatabaseKind::Postgres,
            server_major,
            reads: Reads::Unknown,
            made: BTreeSet::new(),
            types: BTreeMap::new(),
        }
    }
}
