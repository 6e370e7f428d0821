//! What was counted of one arm in one block.

/// The most requests that one block of one arm may have. Up to here sums in f64 are exact, and rounding moves the
/// logarithm of E by less than 0.001 a block.
pub const MAX_REQUESTS: u64 = 1_000_000_000_000;

/// Requests of one arm, and how many of them were bad (failed, or were slower than a threshold).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    requests: u64,
    bad: u64,
}

/// Counts that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CountsError {
    /// More bad requests than requests.
    #[error("{bad} bad requests are more than the {requests} requests")]
    MoreBadThanRequests {
        /// All requests.
        requests: u64,
        /// The bad ones.
        bad: u64,
    },
    /// More than [`MAX_REQUESTS`].
    #[error("{requests} requests in one block are more than {MAX_REQUESTS}")]
    TooMany {
        /// All requests.
        requests: u64,
    },
}

impl Counts {
    /// `bad` of `requests`.
    ///
    /// # Errors
    /// Where `bad` is more than `requests`, or `requests` more than [`MAX_REQUESTS`].
    pub const fn new(requests: u64, bad: u64) -> Result<Self, CountsError> {
        if bad > requests {
            return Err(CountsError::MoreBadThanRequests { requests, bad });
        }
        if requests > MAX_REQUESTS {
            return Err(CountsError::TooMany { requests });
        }
        Ok(Self { requests, bad })
    }

    /// All requests.
    #[must_use]
    pub const fn requests(self) -> u64 {
        self.requests
    }

    /// The bad ones.
    #[must_use]
    pub const fn bad(self) -> u64 {
        self.bad
    }
}

/// Counts with weights: sums over hosts and blocks, decayed or scaled.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    /// All requests; finite, not negative.
    pub requests: f64,
    /// The bad ones; between 0 and `requests`.
    pub bad: f64,
}

impl From<Counts> for Tally {
    #[expect(
        clippy::cast_precision_loss,
        reason = "counts are at most MAX_REQUESTS, which f64 holds exactly"
    )]
    fn from(counts: Counts) -> Self {
        Self { requests: counts.requests as f64, bad: counts.bad as f64 }
    }
}

impl Tally {
    /// Both numbers times `weight`, added.
    pub(crate) fn add(&mut self, other: Self, weight: f64) {
        self.requests += weight * other.requests;
        self.bad += weight * other.bad;
    }

    /// Both numbers times `factor`.
    pub(crate) fn scaled(self, factor: f64) -> Self {
        Self { requests: self.requests * factor, bad: self.bad * factor }
    }

    /// The share of bad requests, with half a bad one of one request added: never 0, never 1.
    pub(crate) fn share(self) -> f64 {
        (self.bad + 0.5) / (self.requests + 1.0)
    }
}
