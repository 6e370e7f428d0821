//! What is linted, and what the linter is told beside it.

use crate::name::Name;
use handover_model::{ColumnPattern, SchemaRange, SchemaVersion};
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
    /// What the schema is after it.
    pub version: SchemaVersion,
    /// Whether the file is one transaction. `None`: it is what the runner makes of it.
    pub transaction: Option<bool>,
}

/// A column of a table, both as PostgreSQL folds them.
pub type ColumnOf = (Name, String);

/// What the code says of itself whose migrations they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Code {
    /// The versions that it works with.
    pub reads: SchemaRange,
    /// Columns that it uses.
    pub uses: Vec<ColumnPattern>,
}

impl Code {
    /// What of it is gone from the version on that takes these away.
    pub(crate) fn loses(&self, version: SchemaVersion, taken: &ColumnPattern) -> Option<&ColumnPattern> {
        handover_model::lost_of(&self.uses, self.reads, version, taken)
    }
}

/// What the linter knows beside the files.
#[derive(Clone, Debug)]
pub struct Context {
    /// The kind of database.
    pub database: DatabaseKind,
    /// The server's major version, or the oldest that it may have: `15`. What a statement locks and rewrites depends on it.
    pub server_major: u16,
    /// What the release's own code works with; `None` where it is not known.
    pub code: Option<Code>,
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
            code: None,
            made: BTreeSet::new(),
            types: BTreeMap::new(),
        }
    }
}
