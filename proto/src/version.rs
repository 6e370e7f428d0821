//! Which versions of server, agent and command line talk to each other.
//!
//! The rule: the same major number, and minor numbers that differ by at most one. While the major number is 0 the
//! minor number names the release, so the same rule holds there. A difference in the patch number is none.

use std::{fmt, str::FromStr};

/// A program's version, `MAJOR.MINOR.PATCH`; what stands behind a `-` or `+` is not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProgramVersion {
    /// Another one is never spoken to.
    pub major: u32,
    /// May differ by one.
    pub minor: u32,
    /// May differ.
    pub patch: u32,
}

/// Why a peer's version is not spoken to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VersionRefused {
    /// Not `MAJOR.MINOR.PATCH`.
    #[error("{0:?} is no version: expected MAJOR.MINOR.PATCH")]
    Unreadable(String),
    /// Too far apart.
    #[error(
        "the other side is version {peer} and this is {own}: at most one minor release may lie between them; upgrade the older one"
    )]
    TooFar {
        /// This program's.
        own: ProgramVersion,
        /// The other side's.
        peer: ProgramVersion,
    },
}

impl ProgramVersion {
    /// The version of this build. All of Handover's programs carry the same one.
    pub const OWN: Self = Self {
        major: number(env!("CARGO_PKG_VERSION_MAJOR")),
        minor: number(env!("CARGO_PKG_VERSION_MINOR")),
        patch: number(env!("CARGO_PKG_VERSION_PATCH")),
    };

    /// Whether this program may speak to `peer`: `Ok(None)` where both are of the same release, `Ok(Some(text))` with
    /// words for an operator where they differ by one minor release.
    ///
    /// # Errors
    /// [`VersionRefused::TooFar`].
    pub fn accepts(self, peer: Self) -> Result<Option<String>, VersionRefused> {
        if self.major != peer.major || self.minor.abs_diff(peer.minor) > 1 {
            return Err(VersionRefused::TooFar { own: self, peer });
        }
        Ok(match peer.minor.cmp(&self.minor) {
            std::cmp::Ordering::Equal => None,
            std::cmp::Ordering::Less => Some(format!("{peer} is one minor release older than {self}")),
            std::cmp::Ordering::Greater => Some(format!("{peer} is one minor release newer than {self}")),
        })
    }
}

/// Whether this build may speak to a peer that calls itself `peer`; the text is set where a minor release lies between.
///
/// # Errors
/// When `peer` is no version, or too far from this build's.
pub fn skew(peer: &str) -> Result<Option<String>, VersionRefused> {
    ProgramVersion::OWN.accepts(peer.parse()?)
}

/// A decimal number, at compile time. Cargo has checked that it is one.
const fn number(text: &str) -> u32 {
    let digits = text.as_bytes();
    let (mut value, mut at) = (0, 0);
    while at < digits.len() {
        value = value * 10 + (digits[at] - b'0') as u32;
        at += 1;
    }
    value
}

impl FromStr for ProgramVersion {
    type Err = VersionRefused;

    fn from_str(text: &str) -> Result<Self, VersionRefused> {
        let unreadable = || VersionRefused::Unreadable(text.chars().take(100).collect());
        let numbers = text.split(['-', '+']).next().unwrap_or_default();
        let mut parts = numbers.split('.').map(|part| {
            // `parse` would take a sign as well.
            let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            if digits { part.parse::<u32>().ok() } else { None }
        });
        let mut next = || parts.next().flatten().ok_or_else(unreadable);
        let version = Self { major: next()?, minor: next()?, patch: next()? };
        if parts.next().is_some() {
            return Err(unreadable());
        }
        Ok(version)
    }
}

impl fmt::Display for ProgramVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> ProgramVersion {
        text.parse().unwrap()
    }

    #[test]
    fn one_minor_release_apart_is_accepted_and_visible() {
        for (own, peer, word) in
            [("0.4.1", "0.3.9", "older"), ("0.3.0", "0.4.7", "newer"), ("2.9.0", "2.10.0", "newer")]
        {
            let text = version(own).accepts(version(peer)).unwrap().unwrap();
            assert!(text.contains(word) && text.contains(peer), "{text}");
        }
        assert_eq!(version("1.4.1").accepts(version("1.4.9-rc.1+x")), Ok(None));
    }

    #[test]
    fn further_apart_is_refused_and_names_both() {
        for (own, peer) in [("0.4.0", "0.2.0"), ("1.0.0", "2.0.0"), ("0.9.0", "1.0.0"), ("1.3.0", "1.5.0")] {
            let error = version(own).accepts(version(peer)).unwrap_err().to_string();
            assert!(error.contains(own) && error.contains(peer), "{error}");
        }
    }

    #[test]
    fn what_is_no_version_is_refused() {
        for bad in ["", "1", "1.2", "1.2.3.4", "v1.2.3", "1.2.x", "+1.2.3", "1.-2.3", "99999999999.0.0"] {
            assert!(bad.parse::<ProgramVersion>().is_err(), "{bad:?} was taken");
        }
        assert_eq!(ProgramVersion::OWN.to_string(), env!("CARGO_PKG_VERSION"));
        assert_eq!(skew(env!("CARGO_PKG_VERSION")), Ok(None));
    }
}
