//! The end of the chain, and how an entry is added to it.

use super::{Deed, Entry, Sealed};
use handover_model::{Digest, Timestamp};
use serde::{Deserialize, Serialize};

/// Where the chain's end stands among the fleet's facts: an entry that is missing at the end is missed.
pub const HEAD_KEY: &[u8] = b"audit-head";

/// The last entry: what the next one follows on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Its number; 0 where there is none yet.
    pub sequence: u64,
    /// Its hash; zeros where there is none yet.
    pub hash: Digest,
    /// When it was written.
    pub at: Timestamp,
}

impl Default for Head {
    fn default() -> Self {
        Self { sequence: 0, hash: Digest::from_bytes([0; 32]), at: Timestamp::default() }
    }
}

impl Head {
    /// The entry that tells of `deed` and follows on this one; its own head is [`Head::of`].
    #[must_use]
    pub fn next(self, deed: Deed, now: Timestamp) -> Sealed {
        // A wall clock that was set back must not put entries out of order.
        let at = self.at.max(now);
        let entry = Entry { sequence: self.sequence + 1, at, previous: self.hash, deed: deed.clipped() };
        let hash = entry.hash();
        Sealed { entry, hash }
    }

    /// The head of a chain that ends with this entry.
    #[must_use]
    pub const fn of(last: &Sealed) -> Self {
        Self { sequence: last.entry.sequence, hash: last.hash, at: last.entry.at }
    }
}

/// The key of an entry: in order when read in order.
#[must_use]
pub fn audit_key(sequence: u64) -> Vec<u8> {
    sequence.to_be_bytes().to_vec()
}
