//! What the linter says: findings, each with its steps.

use crate::{
    migration::{DatabaseKind, SchemaPhase},
    rule::Rule,
};
use handover_model::{ColumnPattern, SchemaVersion};
use serde::{Serialize, Serializer};
use std::{fmt, ops::Range};

/// Most findings that are listed of one file; a file with more is hardly a migration.
pub const MAX_LISTED: usize = 100;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Worth a look: right in some systems, wrong in others.
    Warn,
    /// Would break or stop a live system.
    Fail,
}

/// The release whose part a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Release {
    /// The one whose migration is linted.
    This,
    /// The one after it.
    Next,
    /// The one after that.
    AfterNext,
}

/// The part of a release that a step belongs to, in the order in which they happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// Its expand migrations.
    Expand,
    /// Its code.
    Code,
    /// Its backfill.
    Backfill,
    /// Its contract migrations.
    Contract,
}

impl From<SchemaPhase> for Part {
    fn from(phase: SchemaPhase) -> Self {
        match phase {
            SchemaPhase::Expand => Self::Expand,
            SchemaPhase::Backfill => Self::Backfill,
            SchemaPhase::Contract => Self::Contract,
        }
    }
}

impl Part {
    /// The phase of the migrations of this part; `None` for code.
    #[must_use]
    pub fn phase(self) -> Option<SchemaPhase> {
        match self {
            Self::Expand => Some(SchemaPhase::Expand),
            Self::Code => None,
            Self::Backfill => Some(SchemaPhase::Backfill),
            Self::Contract => Some(SchemaPhase::Contract),
        }
    }
}

/// One of the steps that reach the same end without breaking anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Of which release.
    pub release: Release,
    /// In which part of it.
    pub part: Part,
    /// What to do.
    pub words: String,
    /// A file of SQL that does it, where it is SQL that does it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sql: Option<String>,
}

impl Step {
    fn new(part: Part, words: &str) -> Self {
        Self { release: Release::This, part, words: words.to_owned(), sql: None }
    }

    pub(crate) fn expand(words: &str) -> Self {
        Self::new(Part::Expand, words)
    }

    pub(crate) fn code(words: &str) -> Self {
        Self::new(Part::Code, words)
    }

    pub(crate) fn backfill(words: &str) -> Self {
        Self::new(Part::Backfill, words)
    }

    pub(crate) fn contract(words: &str) -> Self {
        Self::new(Part::Contract, words)
    }

    /// A step of the phase that the finding is in.
    pub(crate) fn here(phase: SchemaPhase, words: &str) -> Self {
        Self::new(phase.into(), words)
    }

    pub(crate) fn next(mut self) -> Self {
        self.release = Release::Next;
        self
    }

    pub(crate) fn after_next(mut self) -> Self {
        self.release = Release::AfterNext;
        self
    }

    pub(crate) fn sql(mut self, sql: impl Into<String>) -> Self {
        self.sql = Some(sql.into());
        self
    }

    /// `expand of this release`.
    #[must_use]
    pub fn when(&self) -> String {
        let part = match self.part {
            Part::Expand => "expand",
            Part::Code => "the code",
            Part::Backfill => "backfill",
            Part::Contract => "contract",
        };
        let release = match self.release {
            Release::This => "this release",
            Release::Next => "the next release",
            Release::AfterNext => "the release after the next",
        };
        format!("{part} of {release}")
    }
}

/// One thing that is wrong with a statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The rule that it breaks.
    pub rule: Rule,
    /// How bad that is in the file's phase.
    pub severity: Severity,
    /// The file.
    pub file: String,
    /// The phase that the file belongs to.
    pub phase: SchemaPhase,
    /// The bytes of the file that it is about.
    #[serde(serialize_with = "as_pair")]
    pub range: Range<usize>,
    /// Line, counted from 1.
    pub line: u32,
    /// Column in characters, counted from 1.
    pub column: u32,
    /// The statement, as it is written; empty where the whole file is meant.
    pub statement: String,
    /// What is wrong.
    pub message: String,
    /// Why that breaks a live system.
    pub why: &'static str,
    /// How to reach the same end without that.
    pub steps: Vec<Step>,
    /// Place, rule and message with the line and a caret, as a person reads them.
    #[serde(skip)]
    pub(crate) excerpt: String,
}

fn as_pair<S: Serializer>(range: &Range<usize>, serializer: S) -> Result<S::Ok, S::Error> {
    [range.start, range.end].serialize(serializer)
}

/// Everything that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// By phase, file and place.
    pub findings: Vec<Finding>,
    /// How many more there are, beyond [`MAX_LISTED`] of a file.
    pub left_out: usize,
    /// How many statements were looked at.
    pub statements: usize,
    /// What the files take away by its name, whatever uses it.
    pub gone: Vec<Gone>,
}

/// Columns that a file takes away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gone {
    /// The version of the schema in which they are not there any more.
    pub version: SchemaVersion,
    /// Which; all of them where the file could not be read.
    pub what: ColumnPattern,
}

impl Report {
    /// Whether nothing was found that would break a live system.
    #[must_use]
    pub fn passes(&self) -> bool {
        self.left_out == 0 && self.findings.iter().all(|finding| finding.severity == Severity::Warn)
    }

    /// Those that would.
    pub fn failures(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.severity == Severity::Fail)
    }
}

/// What became of a request to lint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[must_use]
pub enum Outcome {
    /// The files were read by the rules.
    Linted(Report),
    /// They were not: the rules know only PostgreSQL. That is no pass.
    NotLinted {
        /// What they are for.
        database: DatabaseKind,
    },
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Linted(report) => report.fmt(f),
            Self::NotLinted { database } => {
                write!(f, "not linted: the migrations are for {database}, and the rules know only PostgreSQL")
            }
        }
    }
}
