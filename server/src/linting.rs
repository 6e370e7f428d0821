//! Looking at a release's migrations before anything runs: for whoever pushes a release, and for the server that takes it.

use crate::migrations::Migrations;
use handover_lint::{Context, Migration, Outcome, Report};
use handover_model::config::{DatabaseKind, SchemaConfig};

/// The oldest PostgreSQL that migrations are applied to: what is safe there is safe on later ones.
const OLDEST_POSTGRESQL: u16 = 12;

/// What the linter says of the migrations, programs left out; `None` where it does not know the kind of database.
pub(crate) fn lint(config: &SchemaConfig, migrations: &Migrations) -> Option<Report> {
    let context = match config.kind {
        DatabaseKind::Postgres => Context::postgresql(OLDEST_POSTGRESQL),
        DatabaseKind::MySql | DatabaseKind::Sqlite => return None,
    };
    let files: Vec<Migration<'_>> = migrations
        .files()
        .filter_map(|(phase, file)| {
            let text = file.text.as_deref()?;
            Some(Migration { file: &file.path, text, phase, transaction: None })
        })
        .collect();
    match handover_lint::lint(&files, &context) {
        Outcome::Linted(report) => Some(report),
        Outcome::NotLinted { .. } => None,
    }
}
