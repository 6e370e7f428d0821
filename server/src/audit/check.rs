//! The chain in a store that is looked through entry by entry, without a server: what `fsck` does.

use super::{Break, HEAD_KEY, Head, Sealed, Walk};

/// Looks along a chain whose entries come one by one. Of what is broken only the first place is told: behind it nothing
/// can be said.
#[derive(Debug)]
pub struct ChainCheck {
    walk: Walk,
    head: Head,
    broken: bool,
}

impl Default for ChainCheck {
    fn default() -> Self {
        Self { walk: Walk::new(None), head: Head::default(), broken: false }
    }
}

impl ChainCheck {
    /// An entry of the fleet's facts: one of them is the chain's end.
    pub fn fact(&mut self, key: &[u8], value: &[u8]) {
        if key == HEAD_KEY
            && let Ok(head) = serde_json::from_slice(value)
        {
            self.head = head;
        }
    }

    /// The next entry of the audit.
    pub fn entry(&mut self, key: &[u8], value: &[u8]) -> Option<Break> {
        if self.broken {
            return None;
        }
        let read = serde_json::from_slice::<Sealed>(value).map_err(|error| error.to_string());
        let broken = self.walk.step(key, read.as_ref().map_err(Clone::clone)).err();
        self.broken = broken.is_some();
        broken
    }

    /// The end: that nothing is missing there. The record of the end may be behind the entries.
    #[must_use]
    pub fn finish(&self) -> Option<Break> {
        if self.broken { None } else { self.walk.end(self.head).err() }
    }
}
