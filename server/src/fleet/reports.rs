//! The tray between sessions and the fleet: of each host only the latest report lies in it. An agent that floods
//! replaces its own.

use handover_model::{HostName, HostReport};
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};
use tokio::sync::Notify;

/// What was heard of hosts since the fleet last looked: at most one entry for each.
#[derive(Debug, Default)]
pub(super) struct Reports {
    tray: Mutex<BTreeMap<HostName, Heard>>,
    wake: Notify,
}

/// What one session said.
#[derive(Debug)]
pub(super) struct Heard {
    /// The session's number.
    pub(super) session: u64,
    /// `None`: only that it is there.
    pub(super) report: Option<HostReport>,
}

impl Reports {
    /// Lays a report down, over the one before it.
    pub(super) fn report(&self, host: &HostName, session: u64, report: HostReport) {
        let heard = Heard { session, report: Some(report) };
        self.tray.lock().unwrap_or_else(PoisonError::into_inner).insert(host.clone(), heard);
        self.wake.notify_one();
    }

    /// Says that a host is there. Wakes nobody: the fleet looks often enough.
    pub(super) fn alive(&self, host: &HostName, session: u64) {
        let mut tray = self.tray.lock().unwrap_or_else(PoisonError::into_inner);
        tray.entry(host.clone()).or_insert(Heard { session, report: None });
    }

    /// Takes everything out.
    pub(super) fn take(&self) -> BTreeMap<HostName, Heard> {
        std::mem::take(&mut *self.tray.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits for a report.
    pub(super) async fn wait(&self) {
        self.wake.notified().await;
    }
}
