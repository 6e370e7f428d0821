//! What a release declares for its preflight.

use crate::Version;
use std::{fmt, str::FromStr};

/// Most releases, or beginnings of their labels, that a release names as those that it runs beside.
pub const MAX_COMPATIBLE: usize = 64;

/// Releases by their label, or by its beginning: `1.2.0`, `1.3.*`. Labels are the operator's own and have no order, so a
/// range of them would mean nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Releases {
    label: String,
    /// Whether more may come behind it.
    begins: bool,
}

/// A text that names no releases.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} names no releases: expected a version label like \"1.2.0\", or the beginning of some with '*' behind it, like \"1.3.*\""
)]
pub struct ReleasesError(String);

impl Releases {
    /// Whether the release with this label is one of them.
    #[must_use]
    pub fn have(&self, version: &Version) -> bool {
        match self.begins {
            true => version.as_str().starts_with(&self.label),
            false => version.as_str() == self.label,
        }
    }
}

impl FromStr for Releases {
    type Err = ReleasesError;

    fn from_str(text: &str) -> Result<Self, ReleasesError> {
        let (label, begins) = text.strip_suffix('*').map_or((text, false), |label| (label, true));
        let every = begins && label.is_empty();
        if !every && label.parse::<Version>().is_err() {
            return Err(ReleasesError(text.chars().take(100).collect()));
        }
        Ok(Self { label: label.to_owned(), begins })
    }
}

impl fmt::Display for Releases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.label, if self.begins { "*" } else { "" })
    }
}

/// What of a point of the preflight stops a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Stops {
    /// That it fails.
    #[default]
    Fail,
    /// That it fails or warns.
    Warn,
    /// Nothing.
    Never,
}

/// What stops a deployment, point by point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct PreflightPolicy {
    /// Readiness gates the traffic.
    pub readiness: Stops,
    /// What runs is compatible.
    pub compatibility: Stops,
    /// Changes of the schema.
    pub schema: Stops,
    /// Instances are drained, and nobody was cut off.
    pub draining: Stops,
    /// Going back was rehearsed.
    pub rollback: Stops,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_named_by_their_label_or_its_beginning() {
        let have =
            |named: &str, label: &str| named.parse::<Releases>().unwrap().have(&label.parse().unwrap());
        for (named, label) in [("1.2.0", "1.2.0"), ("1.3.*", "1.3.0"), ("1.3*", "1.3"), ("*", "build-77")] {
            assert!(have(named, label), "{named} has {label}");
        }
        for (named, label) in [("1.2.0", "1.2.0-rc1"), ("1.3.*", "1.30.0"), ("1.3.*", "1.3")] {
            assert!(!have(named, label), "{named} does not have {label}");
        }
    }

    #[test]
    fn what_could_be_no_label_names_none() {
        let long = "1".repeat(65);
        for text in ["", "1.*.3", "**", ">=1.2", "1 2", &long] {
            assert!(text.parse::<Releases>().is_err(), "{text:?} was taken");
        }
        assert_eq!("1.3.*".parse::<Releases>().unwrap().to_string(), "1.3.*");
    }
}
