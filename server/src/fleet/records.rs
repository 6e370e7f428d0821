//! What the fleet keeps in the store: one type per keyspace, and how keys are written.
//!
//! Values are JSON under 8 KiB (the store adds version and checksum). A manifest may be longer and is cut into chunks;
//! a deployment is a row of records, each small. Nothing of the wire stands here.

use super::{locks::LockScope, schemas::ReleaseSchema};
use handover_model::{
    BundleDescriptor, Confirm, DeploymentId, Digest, HostName, Labels, ReleaseRef, ServiceName, Timestamp,
    Version,
};
use handover_rollout::Assignment;
use serde::{Deserialize, Serialize};

/// Longest piece of a manifest in one value, in bytes.
pub(super) const CHUNK_BYTES: usize = 6 * 1024;

/// A host as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRecord {
    /// Where its services are reached.
    pub address: String,
    /// Its labels.
    pub labels: Labels,
    /// Whether it gets no new deployment.
    pub cordoned: bool,
    /// Serial number of its certificate, as the identity crate writes it. Another one is not this host.
    pub serial: String,
    /// When that certificate ends.
    pub certificate_expires: Timestamp,
    /// When it was enrolled, the last time.
    pub enrolled: Timestamp,
    /// Revision of its target: counts up with everything that changes in it.
    pub revision: u64,
    /// Its agent's version, as last said.
    pub agent_version: String,
    /// Its kernel, as last said.
    pub kernel: String,
    /// Its boot, as last said.
    pub boot_id: String,
    /// When it was last heard of, as of the last write.
    pub last_contact: Timestamp,
    /// When that certificate was made; zero where an earlier version made it.
    #[serde(default)]
    pub certificate_issued: Timestamp,
    /// The certificate that it was given in place of that one, until it was seen with it.
    #[serde(default)]
    pub renewed: Option<RenewedCertificate>,
    /// Serial number of the certificate before: whoever comes with it has a copy of what the host once was. Empty: none.
    #[serde(default)]
    pub former_serial: String,
    /// Its identity was seen in two places.
    #[serde(default)]
    pub clone: Option<CloneAlarm>,
}

/// A certificate that was made and has not been seen in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewedCertificate {
    /// Its serial number.
    pub serial: String,
    /// When it was made.
    pub issued: Timestamp,
    /// When it ends.
    pub expires: Timestamp,
}

/// One identity in two places, until an operator acknowledges it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloneAlarm {
    /// When it was noticed.
    pub since: Timestamp,
    /// Where the refused agent connected from.
    pub from: String,
    /// The boot of its machine.
    pub boot_id: String,
    /// What was seen, in words.
    pub why: String,
}

/// What one host should run of one service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignmentRecord {
    /// The instances and their shares.
    pub assignment: Assignment,
    /// Whether an operator put this host on its release by name: it is not brought to the service's current release
    /// by itself until the next deployment to all hosts.
    pub held: bool,
    /// That the flip to it has to be confirmed; `None`: it has not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<Confirm>,
}

/// What is current in a service.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ServiceRecord {
    /// What every host of the service should run.
    pub current: Option<Version>,
    /// What was current before, the newest last; at most ten. A rollback takes the last one away, so
    /// that rolling back twice goes back twice and never to the release that was just left.
    pub history: Vec<Version>,
    /// Until when former instances stand by on its hosts; `None` where none does.
    #[serde(default)]
    pub standby_until: Option<Timestamp>,
}

/// How many former releases of a service are remembered as goals of rollbacks.
pub(super) const HISTORY: usize = 10;

/// A release without its manifest's text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseRecord {
    /// Its files.
    pub bundle: BundleDescriptor,
    /// In how many chunks the manifest is kept.
    pub chunks: u32,
    /// Labels that a host must have, from the manifest.
    pub hosts: Labels,
    /// When it was pushed.
    pub created: Timestamp,
    /// By whom.
    pub created_by: String,
    /// Whether its bundle was deleted to make room.
    pub pruned: bool,
    /// What it needs of a schema and makes of it; `None` where its manifest says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<ReleaseSchema>,
}

/// A join token. The secret itself is never kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    /// Digest of the secret.
    pub secret: Digest,
    /// The only host that may use it.
    pub host: Option<HostName>,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends.
    pub expires: Timestamp,
    /// Who used it.
    pub used_by: Option<HostName>,
}

/// How a deployment ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Every host of the plan that was not skipped runs the release, or no more failed than allowed.
    Succeeded,
    /// Every touched host is back.
    RolledBack,
    /// Some hosts are not where they should be.
    NeedsPerson,
}

/// What for a deployment was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// To all hosts that the manifest's labels choose: its success makes the release the current one.
    Release,
    /// To hosts that the operator named: the service's current release stays, the hosts are held.
    NamedHosts,
    /// Back to the previous release, everywhere at once.
    Rollback,
    /// To hosts that came late: the server began it.
    CatchUp,
    /// There and back on one host: changes nothing of the service.
    Rehearsal,
    /// One phase of a release's migrations, by itself.
    Migration,
}

/// A deployment as a line in the history; its course is in the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentRecord {
    /// What it carries where.
    pub release: ReleaseRef,
    /// What for.
    pub purpose: Purpose,
    /// Who began it.
    pub created_by: String,
    /// When.
    pub created: Timestamp,
    /// The operator's name for the request; empty where the server began it.
    pub request: String,
    /// When and how it ended; `None` while it goes on.
    pub ended: Option<(Timestamp, Ending)>,
    /// Why it rolled back, or needs a person; empty otherwise.
    pub reason: String,
    /// How many records it has in the journal; filled in when it ends.
    pub records: u64,
}

/// A lock on a service or on the fleet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockRecord {
    /// Who holds it.
    pub owner: String,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// When it ends by itself.
    pub until: Timestamp,
    /// Whose it was before, where it was taken over.
    pub taken_from: Option<TakenLock>,
}

/// A time in which nothing new is deployed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreezeRecord {
    /// To which service; `None`: to any.
    pub service: Option<ServiceName>,
    /// Who wants it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When it was made.
    pub since: Timestamp,
    /// When it begins.
    pub from: Timestamp,
    /// When it ends; `None`: when somebody ends it.
    pub until: Option<Timestamp>,
}

/// A lock that was taken over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenLock {
    /// Who held it.
    pub owner: String,
    /// Why.
    pub reason: String,
    /// When it would have ended.
    pub until: Timestamp,
}

/// A request that was answered, besides those that began a deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RequestRecord {
    /// The operator's name for it.
    pub(super) id: String,
    /// What was asked for.
    pub(super) what: String,
    /// The deployment that it was about; `None` for locks.
    pub(super) deployment: Option<DeploymentId>,
    /// What was answered.
    pub(super) said: String,
}

/// The key of a lock: the service's name, or `*`, which is none.
#[must_use]
pub(super) fn lock_key(scope: &LockScope) -> Vec<u8> {
    match scope {
        LockScope::Fleet => b"*".to_vec(),
        LockScope::Service(service) => service.as_str().as_bytes().to_vec(),
    }
}

/// The key of a freeze.
#[must_use]
pub(super) fn freeze_key(number: u64) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

/// The key of an answered request.
#[must_use]
pub(super) fn request_key(sequence: u64) -> Vec<u8> {
    sequence.to_be_bytes().to_vec()
}

/// The key of a host's assignment for a service. Names have no NUL, so keys cannot run into each other.
#[must_use]
pub(super) fn assignment_key(host: &HostName, service: &ServiceName) -> Vec<u8> {
    format!("{host}\0{service}").into_bytes()
}

/// The key of a service's backfills in a database, whose name has no zero: its own record has that name as key.
pub(super) fn backfills_key(database: &str, service: &ServiceName) -> Vec<u8> {
    format!("{database}\0{service}").into_bytes()
}

/// The key of what a release's migrations took from a database.
pub(super) fn taken_key(database: &str, release: &ReleaseRef) -> Vec<u8> {
    format!("{database}\0{}\0{}", release.service, release.version).into_bytes()
}

/// The key of a release.
#[must_use]
pub(super) fn release_key(release: &ReleaseRef) -> Vec<u8> {
    format!("{}\0{}", release.service, release.version).into_bytes()
}

/// The key of a piece of a release's manifest, `index` counted from 0.
#[must_use]
pub(super) fn chunk_key(release: &ReleaseRef, index: u32) -> Vec<u8> {
    let mut key = release_key(release);
    key.push(0);
    key.extend_from_slice(&index.to_be_bytes());
    key
}

/// The key of a deployment.
#[must_use]
pub(super) fn deployment_key(deployment: DeploymentId) -> Vec<u8> {
    deployment.number().to_be_bytes().to_vec()
}

/// The key of a deployment's record number `sequence`, counted from 0: in order when read in order.
#[must_use]
pub(super) fn journal_key(deployment: DeploymentId, sequence: u64) -> Vec<u8> {
    let mut key = deployment_key(deployment);
    key.extend_from_slice(&sequence.to_be_bytes());
    key
}

/// The two names in a key that [`assignment_key`] or [`release_key`] wrote.
#[must_use]
pub(super) fn split_key(key: &[u8]) -> Option<(&str, &str)> {
    std::str::from_utf8(key).ok()?.split_once('\0')
}

/// The database and the release in a key that [`taken_key`] wrote.
#[must_use]
pub(super) fn taken_names(key: &[u8]) -> Option<(String, ReleaseRef)> {
    let (database, rest) = split_key(key)?;
    let (service, version) = rest.split_once('\0')?;
    let release = ReleaseRef { service: service.parse().ok()?, version: version.parse().ok()? };
    Some((database.to_owned(), release)).filter(|(database, _)| !database.is_empty())
}

/// A big-endian number at `from` in a key.
#[must_use]
pub(super) fn number_in_key(key: &[u8], from: usize) -> Option<u64> {
    Some(u64::from_be_bytes(key.get(from..from + 8)?.try_into().ok()?))
}
