//! Watches: whole snapshots, again whenever something changed. Of each watch at most one snapshot waits for a slow
//! reader; what happens meanwhile is in the next one, which is made only when there is room for it.

use super::held::Held;
use crate::{
    fleet::Refusal,
    limits::{LimitCounters, Place},
};
use handover_proto::{
    status::{Reason, refuse},
    v1,
};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// Between two snapshots of a watch at least: more often nobody reads.
const PACE: Duration = Duration::from_millis(50);
/// A watch of which nothing was read for so long, although there is something to read, is over.
const UNREAD: Duration = Duration::from_secs(60);

/// What a watch shows.
pub(super) trait Snapshot: Clone + PartialEq + Send + 'static {
    /// Whether nothing comes after it.
    fn is_last(&self) -> bool;
    /// Numbers it, where it carries no number of its own.
    fn stamp(self, revision: u64) -> Self;
}

impl Snapshot for v1::ListServicesResponse {
    fn is_last(&self) -> bool {
        false
    }

    fn stamp(self, revision: u64) -> Self {
        Self { revision, ..self }
    }
}

impl Snapshot for v1::Deployment {
    fn is_last(&self) -> bool {
        self.ended_unix_millis != 0
    }

    fn stamp(self, _: u64) -> Self {
        self
    }
}

/// What a watch needs beside what it looks at.
#[derive(Debug)]
pub(super) struct Watching {
    /// Counts up with each change.
    pub(super) changes: watch::Receiver<u64>,
    /// The watcher's place.
    pub(super) place: Place<String>,
    pub(super) counters: Arc<LimitCounters>,
    /// Counts it among the open ones.
    pub(super) open: Option<crate::metrics::Open>,
    pub(super) stop: CancellationToken,
}

/// Streams what `look` sees, until the last snapshot, the reader's end, or the server's.
pub(super) fn watch<T, F, L>(watching: Watching, look: L) -> Held<T, String>
where
    T: Snapshot,
    F: Future<Output = Result<T, Refusal>> + Send,
    L: Fn() -> F + Send + Sync + 'static,
{
    let Watching { changes, place, counters, open, stop } = watching;
    // For one snapshot, and for the word why the watch ended, which a reader who is late still gets.
    let (out, messages) = mpsc::channel(2);
    tokio::spawn(async move {
        let _open = open;
        let Ok(last_word) = out.clone().reserve_owned().await else { return };
        let why = tokio::select! {
            () = stop.cancelled() => Some(End::from(Refusal::Stopping)),
            why = show(changes, &out, look) => why,
        };
        if let Some(why) = why {
            if matches!(why, End::Unread) {
                counters.watch_unread();
            }
            last_word.send(Err(why.into()));
        }
    });
    Held::new(ReceiverStream::new(messages), place)
}

/// Why a watch ends before its last snapshot.
#[derive(Debug)]
enum End {
    Refused(Refusal),
    Unread,
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<End> for Status {
    fn from(end: End) -> Self {
        match end {
            End::Refused(refusal) => refusal.into(),
            End::Unread => {
                refuse(Reason::Busy, format!("the watch was not read for {UNREAD:?}"), "watch again")
            }
        }
    }
}

/// Shows one snapshot after the other; `None` where the last one was shown or nobody is there any more.
async fn show<T, F, L>(
    mut changes: watch::Receiver<u64>,
    out: &mpsc::Sender<Result<T, Status>>,
    look: L,
) -> Option<End>
where
    T: Snapshot,
    F: Future<Output = Result<T, Refusal>> + Send,
    L: Fn() -> F + Send + Sync + 'static,
{
    let mut shown: Option<T> = None;
    loop {
        // Room first: what is looked at before may be old by the time it is read.
        let room = match timeout(UNREAD, out.reserve()).await {
            Ok(Ok(room)) => room,
            Ok(Err(_)) => return None,
            Err(_) => return Some(End::Unread),
        };
        let revision = *changes.borrow_and_update();
        match look().await {
            Ok(snapshot) if shown.as_ref() == Some(&snapshot) => {}
            Ok(snapshot) => {
                let last = snapshot.is_last();
                shown = (!last).then(|| snapshot.clone());
                room.send(Ok(snapshot.stamp(revision)));
                if last {
                    return None;
                }
            }
            Err(refusal) => return Some(refusal.into()),
        }
        tokio::select! {
            () = out.closed() => return None,
            changed = changes.changed() => if changed.is_err() { return Some(Refusal::Stopping.into()) },
        }
        tokio::time::sleep(PACE).await;
    }
}

#[cfg(test)]
mod tests;
