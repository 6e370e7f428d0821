use super::*;
use crate::{api::outlet::UNREAD, limits::Limits};
use futures_util::{FutureExt as _, StreamExt as _};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::SeqCst},
};
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// A watch of a number, and what changes it.
struct Watched {
    number: Arc<AtomicU64>,
    changed: watch::Sender<u64>,
    limits: Arc<Limits>,
    stream: Held<v1::Deployment, String>,
    stop: CancellationToken,
}

impl Watched {
    fn start() -> Self {
        let limits = Arc::new(Limits::default());
        let (number, stop) = (Arc::new(AtomicU64::new(1)), CancellationToken::new());
        let (changed, changes) = watch::channel(0);
        let holding = Holding {
            open: None,
            place: limits.watch("ada").unwrap(),
            counters: limits.counters(),
            stop: stop.clone(),
        };
        let watching = Watching { changes, holding };
        let seen = Arc::clone(&number);
        let stream = super::watch(watching, move || {
            let id = seen.load(SeqCst);
            async move { Ok(v1::Deployment { id, ..v1::Deployment::default() }) }
        });
        Self { number, changed, limits, stream, stop }
    }

    fn set(&self, number: u64) {
        self.number.store(number, SeqCst);
        self.changed.send_modify(|count| *count += 1);
    }

    async fn next(&mut self) -> Result<u64, Status> {
        self.stream.next().await.expect("the stream ended without a word").map(|shown| shown.id)
    }

    fn unread(&self) -> u64 {
        self.limits.counters().all().find(|(name, _)| *name == "watches_unread_total").unwrap().1
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_reader_gets_the_snapshot_that_waited_and_then_the_newest() {
    let mut watched = Watched::start();
    tokio::time::sleep(PACE).await;
    for number in 2..1000 {
        watched.set(number);
        tokio::time::sleep(UNREAD / 2000).await;
    }
    assert_eq!(watched.next().await.unwrap(), 1, "one waits");
    assert_eq!(watched.next().await.unwrap(), 999, "and what came meanwhile is one");
    tokio::time::sleep(UNREAD * 10).await;
    assert!(watched.stream.next().now_or_never().is_none(), "nothing to read is nothing unread");
    watched.set(1000);
    assert_eq!(watched.next().await.unwrap(), 1000);
    assert_eq!(watched.unread(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_nobody_reads_ends_and_says_why_to_who_reads_it_after_all() {
    let mut watched = Watched::start();
    tokio::time::sleep(PACE * 2).await;
    watched.set(2);
    tokio::time::sleep(UNREAD + PACE * 2).await;
    assert_eq!(watched.unread(), 1);
    assert_eq!(watched.next().await.unwrap(), 1);
    let why = watched.next().await.unwrap_err();
    assert!(why.message().contains("not read for 60s"), "{why:?}");
    assert!(watched.stream.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_late_reader_is_told_that_the_server_stops() {
    let mut watched = Watched::start();
    tokio::time::sleep(PACE).await;
    watched.stop.cancel();
    assert_eq!(watched.next().await.unwrap(), 1);
    assert!(watched.next().await.unwrap_err().message().contains("stop"));
}

#[tokio::test]
async fn a_place_is_taken_for_as_long_as_the_stream_lives() {
    let Watched { limits, stream, .. } = Watched::start();
    let others: Vec<_> = (1..crate::limits::WATCHES.0).map(|_| limits.watch("ada").unwrap()).collect();
    assert!(limits.watch("ada").is_err());
    drop(stream);
    assert!(limits.watch("ada").is_ok());
    drop(others);
}
