//! Tells what SQL migrations would break in a live system, before anything runs, and the safe steps for each
//! statement.
//!
//! A release's migrations come in three [phases](SchemaPhase): `expand` runs before its code, while the old release goes on;
//! `backfill` in the background; `contract` once nothing runs the old release any more. What is safe depends on that,
//! and on what the files before have made: [`lint`] reads all of them together.
//!
//! The parser is squawk's, which reads what PostgreSQL reads. The rules are our own: squawk's know neither phases nor
//! other files, and their advice does not name the statement's tables and columns. `docs/schema-lint.md` has them all,
//! beside squawk's and those of strong_migrations.
//!
//! Pure: no database, no files, no clock. One thread, with a stack that fits the parser, lives as long as a call.
//!
//! ```
//! use handover_lint::{Context, Migration, Outcome, SchemaPhase, lint};
//! use handover_model::SchemaVersion;
//!
//! let migration = Migration {
//!     file: "expand/0007.sql",
//!     text: "CREATE INDEX users_email ON users (email);\n",
//!     phase: SchemaPhase::Expand,
//!     version: SchemaVersion::new(7),
//!     transaction: None,
//! };
//! let Outcome::Linted(report) = lint(&[migration], &Context::postgresql(15)) else { unreachable!() };
//! assert!(!report.passes());
//! assert_eq!(
//!     report.to_string(),
//!     "\
//! expand/0007.sql:1:1: index-not-concurrent: users_email on users is made without CONCURRENTLY
//!   1 | CREATE INDEX users_email ON users (email);
//!     | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
//!   why: writers wait until it is built
//!   safe steps:
//!   1. expand of this release: alone in its file, outside a transaction
//!        CREATE INDEX CONCURRENTLY users_email ON users (email);"
//! );
//! ```

mod allow;
mod file;
mod finding;
mod gone;
mod known;
mod look;
mod migration;
mod name;
mod parse;
mod rule;
mod rules;
mod shown;
mod statement;
mod tree;
mod types;

pub use finding::{Finding, Gone, MAX_LISTED, Outcome, Part, Release, Report, Severity, Step};
pub use migration::{Code, ColumnOf, Context, DatabaseKind, Migration, SchemaPhase};
pub use name::Name;
pub use parse::{MOST_BYTES, MOST_DEPTH, MOST_STATEMENTS, MOST_WEIGHT};
pub use rule::Rule;

/// Reads the migrations of a release, in the order in which they run within each phase, and says what is wrong.
///
/// What is not PostgreSQL is not linted, and the outcome says so; but for what the runner refuses, which is known of every kind.
pub fn lint(migrations: &[Migration<'_>], context: &Context) -> Outcome {
    if context.database != DatabaseKind::Postgres {
        let refused = file::refused(migrations, context);
        return match refused.findings.is_empty() {
            true => Outcome::NotLinted { database: context.database },
            false => Outcome::Linted(refused),
        };
    }
    let report = parse::with_room(|| {
        let mut report = Report::default();
        let mut known = known::Known::new(context);
        for phase in SchemaPhase::ALL {
            known.enter(phase);
            for migration in migrations.iter().filter(|migration| migration.phase == phase) {
                known.open(migration, context.code.as_ref());
                file::lint(migration, context, &mut known, &mut report);
            }
        }
        report
    });
    Outcome::Linted(report.unwrap_or_else(|| file::unread(migrations)))
}
