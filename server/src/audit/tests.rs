//! The chain against somebody who writes to the store.

use super::{AuditLog, Break, ChainCheck, Deed, Head, OK, Sealed, audit_key};
use crate::store::{Batch, Keyspace, MemoryStore, Store, get_json, scan};
use handover_model::{Digest, Timestamp};
use std::sync::Arc;

/// Longer than one page of the store's.
const LENGTH: u64 = 2500;

/// A chain in a store, and its head as the server knows it.
struct Chain {
    store: Arc<dyn Store>,
    head: Head,
}

fn deed(number: u64, who: &str) -> Deed {
    Deed {
        who: who.into(),
        role: "admin".into(),
        method: "RemoveHost".into(),
        resource: format!("host web-{number}"),
        outcome: OK.into(),
        count: 1,
        ..Deed::default()
    }
}

impl Chain {
    fn whole() -> Self {
        let mut chain = Self { store: Arc::new(MemoryStore::new()), head: Head::default() };
        chain.extend(LENGTH, "ada");
        assert_eq!(chain.verify(), Ok(LENGTH));
        chain
    }

    fn extend(&mut self, count: u64, who: &str) {
        let mut batch = Batch::new();
        for _ in 0..count {
            let sealed = self.head.next(deed(self.head.sequence + 1, who), Timestamp::from_unix_millis(7));
            self.head = Head::of(&sealed);
            batch.put_json(Keyspace::Audit, audit_key(self.head.sequence), &sealed).unwrap();
        }
        self.commit(batch);
    }

    fn commit(&self, batch: Batch) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(self.store.commit(batch)).unwrap();
    }

    fn get(&self, sequence: u64) -> Sealed {
        get_json(&*self.store, Keyspace::Audit, &audit_key(sequence)).unwrap().unwrap()
    }

    fn put(&self, sequence: u64, sealed: &Sealed) {
        let mut batch = Batch::new();
        batch.put_json(Keyspace::Audit, audit_key(sequence), sealed).unwrap();
        self.commit(batch);
    }

    fn remove(&self, sequences: impl IntoIterator<Item = u64>) {
        let mut batch = Batch::new();
        for sequence in sequences {
            batch.delete(Keyspace::Audit, audit_key(sequence)).unwrap();
        }
        self.commit(batch);
    }

    /// A copy of the entry that says something else, with the hash that belongs to that.
    fn rewritten(&self, sequence: u64) -> Sealed {
        let mut sealed = self.get(sequence);
        sealed.entry.deed.who = "eve".into();
        sealed.hash = sealed.entry.hash();
        sealed
    }

    fn verify(&self) -> Result<u64, Break> {
        AuditLog::new(Arc::clone(&self.store)).verify(self.head, None)
    }

    fn verify_with(&self, noted: (u64, Digest)) -> Result<u64, Break> {
        AuditLog::new(Arc::clone(&self.store)).verify(self.head, Some(noted))
    }

    /// Where it is broken.
    #[track_caller]
    fn broken_at(&self) -> u64 {
        self.verify().unwrap_err().sequence
    }
}

#[test]
fn a_changed_entry_is_found_wherever_it_stands() {
    for place in [1, 2, 1024, 1025, LENGTH - 1, LENGTH] {
        let chain = Chain::whole();
        let mut sealed = chain.get(place);
        sealed.entry.deed.who = "eve".into();
        chain.put(place, &sealed);
        let broken = chain.verify().unwrap_err();
        assert_eq!(broken.sequence, place);
        assert!(broken.what.contains("was changed"), "{}", broken.what);
    }
}

#[test]
fn a_changed_entry_with_a_hash_that_fits_breaks_the_chain_behind_it() {
    for place in [1, 700, LENGTH - 1] {
        let chain = Chain::whole();
        chain.put(place, &chain.rewritten(place));
        assert_eq!(chain.broken_at(), place + 1);
    }
    let chain = Chain::whole();
    chain.put(LENGTH, &chain.rewritten(LENGTH));
    assert_eq!(chain.broken_at(), LENGTH, "the last one is compared with what the server wrote last");
}

#[test]
fn a_removed_entry_is_found_also_where_the_others_move_up() {
    for place in [1, 1024, LENGTH - 1] {
        let chain = Chain::whole();
        chain.remove([place]);
        let broken = chain.verify().unwrap_err();
        assert_eq!(broken.sequence, place);
        assert!(broken.what.contains("is missing"), "{}", broken.what);
    }
    let chain = Chain::whole();
    for place in 100..LENGTH {
        chain.put(place, &chain.get(place + 1));
    }
    chain.remove([LENGTH]);
    assert_eq!(chain.broken_at(), 100);
    // With numbers that fit, the hashes do not.
    let chain = Chain::whole();
    for place in 100..LENGTH {
        let mut sealed = chain.get(place + 1);
        sealed.entry.sequence = place;
        sealed.hash = sealed.entry.hash();
        chain.put(place, &sealed);
    }
    chain.remove([LENGTH]);
    assert_eq!(chain.broken_at(), 100);
}

#[test]
fn two_entries_that_changed_places_are_found() {
    let chain = Chain::whole();
    let (left, right) = (chain.get(40), chain.get(41));
    chain.put(40, &right);
    chain.put(41, &left);
    let broken = chain.verify().unwrap_err();
    assert_eq!(broken.sequence, 40);
    assert!(broken.what.contains("is entry 41"), "{}", broken.what);
}

#[test]
fn an_entry_that_cannot_be_read_and_one_that_was_never_written_are_found() {
    let chain = Chain::whole();
    let mut batch = Batch::new();
    batch.put(Keyspace::Audit, audit_key(9), "nonsense").unwrap();
    chain.commit(batch);
    assert_eq!(chain.broken_at(), 9);
    let chain = Chain::whole();
    let sealed = chain.get(1);
    chain.put(0, &sealed);
    assert_eq!(chain.broken_at(), 0);
}

#[test]
fn a_cut_end_is_found_by_the_servers_head() {
    let chain = Chain::whole();
    chain.remove([LENGTH]);
    assert_eq!(chain.broken_at(), LENGTH);
    chain.remove(1..LENGTH);
    assert_eq!(chain.broken_at(), 1, "also where nothing is left");
}

#[test]
fn a_cut_end_of_which_the_server_knows_nothing_is_found_by_a_noted_head() {
    let mut chain = Chain::whole();
    let noted = (chain.head.sequence, chain.head.hash);
    chain.remove(LENGTH - 10..=LENGTH);
    chain.head = Head::of(&chain.get(LENGTH - 11));
    assert_eq!(chain.verify(), Ok(LENGTH - 11), "nothing in the store says that there was more");
    let broken = chain.verify_with(noted).unwrap_err();
    assert!(broken.what.contains(&format!("the noted entry {LENGTH} is not there")), "{}", broken.what);
    // Also where others were written since.
    chain.extend(50, "eve");
    assert_eq!(chain.verify(), Ok(LENGTH + 39));
    assert_eq!(chain.verify_with(noted).unwrap_err().sequence, LENGTH);
}

#[test]
fn a_chain_that_was_written_anew_is_found_by_a_noted_head() {
    let mut chain = Chain::whole();
    let noted = (2000, chain.get(2000).hash);
    let mut head = Head::of(&chain.get(499));
    for place in 500..=LENGTH {
        let sealed = head.next(deed(place, "eve"), Timestamp::from_unix_millis(7));
        head = Head::of(&sealed);
        chain.put(place, &sealed);
    }
    chain.head = head;
    assert_eq!(chain.verify(), Ok(LENGTH), "it is a chain like any other");
    let broken = chain.verify_with(noted).unwrap_err();
    assert_eq!(broken.sequence, 2000);
    assert!(broken.what.contains("not the one that was noted"), "{}", broken.what);
    assert_eq!(chain.verify_with((400, chain.get(400).hash)), Ok(LENGTH), "before it nothing was touched");
}

/// Where somebody finds the chain broken who looks through the entries of a store, with the head that it has.
fn looked_through(chain: &Chain) -> Option<u64> {
    let mut check = ChainCheck::default();
    check.fact(super::HEAD_KEY, &serde_json::to_vec(&chain.head).unwrap());
    let mut broken = Vec::new();
    for entry in scan(&*chain.store, Keyspace::Audit, &[]) {
        let (key, value) = entry.unwrap();
        broken.extend(check.entry(&key, &value));
    }
    broken.extend(check.finish());
    assert!(broken.len() <= 1, "one place is told: {broken:?}");
    broken.pop().map(|broken| broken.sequence)
}

#[test]
fn a_store_that_is_looked_through_without_a_server_shows_the_same() {
    let mut chain = Chain::whole();
    assert_eq!(looked_through(&chain), None);
    let head = chain.head;
    chain.extend(1, "ada");
    chain.head = head;
    assert_eq!(looked_through(&chain), None, "the record of the end may be behind");
    chain.remove([LENGTH, LENGTH + 1]);
    assert_eq!(looked_through(&chain), Some(LENGTH));
    chain.put(12, &chain.rewritten(12));
    assert_eq!(looked_through(&chain), Some(13));
}
