//! What the server tells on its `/metrics` and `/healthz`.

use crate::{fleet::Fleet, metrics::Metrics};
use futures_util::future::BoxFuture;
use handover_telemetry::{Health, Told};
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;

/// How long the fleet may take to answer. It answers between two commits: a disk that hangs shows here.
const ANSWER: Duration = Duration::from_secs(2);

/// Asks the fleet, and reads the counters.
#[derive(Clone, Debug)]
pub struct Vitals {
    fleet: Fleet,
    metrics: Arc<Metrics>,
}

impl Vitals {
    /// Of this fleet.
    #[must_use]
    pub fn of(fleet: Fleet) -> Self {
        let metrics = fleet.metrics();
        Self { fleet, metrics }
    }

    async fn text(&self) -> Result<String, std::fmt::Error> {
        let counts = timeout(ANSWER, self.fleet.ask(|desk| Ok(desk.state.counts()))).await;
        self.metrics.encode(counts.ok().and_then(Result::ok))
    }

    /// Healthy: the task that owns the fleet decides, which it does only while its commits get durable. Nothing is
    /// written to find that out: a write that fails would end the server.
    async fn look(&self) -> Health {
        let counts = timeout(ANSWER, self.fleet.ask(|desk| Ok(desk.state.counts()))).await;
        match counts {
            Ok(Ok(counts)) => Health {
                healthy: true,
                text: format!("ok: {} of {} agents connected\n", counts.connected, counts.hosts),
            },
            Ok(Err(refusal)) => Health { healthy: false, text: format!("the fleet is not led: {refusal}\n") },
            Err(_) => {
                let why = self.metrics.committing().map_or_else(
                    || "it is busy".to_owned(),
                    |waited| format!("a commit has been waiting for the disk for {waited:.1?}"),
                );
                Health {
                    healthy: false,
                    text: format!("the fleet did not answer within {ANSWER:?}: {why}\n"),
                }
            }
        }
    }
}

impl Told for Vitals {
    fn metrics(&self) -> BoxFuture<'_, Result<String, std::fmt::Error>> {
        Box::pin(self.text())
    }

    fn health(&self) -> BoxFuture<'_, Health> {
        Box::pin(self.look())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        blobs::Bundles,
        store::{Batch, Keyspace, MemoryStore, Page, Store, StoreError},
    };
    use tokio_util::sync::CancellationToken;

    /// A store whose disk can be made to hang.
    struct Hanging {
        memory: MemoryStore,
        hangs: tokio::sync::watch::Receiver<bool>,
    }

    impl Store for Hanging {
        fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
            self.memory.get(keyspace, key)
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
            let mut hangs = self.hangs.clone();
            Box::pin(async move {
                hangs.wait_for(|hangs| !hangs).await.unwrap();
                self.memory.commit(batch).await
            })
        }

        fn snapshot(&self, visit: crate::store::Visit) -> BoxFuture<'_, Result<(), StoreError>> {
            self.memory.snapshot(visit)
        }
    }

    #[tokio::test]
    async fn a_disk_that_hangs_is_not_healthy_and_is_named_and_recovers() {
        let folder = tempfile::tempdir().unwrap();
        let bundles = Bundles::open(folder.path(), handover_bundle::Limits::default()).await.unwrap();
        let (hang, hangs) = tokio::sync::watch::channel(false);
        let store = Arc::new(Hanging { memory: MemoryStore::new(), hangs });
        let stop = CancellationToken::new();
        let (fleet, _task) = Fleet::start(store, bundles, stop.clone()).await.unwrap();
        let _stop = stop.drop_guard();
        let vitals = Vitals::of(fleet.clone());
        assert_eq!(
            vitals.look().await,
            Health { healthy: true, text: "ok: 0 of 0 agents connected\n".into() }
        );

        hang.send_replace(true);
        let write = fleet.ask(|desk| {
            desk.effects.put_bytes(Keyspace::Fleet, b"name".to_vec(), b"test");
            Ok(())
        });
        tokio::select! {
            _ = write => panic!("the commit did not hang"),
            health = vitals.look() => {
                assert!(!health.healthy);
                assert!(health.text.contains("waiting for the disk"), "{}", health.text);
            }
        }
        let scraped = vitals.text().await.unwrap();
        assert!(scraped.contains("handover_fleet_answering 0"), "{scraped}");

        hang.send_replace(false);
        assert!(vitals.look().await.healthy);
    }
}
