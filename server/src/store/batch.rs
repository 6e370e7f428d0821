//! Writes that become true together.

use super::{
    Keyspace, MAX_BATCH_BYTES, MAX_BATCH_WRITES, MAX_KEY_BYTES, MAX_VALUE_BYTES, StoreError, error::key_text,
};
use std::collections::BTreeMap;

/// Writes to any keyspaces. A later write to a key replaces an earlier one. Bounds are checked when a write is added,
/// so a batch that exists can be committed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    writes: BTreeMap<(Keyspace, Vec<u8>), Option<Vec<u8>>>,
    bytes: usize,
}

impl Batch {
    /// A batch without writes. Committing it does nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `key` to `value`.
    ///
    /// # Errors
    /// When key, value or the whole batch are too large.
    pub fn put(
        &mut self,
        keyspace: Keyspace,
        key: impl Into<Vec<u8>>,
        value: impl Into<Vec<u8>>,
    ) -> Result<&mut Self, StoreError> {
        let (key, value) = (key.into(), value.into());
        if value.len() > MAX_VALUE_BYTES {
            return Err(StoreError::ValueTooLarge { keyspace, key: key_text(&key), bytes: value.len() });
        }
        self.write(keyspace, key, Some(value))
    }

    /// Takes `key` away; that it is not there is no error.
    ///
    /// # Errors
    /// When the key or the whole batch are too large.
    pub fn delete(&mut self, keyspace: Keyspace, key: impl Into<Vec<u8>>) -> Result<&mut Self, StoreError> {
        self.write(keyspace, key.into(), None)
    }

    fn write(
        &mut self,
        keyspace: Keyspace,
        key: Vec<u8>,
        value: Option<Vec<u8>>,
    ) -> Result<&mut Self, StoreError> {
        if key.len() > MAX_KEY_BYTES {
            return Err(StoreError::KeyTooLong { keyspace, key: key_text(&key), bytes: key.len() });
        }
        // What a write replaces still counts: the bound is against accidents, not an account.
        let bytes = self.bytes + key.len() + value.as_ref().map_or(0, Vec::len);
        if self.writes.len() >= MAX_BATCH_WRITES || bytes > MAX_BATCH_BYTES {
            return Err(StoreError::BatchTooLarge { writes: self.writes.len() + 1, bytes });
        }
        self.bytes = bytes;
        self.writes.insert((keyspace, key), value);
        Ok(self)
    }

    /// Number of keys that it writes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    /// Bytes of its keys and values.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether it writes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// What it writes, in the order of keyspaces and keys; `None` takes away.
    pub fn writes(&self) -> impl Iterator<Item = (Keyspace, &[u8], Option<&[u8]>)> {
        self.writes.iter().map(|((keyspace, key), value)| (*keyspace, &**key, value.as_deref()))
    }
}
