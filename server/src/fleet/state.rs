//! What the server knows of the fleet. Synchronous and without a clock: the actor asks, writes, and acts.
//!
//! Every method that changes something checks first and changes then: what it refuses has changed nothing. What it
//! changed stands in [`Effects`](super::effects::Effects) as well, and must be durable before anybody hears of it.

use super::{
    records::{
        AssignmentRecord, DeploymentRecord, HostRecord, LockRecord, ReleaseRecord, ServiceRecord, TokenRecord,
    },
    refusal::Refusal,
};
use handover_identity::TokenId;
use handover_model::{
    DeploymentId, HostFacts, HostName, HostReport, Labels, Measurement, Release, ReleaseRef, ServiceName,
    Timestamp,
};
use handover_rollout::Moment;
use std::collections::{BTreeMap, BTreeSet};

/// For so long after the server's start a host that was not seen yet counts as online: its agent is about to dial.
pub(super) const RETURN_GRACE: std::time::Duration = std::time::Duration::from_secs(20);

/// The fleet.
#[derive(Debug, Default)]
pub struct State {
    pub(super) started: Timestamp,
    pub(super) services: BTreeMap<ServiceName, ServiceRecord>,
    pub(super) releases: BTreeMap<ReleaseRef, StoredRelease>,
    pub(super) hosts: BTreeMap<HostName, Host>,
    pub(super) tokens: BTreeMap<TokenId, TokenRecord>,
    pub(super) deployments: BTreeMap<DeploymentId, DeploymentRecord>,
    pub(super) live: BTreeMap<DeploymentId, super::deployments::Live>,
    pub(super) finals: BTreeMap<DeploymentId, super::deployments::Live>,
    pub(super) grace_over: bool,
    /// Requests that began a deployment of the history.
    pub(super) requests: BTreeMap<String, DeploymentId>,
    /// Every other request that had an id.
    pub(super) answers: super::requests::Requests,
    pub(super) locks: BTreeMap<super::locks::LockScope, LockRecord>,
    /// Times in which nothing new is deployed, by number.
    pub(super) freezes: BTreeMap<u64, super::records::FreezeRecord>,
    pub(super) last_freeze: u64,
    /// What rehearsals showed, some of each service.
    pub(super) rehearsals: BTreeMap<DeploymentId, super::rehearsals::RehearsalRecord>,
    /// What deployments showed that the preflight goes by, some of each service.
    pub(super) lessons: BTreeMap<DeploymentId, super::preflight::LessonRecord>,
    /// Schemas of databases, by name.
    pub(super) schemas: BTreeMap<String, super::schemas::SchemaRecord>,
    /// Backfills that were begun, by database and service.
    pub(super) backfills: BTreeMap<(String, ServiceName), super::schemas::Backfills>,
    /// What releases' migrations took from databases, by database and release.
    pub(super) taken: BTreeMap<String, BTreeMap<ReleaseRef, super::schemas::Taken>>,
    /// Contracts whose time has come and that something is in the way of.
    pub(super) held_contracts: BTreeMap<ServiceName, super::schemas::Held>,
    pub(super) last_deployment: u64,
    pub(super) last_session: u64,
    pub(super) operators: super::operators::Roster,
    pub(super) audit: crate::audit::Head,
    /// Services whose instances are measured.
    pub(super) measured: BTreeMap<ServiceName, super::judging::Measured>,
    /// Judges, of deployments that go on and of some that ended.
    pub(super) judging: BTreeMap<DeploymentId, super::judging::Judging>,
    pub(super) contests: BTreeMap<HostName, super::clones::Contest>,
}

/// A release with its text.
#[derive(Clone, Debug)]
pub struct StoredRelease {
    /// Name, files, manifest.
    pub release: Release,
    /// The rest of what is remembered.
    pub record: ReleaseRecord,
}

/// A host: what is durable, and what is true only while the server runs.
#[derive(Clone, Debug)]
pub struct Host {
    /// What is in the store.
    pub record: HostRecord,
    /// What it should run, by service.
    pub assignments: BTreeMap<ServiceName, AssignmentRecord>,
    /// What it should apply to databases, by service.
    pub(super) migrations: BTreeMap<ServiceName, super::schemas::MigrationRecord>,
    /// Its session, while there is one.
    pub online: Option<Online>,
    /// Whether it had a session since the server's start.
    pub seen: bool,
    /// When it was last heard of.
    pub last_contact: Timestamp,
    /// What it said last.
    pub report: Option<HostReport>,
    /// When it made the flips that it told of last, as far as that is known.
    pub moments: BTreeMap<ServiceName, Moment>,
    /// Why it refused its target; empty where it did not.
    pub target_refused: String,
    /// What it said of itself, and by how many milliseconds its clock was ahead then; behind where that is negative.
    pub facts: Option<(HostFacts, i64)>,
    /// What its services did, as measured last, and when that was heard.
    pub measured: BTreeMap<ServiceName, (Timestamp, Measurement)>,
    /// Services that it was to be brought up to date in since its last session began, or that a deployment
    /// failed in on it: not tried again before the next session or the next deployment.
    pub tried: BTreeSet<ServiceName>,
    /// When it was tried again last because there was room again.
    pub room_again: Timestamp,
}

/// A host's session.
#[derive(Clone, Debug)]
pub struct Online {
    /// Number of the session, unique while the server runs.
    pub session: u64,
    /// The agent's name for its run.
    pub session_id: String,
    /// Set where the versions differ by a minor release.
    pub skew: String,
    /// Its machine's boot and its state folder; empty where it did not say.
    pub place: String,
    /// Where it connected from.
    pub from: String,
    /// Serial number of the certificate that the session was opened with: good for what belongs to the session.
    pub serial: String,
}

impl Host {
    pub(super) fn new(record: HostRecord, assignments: BTreeMap<ServiceName, AssignmentRecord>) -> Self {
        Self {
            last_contact: record.last_contact,
            record,
            assignments,
            migrations: BTreeMap::new(),
            online: None,
            seen: false,
            report: None,
            moments: BTreeMap::new(),
            target_refused: String::new(),
            facts: None,
            measured: BTreeMap::new(),
            tried: BTreeSet::new(),
            room_again: Timestamp::default(),
        }
    }
}

impl State {
    /// Whether a host with `labels` is one that a service with the selector `asked` runs on.
    pub(super) fn chosen(asked: &Labels, labels: &Labels) -> bool {
        asked.iter().all(|(key, value)| labels.get(key) == Some(value))
    }

    /// Whether the host is connected, or may be about to connect again after the server's own start.
    pub(super) fn reachable(&self, host: &Host, now: Timestamp) -> bool {
        host.online.is_some() || (!host.seen && now < self.started + RETURN_GRACE)
    }

    pub(super) fn release(&self, name: &ReleaseRef) -> Result<&StoredRelease, Refusal> {
        self.releases.get(name).ok_or_else(|| Refusal::NoRelease(name.clone()))
    }
}
