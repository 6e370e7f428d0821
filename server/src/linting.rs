//! Looking at a release's migrations before anything runs: for whoever pushes a release, and for the server that takes it.

use handover_lint::{Context, Migration, Outcome, Report};
use handover_model::{
    MigrationKind, SchemaPhase,
    config::{DatabaseKind, SchemaConfig},
};

/// The oldest PostgreSQL that migrations are applied to: what is safe there is safe on later ones.
const OLDEST_POSTGRESQL: u16 = 12;

/// A file of a release's migrations.
#[derive(Clone, Debug)]
pub(crate) struct MigrationFile {
    /// Its phase.
    pub(crate) phase: SchemaPhase,
    /// Its path in the release.
    pub(crate) path: String,
    /// What stands in it.
    pub(crate) text: String,
}

impl MigrationFile {
    /// Whether it is a program: nobody can say what it does to a schema.
    pub(crate) fn is_program(&self) -> bool {
        self.path.ends_with(MigrationKind::Program.ending())
    }

    fn linted(&self) -> Migration<'_> {
        Migration { file: &self.path, text: &self.text, phase: self.phase, transaction: None }
    }
}

/// What the linter says of the files, programs left out, in the order of their paths; `None` where it does not know the kind
/// of database.
pub(crate) fn lint(config: &SchemaConfig, files: &[MigrationFile]) -> Option<Report> {
    let context = match config.kind {
        DatabaseKind::Postgres => Context::postgresql(OLDEST_POSTGRESQL),
        DatabaseKind::MySql | DatabaseKind::Sqlite => return None,
    };
    let statements = files.iter().filter(|file| !file.is_program());
    let migrations: Vec<Migration<'_>> = statements.map(MigrationFile::linted).collect();
    match handover_lint::lint(&migrations, &context) {
        Outcome::Linted(report) => Some(report),
        Outcome::NotLinted { .. } => None,
    }
}

/// The folder of a phase's files as a bundle names it: without `.` and slashes at the end; `None` where it has
/// none.
pub(crate) fn folder(config: &SchemaConfig, phase: SchemaPhase) -> Option<String> {
    let parts = config.migrations(phase)?.components().filter_map(|part| part.as_os_str().to_str());
    Some(parts.filter(|part| *part != ".").collect::<Vec<_>>().join("/"))
}
