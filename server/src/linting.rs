//! Looking at a release's migrations before anything runs: for whoever pushes a release, and for the server that takes it.

use handover_lint::{Context, Database, Migration, Outcome, Report};
use handover_model::{
    SchemaPhase,
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
    fn linted(&self) -> Migration<'_> {
        Migration { file: &self.path, text: &self.text, phase: self.phase, transaction: None }
    }
}

/// What the linter says of the files, in the order of their paths; `None` where it does not know the kind of database, and the
/// runner takes them as they are.
pub(crate) fn lint(config: &SchemaConfig, files: &[MigrationFile]) -> Option<Report> {
    let mut context = Context::postgresql(OLDEST_POSTGRESQL);
    context.database = match config.kind {
        DatabaseKind::Postgres => Database::PostgreSql,
        DatabaseKind::MySql => Database::MySql,
        DatabaseKind::Sqlite => Database::Sqlite,
    };
    let migrations: Vec<Migration<'_>> = files.iter().map(MigrationFile::linted).collect();
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

#[cfg(test)]
mod tests {
    use super::*;
    use handover_model::config::Manifest;

    #[test]
    fn what_the_runner_refuses_is_found_whatever_the_kind_of_database() {
        let linted = |kind: &str, text: &str| {
            let manifest = format!(
                "service = \"web\"\ncommand = [\"web\"]\n[schema]\ndatabase = \"shop\"\nkind = \"{kind}\"\nreads = \"1..=2\"\nexpand = \"expand\"\n"
            );
            let config = Manifest::parse(&manifest).unwrap().schema.unwrap();
            let (phase, path) = (SchemaPhase::Expand, "expand/1_a.sql".to_owned());
            lint(&config, &[MigrationFile { phase, path, text: text.to_owned() }])
        };
        assert_eq!(linted("mysql", "CREATE TABLE a (n INT);"), None);
        for (kind, text) in [("mysql", "USE other;"), ("sqlite", "COMMIT;"), ("postgresql", "DISCARD ALL;")] {
            let report = linted(kind, text).unwrap();
            assert!(!report.passes(), "{kind}: {report}");
        }
    }
}
