//! The part of a listener's new connections that an instance gets.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Basis points of a listener's new connections: 0 is hidden, 10,000 is all.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Share(u16);

/// A number of basis points outside 0 to 10,000.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a share of {0} basis points is outside 0 to 10000")]
pub struct ShareError(pub u32);

impl Share {
    /// No stranger's connection: only the pin reaches the instance.
    pub const HIDDEN: Self = Self(0);
    /// Every new connection.
    pub const ALL: Self = Self(10_000);

    /// A share of `basis_points` out of 10,000.
    ///
    /// # Errors
    /// When the number is above 10,000.
    pub const fn new(basis_points: u32) -> Result<Self, ShareError> {
        if basis_points > Self::ALL.0 as u32 {
            return Err(ShareError(basis_points));
        }
        // Checked above: at most 10,000 fits into 16 bits.
        #[expect(clippy::cast_possible_truncation, reason = "at most 10,000")]
        Ok(Self(basis_points as u16))
    }

    /// The share in basis points, 0 to 10,000.
    #[must_use]
    pub const fn basis_points(self) -> u16 {
        self.0
    }

    /// What is left for the other instance of a pair.
    #[must_use]
    pub const fn rest(self) -> Self {
        Self(Self::ALL.0 - self.0)
    }

    /// Whether no stranger's connection reaches the instance.
    #[must_use]
    pub const fn is_hidden(self) -> bool {
        self.0 == 0
    }
}

impl TryFrom<u16> for Share {
    type Error = ShareError;

    fn try_from(basis_points: u16) -> Result<Self, ShareError> {
        Self::new(u32::from(basis_points))
    }
}

impl From<Share> for u16 {
    fn from(share: Share) -> Self {
        share.0
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0 / 100, self.0 % 100) {
            (whole, 0) => write!(f, "{whole} %"),
            (whole, part) => write!(f, "{whole}.{part:02} %"),
        }
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}bp", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_at_most_all() {
        assert_eq!(Share::new(10_001), Err(ShareError(10_001)));
        assert_eq!(Share::new(10_000), Ok(Share::ALL));
        assert_eq!(Share::new(500).unwrap().rest(), Share::new(9_500).unwrap());
    }

    #[test]
    fn shares_read_as_percentages() {
        assert_eq!(Share::ALL.to_string(), "100 %");
        assert_eq!(Share::new(5).unwrap().to_string(), "0.05 %");
    }
}
