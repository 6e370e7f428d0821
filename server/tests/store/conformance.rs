//! What every store does, compared with a map in memory.

use crate::child::{in_own_process, runtime};
use handover::store::{
    Batch, Keyspace, MAX_BATCH_WRITES, MAX_KEY_BYTES, MAX_VALUE_BYTES, MemoryStore, SledStore, Store,
    StoreError, get_json, scan, scan_json,
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

#[test]
fn the_store_in_memory_keeps_its_promises() {
    conforms(&MemoryStore::new());
}

#[test]
fn the_durable_store_keeps_its_promises() {
    in_own_process("conformance::the_durable_store_keeps_its_promises", |folder| {
        conforms(&SledStore::open(&folder.join("store")).unwrap());
    });
}

fn conforms(store: &dyn Store) {
    let runtime = runtime();
    values_are_bounded(store, &runtime);
    json_records_are_read_back(store, &runtime);
    long_scans_come_page_by_page(store, &runtime);
    random_batches_do_what_a_map_does(store, &runtime);
}

fn values_are_bounded(store: &dyn Store, runtime: &tokio::runtime::Runtime) {
    let mut batch = Batch::new();
    let error = batch.put(Keyspace::Hosts, "alpha", vec![0; MAX_VALUE_BYTES + 1]).unwrap_err();
    assert!(error.to_string().contains("hosts \"alpha\" has 8183 bytes"), "{error}");
    assert!(matches!(
        batch.delete(Keyspace::Hosts, vec![7; MAX_KEY_BYTES + 1]),
        Err(StoreError::KeyTooLong { .. })
    ));
    assert!(batch.is_empty());
    batch.put(Keyspace::Hosts, vec![7; MAX_KEY_BYTES], vec![9; MAX_VALUE_BYTES]).unwrap();
    runtime.block_on(store.commit(batch)).unwrap();
    assert_eq!(store.get(Keyspace::Hosts, &[7; MAX_KEY_BYTES]).unwrap(), Some(vec![9; MAX_VALUE_BYTES]));

    let mut batch = Batch::new();
    for n in 0..MAX_BATCH_WRITES {
        batch.delete(Keyspace::Hosts, n.to_be_bytes()).unwrap();
    }
    assert!(matches!(batch.delete(Keyspace::Hosts, "one more"), Err(StoreError::BatchTooLarge { .. })));
    let mut batch = Batch::new();
    let refused =
        (0_u32..2000).find_map(|n| batch.put(Keyspace::Hosts, n.to_be_bytes(), vec![0; 8000]).err());
    assert!(matches!(refused, Some(StoreError::BatchTooLarge { .. })));
    runtime.block_on(store.commit(Batch::new())).unwrap();
}

fn json_records_are_read_back(store: &dyn Store, runtime: &tokio::runtime::Runtime) {
    let mut batch = Batch::new();
    batch.put_json(Keyspace::Tokens, "json/a", &vec![1, 2]).unwrap();
    batch.put_json(Keyspace::Tokens, "json/b", "text").unwrap();
    runtime.block_on(store.commit(batch)).unwrap();
    assert_eq!(get_json::<Vec<u8>>(store, Keyspace::Tokens, b"json/a").unwrap(), Some(vec![1, 2]));
    assert_eq!(get_json::<Vec<u8>>(store, Keyspace::Tokens, b"json/c").unwrap(), None);
    let error = get_json::<Vec<u8>>(store, Keyspace::Tokens, b"json/b").unwrap_err();
    assert!(error.to_string().contains("tokens \"json/b\""), "{error}");
    let records: Vec<_> = scan_json::<serde_json::Value>(store, Keyspace::Tokens, b"json/").collect();
    assert_eq!(records.len(), 2);
    assert_eq!(records[1].as_ref().unwrap().1, "text");
}

fn long_scans_come_page_by_page(store: &dyn Store, runtime: &tokio::runtime::Runtime) {
    let mut batch = Batch::new();
    for n in 0_u32..3000 {
        batch.put(Keyspace::Releases, [b"page", &n.to_be_bytes()[..]].concat(), n.to_le_bytes()).unwrap();
    }
    batch.put(Keyspace::Releases, "pagf", "behind").unwrap();
    runtime.block_on(store.commit(batch)).unwrap();
    let all: Vec<_> = scan(store, Keyspace::Releases, b"page").map(Result::unwrap).collect();
    assert_eq!(all.len(), 3000);
    assert!(
        all.iter().enumerate().all(|(n, (_, value))| value[..] == u32::try_from(n).unwrap().to_le_bytes())
    );
    let page = store.scan_prefix(Keyspace::Releases, b"page", None, usize::MAX).unwrap();
    assert!(page.more && page.entries.len() < 3000);
    let last = store.scan_prefix(Keyspace::Releases, b"page", Some(&all[2998].0), 1).unwrap();
    assert_eq!((last.entries.len(), last.more), (1, false));
    assert!(store.scan_prefix(Keyspace::Releases, b"page", Some(b"pagf"), 10).unwrap().entries.is_empty());
}

type Write = (usize, Vec<u8>, Option<Vec<u8>>);

/// Few keys of few bytes, so that they meet; among them each other's prefixes and the largest byte.
fn writes() -> impl Strategy<Value = Vec<Write>> {
    let key = prop::collection::vec(prop::sample::select(vec![0_u8, 1, 0x61, 0xff]), 0..4);
    let value = prop::option::weighted(0.7, prop::collection::vec(any::<u8>(), 0..300));
    prop::collection::vec((0..Keyspace::ALL.len(), key, value), 0..12)
}

fn random_batches_do_what_a_map_does(store: &dyn Store, runtime: &tokio::runtime::Runtime) {
    // The durable store cannot be made anew for each case: each gets keys of its own.
    let case = Cell::new(0_u32);
    let mut runner = TestRunner::new(Config { failure_persistence: None, cases: 64, ..Config::default() });
    let strategy =
        (prop::collection::vec(writes(), 1..8), prop::collection::vec(any::<u8>(), 0..2), 1_usize..5);
    let result = runner.run(&strategy, |(batches, prefix, limit)| {
        case.set(case.get() + 1);
        let own = |key: &[u8]| [&case.get().to_be_bytes()[..], key].concat();
        let mut model: BTreeMap<(Keyspace, Vec<u8>), Vec<u8>> = BTreeMap::new();
        for writes in batches {
            let mut batch = Batch::new();
            for (keyspace, key, value) in writes {
                let (keyspace, key) = (Keyspace::ALL[keyspace], own(&key));
                if let Some(value) = value {
                    batch.put(keyspace, key.clone(), value.clone()).unwrap();
                    model.insert((keyspace, key), value);
                } else {
                    batch.delete(keyspace, key.clone()).unwrap();
                    model.remove(&(keyspace, key));
                }
            }
            runtime.block_on(store.commit(batch)).unwrap();
            for keyspace in Keyspace::ALL.iter().copied() {
                for prefix in [own(b""), own(&prefix)] {
                    let expected: Vec<_> = model
                        .iter()
                        .filter(|((at, key), _)| *at == keyspace && key.starts_with(&prefix))
                        .map(|((_, key), value)| (key.clone(), value.clone()))
                        .collect();
                    let page = store.scan_prefix(keyspace, &prefix, None, limit).unwrap();
                    prop_assert_eq!(&page.entries[..], &expected[..limit.min(expected.len())]);
                    prop_assert_eq!(page.more, expected.len() > limit);
                    let all: Result<Vec<_>, _> = scan(store, keyspace, &prefix).collect();
                    prop_assert_eq!(all.unwrap(), expected);
                }
            }
            for ((keyspace, key), value) in &model {
                prop_assert_eq!(store.get(*keyspace, key).unwrap(), Some(value.clone()));
            }
        }
        Ok(())
    });
    result.unwrap();
}

#[test]
fn commits_from_many_tasks_are_all_there_and_whole() {
    in_own_process("conformance::commits_from_many_tasks_are_all_there_and_whole", |folder| {
        let store = Arc::new(SledStore::open(&folder.join("store")).unwrap());
        runtime().block_on(async {
            let tasks: Vec<_> = (0_u32..16)
                .map(|task| {
                    let store = Arc::clone(&store);
                    tokio::spawn(async move {
                        for n in 0_u32..50 {
                            let mut batch = Batch::new();
                            let key = [task.to_be_bytes(), n.to_be_bytes()].concat();
                            batch.put(Keyspace::Journal, key.clone(), "record").unwrap();
                            batch.put(Keyspace::Deployments, task.to_be_bytes(), n.to_be_bytes()).unwrap();
                            store.commit(batch).await.unwrap();
                            assert!(store.get(Keyspace::Journal, &key).unwrap().is_some());
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
        });
        assert_eq!(scan(&*store, Keyspace::Journal, b"").count(), 16 * 50);
        let last: BTreeSet<_> =
            scan(&*store, Keyspace::Deployments, b"").map(|entry| entry.unwrap().1).collect();
        assert_eq!(last, BTreeSet::from([49_u32.to_be_bytes().to_vec()]));
    });
}

#[test]
fn no_page_ever_leaves_the_synced_file() {
    in_own_process("conformance::no_page_ever_leaves_the_synced_file", |folder| {
        let folder = folder.join("store");
        let store = SledStore::open(&folder).unwrap();
        let runtime = runtime();
        // Twice the same keys, in two orders: pages are filled, rewritten and split.
        for round in 0_u32..2 {
            for n in 0_u32..600 {
                let key = if round == 0 { n } else { n.reverse_bits() >> 16 };
                let mut batch = Batch::new();
                batch
                    .put(Keyspace::Journal, key.to_be_bytes(), vec![round.to_be_bytes()[3]; MAX_VALUE_BYTES])
                    .unwrap();
                runtime.block_on(store.commit(batch)).unwrap();
            }
        }
        assert_eq!(files_in(&folder.join("blobs")), 0);
    });
}

fn files_in(folder: &Path) -> usize {
    std::fs::read_dir(folder).map_or(0, Iterator::count)
}
