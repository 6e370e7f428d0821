//! Versions of a schema, ranges of them, and the phases of a change.

use std::fmt;
use std::str::FromStr;

/// The version of a schema: the number of the last migration that was applied. 0 where none was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SchemaVersion(u32);

impl SchemaVersion {
    /// The version of a database to which nothing was applied.
    pub const NONE: Self = Self(0);
    /// The largest number that a migration can have.
    pub const MAX: Self = Self(1 << 31);

    /// The version with this number, if it is one.
    pub fn new(number: u64) -> Option<Self> {
        u32::try_from(number).ok().map(Self).filter(|version| *version <= Self::MAX)
    }

    /// Its number.
    pub fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Display for SchemaVersion {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.0)
    }
}

/// The schema versions that some code works with, both ends included: `41..=43`, or `41`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionRange {
    first: SchemaVersion,
    last: SchemaVersion,
}

impl VersionRange {
    /// From `first` to `last`; none if it would be empty.
    pub fn new(first: SchemaVersion, last: SchemaVersion) -> Option<Self> {
        (first <= last).then_some(Self { first, last })
    }

    /// Whether code of this range works with that version.
    pub fn contains(&self, version: SchemaVersion) -> bool {
        (self.first..=self.last).contains(&version)
    }

    /// Its lowest version.
    pub fn first(&self) -> SchemaVersion {
        self.first
    }

    /// Its highest version.
    pub fn last(&self) -> SchemaVersion {
        self.last
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(out, "{}", self.first)
        } else {
            write!(out, "{}..={}", self.first, self.last)
        }
    }
}

/// Why a text is no range of versions.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{text:?} is no range of schema versions: write \"41..=43\", or \"41\"")]
pub struct NoRange {
    text: String,
}

impl FromStr for VersionRange {
    type Err = NoRange;

    fn from_str(text: &str) -> Result<Self, NoRange> {
        let number = |part: &str| {
            let part = part.trim();
            (!part.starts_with('+')).then(|| part.parse().ok().and_then(SchemaVersion::new)).flatten()
        };
        let range = match text.split_once("..=") {
            Some((first, last)) => {
                number(first).zip(number(last)).and_then(|(first, last)| Self::new(first, last))
            }
            None => number(text).and_then(|only| Self::new(only, only)),
        };
        range.ok_or_else(|| NoRange { text: text.chars().take(60).collect() })
    }
}

/// When in a release's life a migration is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Before the code that needs it: only adds.
    Expand,
    /// Beside the running code: fills what was added.
    Backfill,
    /// Once no code needs the old shape any more: may take away.
    Contract,
}

impl Phase {
    /// All of them, in their order.
    pub const ALL: [Self; 3] = [Self::Expand, Self::Backfill, Self::Contract];

    /// Its name: of the folder, in the table, in commands.
    pub fn name(self) -> &'static str {
        match self {
            Self::Expand => "expand",
            Self::Backfill => "backfill",
            Self::Contract => "contract",
        }
    }

    /// The phase with that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.name() == name)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_written_as_it_is_read() {
        for text in ["41..=43", "41", "0..=2147483648"] {
            assert_eq!(text.parse::<VersionRange>().map(|range| range.to_string()), Ok(text.to_owned()));
        }
        assert_eq!(
            " 41 ..= 43 ".parse::<VersionRange>().map(|range| range.to_string()),
            Ok("41..=43".to_owned())
        );
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in ["", "a", "43..=41", "41..43", "1..=2147483649", "-1", "+1", "..=3", "3..="] {
            assert!(text.parse::<VersionRange>().is_err(), "{text}");
        }
    }
}
