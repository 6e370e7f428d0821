//! The format of the records, and the way from each to the next.
//!
//! The record `meta "format"` says which version everything else in the store has, and which program is the oldest that
//! reads it. A newer version is refused, an older one is brought up step by step, each step one commit that also sets
//! the version: a kill leaves the store before a step or behind it.

use super::{Batch, Keyspace, Store, StoreError, get_json};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The version that is written, and the newest that is read: the number of [`STEPS`].
pub const VERSION: u32 = 1;
/// The record's key in [`Keyspace::Meta`].
pub const KEY: &[u8] = b"format";

/// The format of a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormatRecord {
    /// Its version, from 1.
    pub version: u32,
    /// The oldest program that reads this version.
    pub oldest_reader: String,
    /// The program that wrote it first.
    pub written_by: String,
}

impl FormatRecord {
    /// Reads the record. What a newer program put into it besides does not count.
    pub(super) fn read(value: &[u8]) -> Result<Self, StoreError> {
        serde_json::from_slice(value).map_err(|error| StoreError::Decode {
            keyspace: Keyspace::Meta,
            key: super::error::key_text(KEY),
            source: Arc::new(error),
        })
    }
}

/// From one version to the next.
struct Step {
    /// The oldest program that reads the next version.
    oldest_reader: &'static str,
    /// What changes in the records, beside the version.
    change: fn(&dyn Store) -> Result<Batch, StoreError>,
}

/// The step from version n at index n. One that was released never changes.
const STEPS: &[Step] = &[
    // The first servers wrote the same records and no version.
    Step { oldest_reader: "0.1.0", change: |_| Ok(Batch::new()) },
];

const _: () = assert!(STEPS.len() == VERSION as usize, "each version has the step that leads to it");

/// What a store needs before it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing.
    Current,
    /// It is empty: only the version is missing.
    Fresh,
    /// Steps from this version on.
    Older(u32),
}

/// How a store stands to this program.
///
/// # Errors
/// When it cannot be read, or is newer.
pub fn standing(store: &dyn Store) -> Result<Standing, StoreError> {
    match get_json::<FormatRecord>(store, Keyspace::Meta, KEY)? {
        Some(record) if record.version > VERSION => Err(StoreError::NewerFormat {
            found: record.version,
            known: VERSION,
            oldest_reader: record.oldest_reader,
        }),
        Some(record) if record.version == VERSION => Ok(Standing::Current),
        Some(record) => Ok(Standing::Older(record.version)),
        None => {
            for keyspace in Keyspace::ALL.iter().copied() {
                if !store.scan_prefix(keyspace, &[], None, 1)?.entries.is_empty() {
                    return Ok(Standing::Older(0));
                }
            }
            Ok(Standing::Fresh)
        }
    }
}

/// Brings a store up to [`VERSION`]. Where it is [`Standing::Older`], take a backup first.
///
/// # Errors
/// When the store fails; the steps until then are made.
pub async fn bring_up(store: &dyn Store) -> Result<(), StoreError> {
    let from = match standing(store)? {
        Standing::Current => return Ok(()),
        Standing::Fresh => VERSION - 1,
        Standing::Older(version) => version,
    };
    for (version, step) in (from + 1..=VERSION).zip(STEPS.iter().skip(from as usize)) {
        let mut batch = (step.change)(store)?;
        let record = FormatRecord {
            version,
            oldest_reader: step.oldest_reader.to_owned(),
            written_by: env!("CARGO_PKG_VERSION").to_owned(),
        };
        batch.put_json(Keyspace::Meta, KEY, &record)?;
        store.commit(batch).await?;
        tracing::info!(version, "the store has this format now");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    fn with(keyspace: Keyspace, key: &[u8], value: &str) -> MemoryStore {
        let store = MemoryStore::new();
        let mut batch = Batch::new();
        batch.put(keyspace, key, value).unwrap();
        run(store.commit(batch)).unwrap();
        store
    }

    #[test]
    fn an_empty_store_and_one_without_a_version_get_the_newest() {
        for (store, standing_before) in [
            (MemoryStore::new(), Standing::Fresh),
            (with(Keyspace::Hosts, b"alpha", "{}"), Standing::Older(0)),
        ] {
            assert_eq!(standing(&store).unwrap(), standing_before);
            run(bring_up(&store)).unwrap();
            assert_eq!(standing(&store).unwrap(), Standing::Current);
            let record = get_json::<FormatRecord>(&store, Keyspace::Meta, KEY).unwrap().unwrap();
            assert_eq!((record.version, &*record.oldest_reader), (VERSION, "0.1.0"));
        }
    }

    #[test]
    fn a_newer_store_is_refused_with_the_program_that_reads_it() {
        let text = r#"{"version":9,"oldest_reader":"7.1.0","written_by":"7.2.0","moon":"full"}"#;
        let store = with(Keyspace::Meta, KEY, text);
        let error = run(bring_up(&store)).unwrap_err().to_string();
        assert!(error.contains("format 9") && error.contains("7.1.0"), "{error}");
        assert_eq!(store.get(Keyspace::Meta, KEY).unwrap().unwrap(), text.as_bytes());
    }
}
