//! Watches: whole snapshots, again whenever something changed. Of each watch at most one snapshot waits for a slow
//! reader; what happens meanwhile is in the next one.

use super::permit::Access;
use crate::fleet::Refusal;
use handover_proto::v1;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// Between two snapshots of a watch at least: more often nobody reads.
const PACE: Duration = Duration::from_millis(50);

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

/// Streams what `look` sees, until the last snapshot, the reader's end, or the server's.
pub(super) fn watch<T, F, L>(
    access: &Access,
    stop: CancellationToken,
    look: L,
) -> ReceiverStream<Result<T, Status>>
where
    T: Snapshot,
    F: Future<Output = Result<T, Refusal>> + Send,
    L: Fn() -> F + Send + Sync + 'static,
{
    let mut changes = access.changes();
    let (out, stream) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut shown: Option<T> = None;
        loop {
            let revision = *changes.borrow_and_update();
            let message = match look().await {
                Ok(snapshot) if shown.as_ref() == Some(&snapshot) => None,
                Ok(snapshot) => {
                    shown = Some(snapshot.clone());
                    Some(Ok(snapshot.stamp(revision)))
                }
                Err(refusal) => Some(Err(refusal.into())),
            };
            if let Some(message) = message {
                let last = message.as_ref().map_or(true, Snapshot::is_last);
                // A reader who stopped reading is held by the network's keep-alive, not here.
                if out.send(message).await.is_err() || last {
                    return;
                }
            }
            tokio::select! {
                () = stop.cancelled() => {
                    let _ = out.try_send(Err(Refusal::Stopping.into()));
                    return;
                }
                () = out.closed() => return,
                changed = changes.changed() => if changed.is_err() { return },
            }
            tokio::time::sleep(PACE).await;
        }
    });
    ReceiverStream::new(stream)
}
