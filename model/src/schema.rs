//! The schema of a service's database: its versions, what code works with, and the phases of a change.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A version of a database's schema: the number of the newest migration that is applied, 0 where none is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SchemaVersion(u32);

impl SchemaVersion {
    /// The version of a database to which nothing was applied.
    pub const NONE: Self = Self(0);

    /// The version after the migration of that number.
    #[must_use]
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The migration's number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Display for SchemaVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The versions of a schema that code works with, both ends included: `41..=43`, or `41` alone.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SchemaRange {
    first: SchemaVersion,
    last: SchemaVersion,
}

/// Text that is no range of schema versions.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaRangeError {
    /// Not of the form.
    #[error("{0:?} is no range of schema versions: write \"41..=43\", both ends included, or \"41\"")]
    Form(String),
    /// The first is above the last.
    #[error("the range {first}..={last} is empty: the first version is above the last")]
    Empty {
        /// The first.
        first: SchemaVersion,
        /// The last.
        last: SchemaVersion,
    },
}

impl SchemaRange {
    /// Every version.
    pub const ALL: Self = Self { first: SchemaVersion(0), last: SchemaVersion(u32::MAX) };

    /// From the first to the last, both included.
    ///
    /// # Errors
    /// Where the first is above the last.
    pub const fn new(first: SchemaVersion, last: SchemaVersion) -> Result<Self, SchemaRangeError> {
        if first.0 > last.0 {
            return Err(SchemaRangeError::Empty { first, last });
        }
        Ok(Self { first, last })
    }

    /// The first version.
    #[must_use]
    pub const fn first(self) -> SchemaVersion {
        self.first
    }

    /// The last version.
    #[must_use]
    pub const fn last(self) -> SchemaVersion {
        self.last
    }

    /// Whether the code works with a schema of that version.
    #[must_use]
    pub const fn contains(self, version: SchemaVersion) -> bool {
        self.first.0 <= version.0 && version.0 <= self.last.0
    }

    /// The versions that both work with; `None` where there are none.
    #[must_use]
    pub fn and(self, other: Self) -> Option<Self> {
        Self::new(self.first.max(other.first), self.last.min(other.last)).ok()
    }
}

impl FromStr for SchemaRange {
    type Err = SchemaRangeError;

    fn from_str(text: &str) -> Result<Self, SchemaRangeError> {
        let number = |part: &str| {
            let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            let parsed = part.parse().ok().filter(|_| digits);
            parsed.map(SchemaVersion).ok_or_else(|| SchemaRangeError::Form(text.chars().take(100).collect()))
        };
        match text.split_once("..=") {
            Some((first, last)) => Self::new(number(first)?, number(last)?),
            None => Self::new(number(text)?, number(text)?),
        }
    }
}

impl fmt::Display for SchemaRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { self.first.fmt(f) } else { write!(f, "{}..={}", self.first, self.last) }
    }
}

impl fmt::Debug for SchemaRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for SchemaRange {
    type Error = SchemaRangeError;

    fn try_from(text: String) -> Result<Self, SchemaRangeError> {
        text.parse()
    }
}

impl From<SchemaRange> for String {
    fn from(range: SchemaRange) -> Self {
        range.to_string()
    }
}

/// When a migration runs, as seen from the code that needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SchemaPhase {
    /// Before the code: it adds what the code needs, and whatever runs goes on working.
    Expand,
    /// While old and new code may both run: it carries data over, for as long as that takes.
    Backfill,
    /// Once the old code is gone for good: it takes away what only that needed.
    Contract,
}

impl SchemaPhase {
    /// All of them, in the order in which they come.
    pub const ALL: [Self; 3] = [Self::Expand, Self::Backfill, Self::Contract];

    /// The phase with that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.name() == name)
    }

    /// The phase's name, as manifests and commands have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Expand => "expand",
            Self::Backfill => "backfill",
            Self::Contract => "contract",
        }
    }
}

impl fmt::Display for SchemaPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> SchemaRange {
        text.parse().unwrap()
    }

    #[test]
    fn a_range_is_written_with_both_ends_or_one_number() {
        assert_eq!(range("41..=43").to_string(), "41..=43");
        assert_eq!(range("41"), range("41..=41"));
        assert!(range("41..=43").contains(SchemaVersion::new(43)));
        assert!(!range("41..=43").contains(SchemaVersion::new(44)));
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in ["", "41..43", "..=43", "41..=", "a", "-1", "+1..=2", "1..=4294967296", " 1"] {
            assert_eq!(text.parse::<SchemaRange>(), Err(SchemaRangeError::Form(text.to_owned())), "{text:?}");
        }
        let empty = SchemaRangeError::Empty { first: SchemaVersion::new(43), last: SchemaVersion::new(41) };
        assert_eq!("43..=41".parse::<SchemaRange>(), Err(empty));
    }

    #[test]
    fn two_ranges_share_what_is_in_both() {
        assert_eq!(range("41..=43").and(range("42..=50")), Some(range("42..=43")));
        assert_eq!(range("41..=43").and(range("44..=50")), None);
        assert_eq!(range("7").and(SchemaRange::ALL), Some(range("7")));
    }
}
