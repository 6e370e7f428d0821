//! Migrations of a release, written down in a line.

use handover_lint::{Context, Finding, Migration, Outcome, Report, Rule, SchemaPhase, lint};
use handover_model::SchemaVersion;

/// What each of the files makes the schema.
pub(crate) const VERSION: SchemaVersion = SchemaVersion::new(20);

/// Files in their order, and the server that they are for.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    files: Vec<(SchemaPhase, String, Option<bool>)>,
    server: u16,
}

pub(crate) fn file(phase: SchemaPhase, text: &str) -> Files {
    Files { files: vec![(phase, text.to_owned(), None)], server: 15 }
}

pub(crate) fn expand(text: &str) -> Files {
    file(SchemaPhase::Expand, text)
}

pub(crate) fn backfill(text: &str) -> Files {
    file(SchemaPhase::Backfill, text)
}

pub(crate) fn contract(text: &str) -> Files {
    file(SchemaPhase::Contract, text)
}

impl Files {
    /// One more file behind them.
    pub(crate) fn then(mut self, more: Self) -> Self {
        self.files.extend(more.files);
        self
    }

    /// For a server of another version than 15.
    pub(crate) fn on(mut self, server: u16) -> Self {
        self.server = server;
        self
    }

    /// In a transaction, or not, whatever stands in them.
    pub(crate) fn in_a_transaction(mut self, open: bool) -> Self {
        for file in &mut self.files {
            file.2 = Some(open);
        }
        self
    }

    /// What stands in each.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|(_, text, _)| text.as_str())
    }

    pub(crate) fn context(&self) -> Context {
        Context::postgresql(self.server)
    }

    pub(crate) fn linted(&self) -> Report {
        self.linted_with(&self.context())
    }

    pub(crate) fn linted_with(&self, context: &Context) -> Report {
        let names: Vec<String> =
            self.files.iter().enumerate().map(|(at, (phase, ..))| format!("{phase}/{at}.sql")).collect();
        let migrations: Vec<Migration<'_>> = self
            .files
            .iter()
            .zip(&names)
            .map(|((phase, text, transaction), file)| Migration {
                file,
                text,
                phase: *phase,
                version: VERSION,
                transaction: *transaction,
            })
            .collect();
        match lint(&migrations, context) {
            Outcome::Linted(report) => report,
            Outcome::NotLinted { database } => panic!("{database} was not linted"),
        }
    }

    /// What it found of one rule.
    pub(crate) fn of(&self, rule: Rule) -> Vec<Finding> {
        self.linted().findings.into_iter().filter(|finding| finding.rule == rule).collect()
    }
}
