//! Reports: what a host says that it runs.

use crate::{
    FlipReport, InstanceId, MigrationId, MigrationState, PinSource, Readings, ReleaseRef, ServiceName, Share,
    Timestamp, config::ListenerName,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Everything that a host runs, whole. A later report replaces an earlier one.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HostReport {
    /// The revision of the target that the agent works on; 0 before the first.
    pub revision: u64,
    /// Each instance that runs, or that the target names, or that ended a short while ago.
    pub instances: BTreeMap<InstanceId, InstanceReport>,
    /// The last flip of each service, where there is something to say of it.
    #[serde(default)]
    pub flips: BTreeMap<ServiceName, FlipReport>,
    /// What the host's clock said when the report was sent; `None` while it was not.
    #[serde(default)]
    pub readings: Option<Readings>,
    /// Where each migration is that the target names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub migrations: BTreeMap<MigrationId, MigrationState>,
}

/// Where an instance is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InstancePhase {
    /// Its bundle is being fetched and unpacked.
    Fetching,
    /// It runs and is not ready yet.
    Starting,
    /// It runs and answers its probes.
    Ready,
    /// It runs, was ready, and fails its liveness probes.
    Unhealthy,
    /// It ended by itself and will be started again after a pause.
    BackingOff,
    /// It ended too often, or cannot be started at all. Only a new target changes that.
    GaveUp,
    /// It gets no new connections and finishes those that it has.
    Draining,
    /// It was told to go at once, or its drain deadline passed; its processes are being ended.
    Stopping,
    /// It is gone, on purpose.
    Exited,
}

/// What became of an instance's connections when it was taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DrainLedger {
    /// Connections that it had when the drain signal was sent.
    pub connections: u64,
    /// Connections that were still open at the drain deadline and were cut.
    pub force_closed: u64,
    /// Handshakes and connections that were left in its queues and were reset.
    pub reset: u64,
    /// From the flip away from it to its queues being empty, in milliseconds.
    pub queues_millis: u64,
    /// From the drain signal to its end, in milliseconds.
    pub drain_millis: u64,
    /// Whether the drain deadline passed and it was killed.
    pub killed: bool,
}

/// One instance, as its agent sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceReport {
    /// Whose instance.
    pub service: ServiceName,
    /// What it runs.
    pub release: ReleaseRef,
    /// Where it is.
    pub phase: InstancePhase,
    /// The share that the kernel gives it now.
    pub share: Share,
    /// Its main process, where it has one.
    pub pid: Option<u32>,
    /// How often it was started again after ending by itself.
    pub restarts: u32,
    /// Established connections, where they were counted: of instances that clients are on, a few seconds old.
    pub connections: Option<u64>,
    /// When it came into its phase.
    pub since: Timestamp,
    /// Until when the phase may last; `None` where nothing is waited for.
    pub until: Option<Timestamp>,
    /// What it waits for, or why it failed, in words for an operator; empty where there is nothing to say.
    pub detail: String,
    /// Its last flip: nanoseconds from the agent's decision until the new program was in the kernel.
    pub flip_nanos: Option<u64>,
    /// Milliseconds from exec until it was ready.
    pub ready_millis: Option<u64>,
    /// How many probes of its readiness were not answered well from exec until it was ready; `None` where it is not ready,
    /// or nobody asked: the program says it itself, or only its being there counts.
    #[serde(default)]
    pub unready_probes: Option<u32>,
    /// Listeners that its readiness does not ask, and on which it accepted nothing when it was ready; `None` where it is not
    /// ready, where nobody has looked yet, or where its readiness asks all of them.
    #[serde(default)]
    pub unserved: Option<Vec<ListenerName>>,
    /// What became of its connections, once it is gone.
    pub ledger: Option<DrainLedger>,
    /// Where to connect from so as to reach it, while it runs.
    pub pin: Option<PinSource>,
}
