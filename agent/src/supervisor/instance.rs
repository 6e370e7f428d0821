//! An instance of this host, as the supervisor has it in memory.

use super::Tasks;
use crate::{
    clock::now,
    gates::QueueWatch,
    instance::notify::NotifySocket,
    state::{InstanceRecord, Run, State},
};
use handover_model::{
    InstanceId, InstancePhase, InstanceReport, Release, ServiceName, Share, Timestamp, config::HostManifest,
};
use std::sync::Arc;

/// An instance of this host, in memory.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) release: Release,
    /// Resolved for this host; an instance whose manifest cannot be has given up.
    pub(super) manifest: Option<HostManifest>,
    pub(super) pin: u8,
    pub(super) share: Share,
    /// Whether it ever had one.
    pub(super) had_share: bool,
    pub(super) restarts: u32,
    pub(super) failures: u32,
    pub(super) state: State,
    pub(super) entered: Timestamp,
    /// Counted up with each life: events of an earlier one are dropped.
    pub(super) life: u64,
    /// What it waits for, in an operator's words.
    pub(super) waits: String,
    /// Whether the commands run that it must pass.
    pub(super) verifying: bool,
    /// Whether it waits for room, and says so there.
    pub(super) held_up: bool,
    pub(super) queues: Option<QueueWatch>,
    pub(super) queues_empty: bool,
    pub(super) connections: Option<u64>,
    pub(super) flip_nanos: Option<u64>,
    pub(super) ready_millis: Option<u64>,
    /// Probes of its readiness that were not answered well in this life, where that is known.
    pub(super) unready_probes: Option<u32>,
    /// Whether this life began under an earlier run of the agent.
    pub(super) taken_over: bool,
    pub(super) notify: Option<Arc<NotifySocket>>,
    /// Tasks that end with this life.
    pub(super) tasks: Tasks,
    /// Those of them that ask it something: they end when it is taken out.
    pub(super) probes: Tasks,
}

impl Instance {
    pub(super) fn new(release: Release, pin: u8, life: u64) -> Self {
        Self {
            release,
            manifest: None,
            pin,
            share: Share::HIDDEN,
            had_share: false,
            restarts: 0,
            failures: 0,
            state: State::Fetching,
            entered: now(),
            life,
            waits: String::new(),
            verifying: false,
            held_up: false,
            queues: None,
            queues_empty: false,
            connections: None,
            flip_nanos: None,
            ready_millis: None,
            unready_probes: None,
            taken_over: false,
            notify: None,
            tasks: Tasks::default(),
            probes: Tasks::default(),
        }
    }

    pub(super) fn service(&self) -> &ServiceName {
        &self.release.name.service
    }

    pub(super) fn drains(&self) -> bool {
        matches!(self.state, State::Running { run: Run::Emptying { .. } | Run::Draining { .. }, .. })
    }

    pub(super) fn enter(&mut self, state: State) {
        self.state = state;
        self.entered = now();
    }

    pub(super) fn record(&self, id: &InstanceId, boot_id: &str) -> InstanceRecord {
        InstanceRecord {
            instance: id.clone(),
            release: self.release.clone(),
            pin: self.pin,
            share: self.share,
            had_share: self.had_share,
            restarts: self.restarts,
            failures: self.failures,
            boot_id: boot_id.to_owned(),
            life: self.state.life(),
        }
    }

    pub(super) fn report(&self) -> InstanceReport {
        let mut report = InstanceReport {
            service: self.service().clone(),
            release: self.release.name.clone(),
            phase: InstancePhase::Fetching,
            share: self.share,
            pid: None,
            restarts: self.restarts,
            connections: self.connections,
            since: self.entered,
            until: None,
            detail: String::new(),
            flip_nanos: self.flip_nanos,
            ready_millis: self.ready_millis,
            unready_probes: None,
            unserved: None,
            ledger: None,
            pin: self.state.group().and_then(|_| self.pin_source()),
        };
        self.state.describe(&mut report, &self.waits, self.entered);
        report
    }
}
