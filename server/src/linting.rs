//! Looking at a release's migrations before anything runs: for whoever pushes a release, and for the server that takes it.

use crate::migrations::Migrations;
use handover_lint::{Code, Context, Migration, Outcome, Report};
use handover_model::config::SchemaConfig;

/// The oldest PostgreSQL that migrations are applied to: what is safe there is safe on later ones.
const OLDEST_POSTGRESQL: u16 = 12;

/// What the linter says of the migrations, programs left out; `None` where it does not know the kind of database, and the runner
/// takes them as they are.
pub(crate) fn lint(config: &SchemaConfig, migrations: &Migrations) -> Option<Report> {
    let code = Code { reads: config.reads, uses: config.uses.clone() };
    let context =
        Context { database: config.kind, code: Some(code), ..Context::postgresql(OLDEST_POSTGRESQL) };
    let files: Vec<Migration<'_>> = migrations
        .files()
        .filter_map(|(phase, version, file)| {
            let text = file.text.as_deref()?;
            Some(Migration { file: &file.path, text, phase, version, transaction: None })
        })
        .collect();
    match handover_lint::lint(&files, &context) {
        Outcome::Linted(report) => Some(report),
        Outcome::NotLinted { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrations::FileContent;
    use handover_model::{SchemaPhase, config::Manifest};

    #[test]
    fn what_the_runner_refuses_is_found_whatever_the_kind_of_database() {
        let linted = |kind: &str, text: &str| {
            let manifest = format!(
                "service = \"web\"\ncommand = [\"web\"]\n[schema]\ndatabase = \"shop\"\nkind = \"{kind}\"\nreads = \"1..=2\"\nexpand = \"expand\"\n"
            );
            let config = Manifest::parse(&manifest).unwrap().schema.unwrap();
            let mut migrations = Migrations::default();
            let file = FileContent { content: text.into(), executable: false };
            migrations.add(SchemaPhase::Expand, "expand", "1_a.sql", file).unwrap();
            lint(&config, &migrations)
        };
        assert_eq!(linted("mysql", "CREATE TABLE a (n INT);"), None);
        for (kind, text) in [("mysql", "USE other;"), ("sqlite", "COMMIT;"), ("postgresql", "DISCARD ALL;")] {
            let report = linted(kind, text).unwrap();
            assert!(!report.passes(), "{kind}: {report}");
        }
    }
}
