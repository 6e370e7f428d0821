//! The twin in memory, for simulation: the same semantics, nothing survives the process.

use super::{Batch, Keyspace, MAX_PAGE, Page, Store, StoreError, Visit, envelope};
use futures_util::future::BoxFuture;
use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Arc, PoisonError, RwLock},
};

type Values = BTreeMap<(Keyspace, Vec<u8>), Vec<u8>>;

/// A store in memory. A clone is the same store: what a simulated server leaves behind when it "crashes" is what the
/// next one finds.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    values: Arc<RwLock<Values>>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Store for MemoryStore {
    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let values = self.values.read().unwrap_or_else(PoisonError::into_inner);
        let sealed = values.get(&(keyspace, key.to_vec()));
        sealed.map(|sealed| envelope::open(keyspace, key, sealed).map(<[u8]>::to_vec)).transpose()
    }

    fn scan_prefix(
        &self,
        keyspace: Keyspace,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let limit = limit.min(MAX_PAGE);
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded((keyspace, after.to_vec())),
            _ => Bound::Included((keyspace, prefix.to_vec())),
        };
        let values = self.values.read().unwrap_or_else(PoisonError::into_inner);
        let mut page = Page::default();
        let within = |at: Keyspace, key: &[u8]| at == keyspace && key.starts_with(prefix);
        for ((_, key), sealed) in
            values.range((from, Bound::Unbounded)).take_while(|((at, key), _)| within(*at, key))
        {
            if page.entries.len() == limit {
                page.more = true;
                break;
            }
            page.entries.push((key.clone(), envelope::open(keyspace, key, sealed)?.to_vec()));
        }
        Ok(page)
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let mut values = self.values.write().unwrap_or_else(PoisonError::into_inner);
            for (keyspace, key, value) in batch.writes() {
                match value {
                    Some(value) => {
                        values.insert((keyspace, key.to_vec()), envelope::seal(keyspace, key, value))
                    }
                    None => values.remove(&(keyspace, key.to_vec())),
                };
            }
            Ok(())
        })
    }

    fn snapshot(&self, mut visit: Visit) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let values = self.values.read().unwrap_or_else(PoisonError::into_inner);
            for ((keyspace, key), sealed) in values.iter() {
                if visit(*keyspace, key, envelope::open(*keyspace, key, sealed)?).is_break() {
                    break;
                }
            }
            Ok(())
        })
    }
}
