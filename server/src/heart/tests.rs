//! A real fleet on a store that the test can hold up or break.

use super::*;
use crate::{
    blobs::Bundles,
    store::{Batch, Keyspace, MemoryStore, Page, Store, StoreError},
};
use futures_util::future::BoxFuture;
use handover_identity::JoinToken;
use handover_model::Digest;
use std::sync::{Arc, OnceLock};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Nothing in these tests takes longer, but what is waited for on purpose.
const DEADLINE: Duration = Duration::from_secs(20);

/// A store in memory whose disk is stuck until the test lets it go on, and that may fail.
#[derive(Clone)]
struct Disk {
    memory: MemoryStore,
    moves: Arc<Semaphore>,
    failure: Arc<OnceLock<StoreError>>,
}

impl Store for Disk {
    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.failure.get() {
            Some(failure) => Err(failure.clone()),
            None => self.memory.get(keyspace, key),
        }
    }

    fn scan_prefix(
        &self,
        keyspace: Keyspace,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.memory.scan_prefix(keyspace, prefix, after, limit)
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            self.moves.acquire().await.unwrap().forget();
            self.memory.commit(batch).await
        })
    }

    fn snapshot(&self, visit: crate::store::Visit) -> BoxFuture<'_, Result<(), StoreError>> {
        self.memory.snapshot(visit)
    }
}

/// A fleet that has started on this disk, and what its pulse is felt with.
async fn fleet(disk: &Disk) -> (Fleet, Felt) {
    let folder = tempfile::tempdir().unwrap();
    let bundles = Bundles::open(folder.path(), handover_bundle::Limits::default()).await.unwrap();
    let store: Arc<dyn Store> = Arc::new(disk.clone());
    let (fleet, _) = Fleet::start(store, bundles, CancellationToken::new()).await.unwrap();
    let felt = feel(fleet.clone()).await.unwrap();
    (fleet, felt)
}

fn disk() -> Disk {
    Disk { memory: MemoryStore::new(), moves: Arc::new(Semaphore::new(0)), failure: Arc::default() }
}

async fn until_beaten(pulse: &mut Pulse) {
    let beaten = async {
        while !pulse.has_beaten() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(DEADLINE, beaten).await.expect("no beat");
}

/// Something that is written, by whoever asks for it.
fn write(fleet: &Fleet) -> tokio::task::JoinHandle<Result<(), Refusal>> {
    let claim = JoinToken::generate(Digest::of(b"ca"), "localhost:7443".parse().unwrap()).unwrap().claim;
    let fleet = fleet.clone();
    tokio::spawn(async move {
        let (id, secret) = (claim.id, claim.secret.digest());
        let made = fleet.ask(move |desk| {
            let ttl = handover_model::Duration::ZERO;
            desk.state.create_token(id, secret, None, ttl, desk.now, desk.effects)
        });
        made.await.map(drop)
    })
}

#[tokio::test]
async fn a_fleet_that_waits_for_its_disk_does_not_beat_and_beats_again_once_the_disk_answers() {
    let disk = disk();
    let (fleet, Felt { mut pulse, .. }) = fleet(&disk).await;
    until_beaten(&mut pulse).await;
    let writing = write(&fleet);
    // The actor takes the question with its next turn at the latest, and waits for the disk from then on.
    tokio::time::sleep(PACE).await;
    pulse.has_beaten();
    tokio::time::sleep(3 * PACE).await;
    assert!(!pulse.has_beaten(), "a fleet that is stuck has beaten");
    assert!(!writing.is_finished());
    disk.moves.add_permits(1);
    until_beaten(&mut pulse).await;
    assert_eq!(writing.await.unwrap(), Ok(()));
}

#[tokio::test]
async fn a_fleet_whose_store_has_failed_does_not_beat_though_it_decides() {
    let disk = disk();
    let (fleet, Felt { mut pulse, .. }) = fleet(&disk).await;
    until_beaten(&mut pulse).await;
    disk.failure.set(StoreError::DiskFull).unwrap();
    let refused = fleet.vitals().await.unwrap_err();
    assert!(refused.to_string().contains("full"), "{refused}");
    assert_eq!(fleet.ask(|desk| Ok(desk.state.vitals())).await, Ok(Vitals::default()), "it decides");
    tokio::time::sleep(PACE).await;
    pulse.has_beaten();
    tokio::time::sleep(2 * PACE).await;
    assert!(!pulse.has_beaten(), "a fleet without a store has beaten");
}
