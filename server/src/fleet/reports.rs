//! The tray between sessions and the fleet: of each host only the latest report lies in it, and of each of its services
//! the latest measurement. An agent that floods replaces its own.

use handover_model::{HostName, HostReport, Measurement, ServiceName};
use handover_rollout::Moment;
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};
use tokio::sync::Notify;

/// Most services of a host whose measurements lie in the tray.
const MAX_MEASURED: usize = 256;

/// What was heard of hosts since the fleet last looked: at most one entry for each.
#[derive(Debug, Default)]
pub(super) struct Reports {
    tray: Mutex<BTreeMap<HostName, Heard>>,
    wake: Notify,
}

/// What one session said.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// The session's number.
    pub(super) session: u64,
    /// What it runs; `None`: nothing new.
    pub(super) report: Option<HostReport>,
    /// When the flips were that it tells of, as far as that is known.
    pub(super) flipped: BTreeMap<ServiceName, Moment>,
    /// What its services did.
    pub(super) measured: BTreeMap<ServiceName, Measurement>,
}

impl Reports {
    /// Lays a report down, over the one before it.
    pub(super) fn report(
        &self,
        host: &HostName,
        session: u64,
        report: HostReport,
        flipped: BTreeMap<ServiceName, Moment>,
    ) {
        self.heard(host, session, |heard| (heard.report, heard.flipped) = (Some(report), flipped));
        self.wake.notify_one();
    }

    /// Lays a measurement down, over the one of the same service. Wakes nobody: what is made of it has its own clock.
    pub(super) fn measured(&self, host: &HostName, session: u64, measurement: Measurement) {
        self.heard(host, session, |heard| {
            let service = measurement.service.clone();
            if heard.measured.len() < MAX_MEASURED || heard.measured.contains_key(&service) {
                heard.measured.insert(service, measurement);
            }
        });
    }

    /// Says that a host is there. Wakes nobody: the fleet looks often enough.
    pub(super) fn alive(&self, host: &HostName, session: u64) {
        self.heard(host, session, |_| {});
    }

    /// Notes what a session said; a later session's word drops those of the one before.
    fn heard(&self, host: &HostName, session: u64, note: impl FnOnce(&mut Heard)) {
        let mut tray = self.tray.lock().unwrap_or_else(PoisonError::into_inner);
        let heard = tray.entry(host.clone()).or_default();
        if heard.session < session {
            *heard = Heard { session, ..Heard::default() };
        }
        if heard.session == session {
            note(heard);
        }
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
