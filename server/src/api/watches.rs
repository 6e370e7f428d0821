//! Watches: whole snapshots, again whenever something changed. Of each watch at most one snapshot waits for a slow
//! reader; what happens meanwhile is in the next one, which is made only when there is room for it.

use super::{
    held::Held,
    outlet::{self, End, Holding, Outlet},
};
use crate::fleet::Refusal;
use handover_proto::v1;
use std::time::Duration;
use tokio::sync::watch;

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

/// What a watch needs beside what it looks at.
#[derive(Debug)]
pub(super) struct Watching {
    /// Counts up with each change.
    pub(super) changes: watch::Receiver<u64>,
    pub(super) holding: Holding,
}

/// Streams what `look` sees, until the last snapshot, the reader's end, or the server's.
pub(super) fn watch<T, F, L>(watching: Watching, look: L) -> Held<T, String>
where
    T: Snapshot,
    F: Future<Output = Result<T, Refusal>> + Send,
    L: Fn() -> F + Send + Sync + 'static,
{
    let Watching { changes, holding } = watching;
    outlet::stream(holding, 1, move |out| show(changes, out, look))
}

/// Shows one snapshot after the other, to the last one.
async fn show<T, F, L>(mut changes: watch::Receiver<u64>, out: Outlet<T>, look: L) -> Result<(), End>
where
    T: Snapshot,
    F: Future<Output = Result<T, Refusal>> + Send,
    L: Fn() -> F + Send + Sync + 'static,
{
    let mut shown: Option<T> = None;
    loop {
        // Room first: what is looked at before may be old by the time it is read.
        let room = out.room().await?;
        let revision = *changes.borrow_and_update();
        let snapshot = look().await?;
        if shown.as_ref() != Some(&snapshot) {
            let last = snapshot.is_last();
            shown = (!last).then(|| snapshot.clone());
            room.send(snapshot.stamp(revision));
            if last {
                return Ok(());
            }
        }
        if changes.changed().await.is_err() {
            return Err(Refusal::Stopping.into());
        }
        tokio::time::sleep(PACE).await;
    }
}

#[cfg(test)]
mod tests;
