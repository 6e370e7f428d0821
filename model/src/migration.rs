//! Migrations: what a host is to apply to a database, and how far it is.

use crate::{DeploymentId, Release, SchemaPhase, SchemaRange, SchemaVersion};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// Most releases that a migration is held against.
pub const MAX_READERS: usize = 64;

/// Most files that a phase of a release has.
pub const MAX_MIGRATIONS: usize = 1000;
/// Most bytes of one of them.
pub const MAX_MIGRATION_BYTES: u64 = 1024 * 1024;
/// The largest number that one can have.
const MAX_NUMBER: u64 = 1 << 31;

/// What a migration's file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MigrationKind {
    /// Statements, which the agent runs.
    Sql,
    /// A program, which connects to the database itself.
    Program,
}

impl MigrationKind {
    const ALL: [Self; 2] = [Self::Sql, Self::Program];

    /// The ending of the file's name, with its dot.
    #[must_use]
    pub const fn ending(self) -> &'static str {
        match self {
            Self::Sql => ".sql",
            Self::Program => ".run",
        }
    }
}

/// What the name of a file says of the migration in it: `0042_add_total.sql`, `0043_import.run`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationName {
    /// The schema's version once it is applied, from 1.
    pub version: SchemaVersion,
    /// Its name, without number and ending.
    pub name: String,
    /// What it holds.
    pub kind: MigrationKind,
}

/// A file's name that says no migration's number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not named NUMBER_NAME.sql, or NUMBER_NAME.run for a program (0042_add_total.sql): NUMBER from 1 to {MAX_NUMBER}, NAME of 1 to 100 letters, digits, '-' and '_'"
)]
pub struct MigrationNameError(String);

impl FromStr for MigrationName {
    type Err = MigrationNameError;

    fn from_str(text: &str) -> Result<Self, MigrationNameError> {
        let parts = || {
            let of_kind = |kind: MigrationKind| Some((kind, text.strip_suffix(kind.ending())?));
            let (kind, stem) = MigrationKind::ALL.into_iter().find_map(of_kind)?;
            let (number, name) = stem.split_once('_')?;
            let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
            let digits = (1..=12).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
            let number = number.parse::<u64>().ok().filter(|_| digits);
            let number = number.filter(|number| (1..=MAX_NUMBER).contains(number))?;
            let version = SchemaVersion::new(u32::try_from(number).ok()?);
            ((1..=100).contains(&name.len()) && plain).then(|| Self { version, name: name.to_owned(), kind })
        };
        parts().ok_or_else(|| MigrationNameError(text.chars().take(100).collect()))
    }
}

/// Names one attempt of a stage's migrations: what an agent has done under it, it does not do again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MigrationId {
    /// Whose stage.
    pub deployment: DeploymentId,
    /// Which stage, from 0.
    pub stage: u32,
    /// Which attempt, from 1.
    pub attempt: u32,
}

impl fmt::Display for MigrationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.deployment, self.stage, self.attempt)
    }
}

/// Where migrations are, as the agent that runs them says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MigrationState {
    /// They are being applied.
    Running {
        /// What goes on, in words for an operator.
        doing: String,
        /// Rows that a backfill has done, and how many there are about, where it is known.
        rows: Option<(u64, Option<u64>)>,
    },
    /// All are applied.
    Done {
        /// What the schema is now.
        version: SchemaVersion,
    },
    /// They cannot be applied. What stands in the database is told by the reason.
    Failed {
        /// Why, in words for an operator.
        reason: String,
    },
}

/// What a person says of a migration that stands half, having looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// The statement, or the program, at which it was cut off took effect.
    TookEffect,
    /// It did not.
    DidNot,
    /// All of the migration was put back by hand: forget that it was begun.
    PutBack,
    /// It is a backfill, and what it carried over is not right any more: do it again.
    Again,
}

impl Found {
    const ALL: [Self; 4] = [Self::TookEffect, Self::DidNot, Self::PutBack, Self::Again];

    /// Its name, as commands have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TookEffect => "took-effect",
            Self::DidNot => "did-not",
            Self::PutBack => "put-back",
            Self::Again => "again",
        }
    }
}

/// What a person found of one migration: `42=took-effect`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolution {
    /// Which.
    pub version: SchemaVersion,
    /// What.
    pub found: Found,
}

/// Text that says of no migration what was found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} says of no migration what was found: write its number and one of took-effect, did-not, put-back and, of a backfill, again, like \"42=did-not\""
)]
pub struct ResolutionError(String);

impl FromStr for Resolution {
    type Err = ResolutionError;

    fn from_str(text: &str) -> Result<Self, ResolutionError> {
        let parts = || {
            let (number, found) = text.split_once('=')?;
            let digits = (1..=10).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
            let number = number.parse::<u32>().ok().filter(|number| digits && *number > 0)?;
            let found = Found::ALL.into_iter().find(|known| known.name() == found)?;
            Some(Self { version: SchemaVersion::new(number), found })
        };
        parts().ok_or_else(|| ResolutionError(text.chars().take(100).collect()))
    }
}

impl fmt::Display for Resolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.version, self.found.name())
    }
}

/// What a host should apply to the database of one service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigrationTarget {
    /// Which attempt it is: under one id nothing is begun twice.
    pub id: MigrationId,
    /// The release whose migrations they are.
    pub release: Release,
    /// Which of them.
    pub phase: SchemaPhase,
    /// Code that runs, or may be gone back to, at most [`MAX_READERS`]: it must work with whatever the schema becomes.
    pub readers: Vec<SchemaReader>,
    /// What a person found of a migration that an earlier attempt left half: written down before anything is applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolve: Option<Resolution>,
    /// Whether it stands still for now.
    pub paused: bool,
}

/// Code that runs, or may be gone back to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaReader {
    /// What it is, for a sentence: `release 1.2.0 of shop (standby on web-1)`.
    pub who: String,
    /// The versions that it works with.
    pub reads: SchemaRange,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_found_is_written_with_the_migrations_number() {
        for text in ["42=took-effect", "7=did-not", "2147483648=put-back", "3=again"] {
            assert_eq!(text.parse::<Resolution>().unwrap().to_string(), text);
        }
        for text in
            ["", "42", "42=", "42=perhaps", "0=did-not", "-1=did-not", "4294967296=did-not", "=put-back"]
        {
            assert!(text.parse::<Resolution>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_files_name_says_the_version_that_it_makes() {
        let read = |text: &str| {
            text.parse::<MigrationName>().map(|read| (read.version.number(), read.name, read.kind))
        };
        let (sql, program) = (MigrationKind::Sql, MigrationKind::Program);
        assert_eq!(read("0042_add_total.sql"), Ok((42, "add_total".to_owned(), sql)));
        assert_eq!(read("0043_import.run"), Ok((43, "import".to_owned(), program)));
        assert_eq!(read("2147483648_last.sql"), Ok((2_147_483_648, "last".to_owned(), sql)));
        for text in [
            "",
            "42.sql",
            "42_a.run.txt",
            "42_a",
            "42_.sql",
            "0_none.sql",
            "_a.sql",
            "42_a.SQL",
            "42_a b.sql",
            "-1_a.sql",
            "+1_a.sql",
            "2147483649_a.sql",
            "42_a/b.sql",
            "0000000000042_a.sql",
        ] {
            assert!(read(text).is_err(), "{text:?}");
        }
    }
}
