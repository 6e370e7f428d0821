//! Records as JSON.

use super::{Batch, Keyspace, Store, StoreError, error::key_text, scan};
use serde::{Serialize, de::DeserializeOwned};
use std::sync::Arc;

impl Batch {
    /// Sets `key` to `record`, written as JSON.
    ///
    /// # Errors
    /// As [`Batch::put`], and when the record cannot be written as JSON.
    pub fn put_json<T: Serialize + ?Sized>(
        &mut self,
        keyspace: Keyspace,
        key: impl Into<Vec<u8>>,
        record: &T,
    ) -> Result<&mut Self, StoreError> {
        let key = key.into();
        match serde_json::to_vec(record) {
            Ok(value) => self.put(keyspace, key, value),
            Err(error) => Err(StoreError::Encode { keyspace, key: key_text(&key), source: Arc::new(error) }),
        }
    }
}

/// The record of `key`.
///
/// # Errors
/// As [`Store::get`], and when the value is no such record.
pub fn get_json<T: DeserializeOwned>(
    store: &dyn Store,
    keyspace: Keyspace,
    key: &[u8],
) -> Result<Option<T>, StoreError> {
    store.get(keyspace, key)?.map(|value| read(keyspace, key, &value)).transpose()
}

/// All records whose keys begin with `prefix`, with their keys, in the order of the keys.
pub fn scan_json<'a, T: DeserializeOwned>(
    store: &'a dyn Store,
    keyspace: Keyspace,
    prefix: &'a [u8],
) -> impl Iterator<Item = Result<(Vec<u8>, T), StoreError>> {
    scan(store, keyspace, prefix).map(move |entry| {
        let (key, value) = entry?;
        let record = read(keyspace, &key, &value)?;
        Ok((key, record))
    })
}

fn read<T: DeserializeOwned>(keyspace: Keyspace, key: &[u8], value: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(value).map_err(|error| StoreError::Decode {
        keyspace,
        key: key_text(key),
        source: Arc::new(error),
    })
}
