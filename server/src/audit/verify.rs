//! Walking the chain: the first place that is not as it was written.

use super::{Head, Sealed};
use handover_model::Digest;

/// Where the chain is broken, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Break {
    /// The first place that is not as it was written.
    pub sequence: u64,
    /// What is wrong there, in words.
    pub what: String,
}

/// A walk along the chain, from its beginning.
#[derive(Clone, Debug)]
pub struct Walk {
    next: u64,
    previous: Digest,
    noted: Option<(u64, Digest)>,
}

impl Walk {
    /// Before the first entry. `noted` is the number and hash of an entry that somebody wrote down earlier.
    #[must_use]
    pub fn new(noted: Option<(u64, Digest)>) -> Self {
        Self { next: 1, previous: Head::default().hash, noted }
    }

    /// How many entries are behind the walk.
    #[must_use]
    pub const fn checked(&self) -> u64 {
        self.next - 1
    }

    /// The next entry, as it was found under `key`; `value` is `Err` where it could not be read.
    ///
    /// # Errors
    /// When it is not the entry that was written behind the one before it.
    pub fn step(&mut self, key: &[u8], value: Result<&Sealed, String>) -> Result<(), Break> {
        let expected = self.next;
        let broken = |sequence: u64, what: String| Err(Break { sequence, what });
        let Ok(place) = <[u8; 8]>::try_from(key).map(u64::from_be_bytes) else {
            return broken(expected, format!("the key {:?} is no entry's", key.escape_ascii().to_string()));
        };
        if place > expected {
            return broken(expected, format!("entry {expected} is missing, the next one is {place}"));
        }
        let Sealed { entry, hash } = match value {
            Ok(sealed) if place == expected => sealed,
            Ok(_) => return broken(place, format!("there is an entry {place}, which was never written")),
            Err(why) => return broken(place, format!("entry {place} cannot be read: {why}")),
        };
        if entry.sequence != place {
            return broken(place, format!("in the place of entry {place} is entry {}", entry.sequence));
        }
        if entry.hash() != *hash {
            return broken(place, format!("entry {place} was changed: its hash is another one"));
        }
        if entry.previous != self.previous {
            return broken(
                place,
                format!("entry {place} does not follow on the one before it: one of the two was replaced"),
            );
        }
        if self.noted.is_some_and(|(noted, expected)| noted == place && expected != *hash) {
            return broken(
                place,
                format!("entry {place} is not the one that was noted: the audit was written anew"),
            );
        }
        self.previous = *hash;
        self.next += 1;
        Ok(())
    }

    /// The end, where the server says that the chain ends with `head`.
    ///
    /// # Errors
    /// When entries are missing at the end, or the noted one is not there.
    pub fn end(&self, head: Head) -> Result<(), Break> {
        let last = self.checked();
        let broken = |what: String| Err(Break { sequence: self.next, what });
        if last < head.sequence {
            return broken(format!("entries {} to {} are missing at the end", self.next, head.sequence));
        }
        if last == head.sequence && self.previous != head.hash {
            return Err(Break {
                sequence: last,
                what: format!("entry {last} is not the one that the server wrote last"),
            });
        }
        match self.noted {
            Some((noted, _)) if noted > last => {
                broken(format!("the noted entry {noted} is not there: the audit ends with entry {last}"))
            }
            Some(_) | None => Ok(()),
        }
    }
}
