//! Whether what a store holds is a fleet: every record readable, every name in it known, and every deployment what its
//! journal says.
//!
//! Entries come one by one, in the order of keyspaces and keys, from a store or a backup. Memory is that of the
//! records without the journal, of which one deployment's records are kept at a time.

use super::{
    judging::JudgingRecord,
    operators::OperatorRecord,
    preflight::LessonRecord,
    records::{
        AssignmentRecord, DeploymentRecord, Ending, FreezeRecord, HostRecord, LockRecord, ReleaseRecord,
        RequestRecord, ServiceRecord, TokenRecord, number_in_key, split_key, taken_names,
    },
    rehearsals::RehearsalRecord,
    schemas::{Backfills, MigrationRecord, ReleaseColumns, SchemaRecord, Taken},
};
use crate::{
    audit::{Break, ChainCheck},
    store::{Keyspace, StoreError, format::FormatRecord},
};
use handover_identity::{OperatorName, TokenId};
use handover_model::{
    BundleDescriptor, DeploymentId, HostName, ReleaseRef, ServiceName, chain, config::Manifest,
};
use handover_rollout::{Deployment, Outcome, Record};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// Problems that are told one by one; the rest is counted.
const MOST_TOLD: usize = 1000;
/// The engine keeps so many characters of a name; one that is longer is not compared.
const KEPT_NAME: usize = 197;

/// Something that should not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Of what: a keyspace and a key, or a file.
    pub place: String,
    /// What is wrong.
    pub what: String,
    /// What follows from it, and what to do.
    pub means: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, what, means } = self;
        write!(f, "{place}: {what}: {means}")
    }
}

/// What was found.
#[derive(Debug, Default)]
pub struct Report {
    /// Entries that were looked at.
    pub entries: u64,
    /// Deployments that were replayed.
    pub replayed: u64,
    /// Deployments whose end stands in the journal only: the server's next start completes them. No problem.
    pub to_complete: u64,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// Problems that are not among them.
    pub more: u64,
    /// Releases whose bundles the server should have.
    pub bundles: Vec<(ReleaseRef, BundleDescriptor)>,
}

/// Looks through a store's entries.
#[derive(Debug, Default)]
pub struct Checker {
    report: Report,
    hosts: BTreeSet<HostName>,
    services: BTreeMap<ServiceName, ServiceRecord>,
    releases: BTreeMap<ReleaseRef, ReleaseRecord>,
    assignments: Vec<(String, HostName, AssignmentRecord)>,
    manifests: BTreeSet<ReleaseRef>,
    manifest: Option<Text>,
    deployments: BTreeMap<DeploymentId, DeploymentRecord>,
    journals: BTreeSet<DeploymentId>,
    journal: Option<Journal>,
    audit: ChainCheck,
}

/// A manifest whose pieces come.
#[derive(Debug)]
struct Text {
    release: ReleaseRef,
    pieces: u32,
    gap: bool,
    bytes: Vec<u8>,
}

/// A deployment whose records come.
#[derive(Debug)]
struct Journal {
    id: DeploymentId,
    records: Vec<Record>,
    broken: bool,
}

const LOST: &str = "the record is lost; restore a backup";

impl Checker {
    /// The next entry.
    pub fn entry(&mut self, keyspace: Keyspace, key: &[u8], value: Result<&[u8], StoreError>) {
        self.report.entries += 1;
        let place = format!("{keyspace} \"{}\"", key.escape_ascii());
        let value = match value {
            Ok(value) => value,
            Err(error) => return self.problem(&place, error.to_string(), LOST),
        };
        if keyspace != Keyspace::Manifests {
            self.close_manifest();
        }
        match keyspace {
            Keyspace::Meta => drop(self.read::<FormatRecord>(&place, value)),
            Keyspace::Fleet => {
                drop(self.read::<serde_json::Value>(&place, value));
                self.audit.fact(key, value);
            }
            Keyspace::Hosts => {
                if let Some((name, _)) = self.named::<_, HostRecord>(&place, name(key), value) {
                    self.hosts.insert(name);
                }
            }
            Keyspace::Assignments => {
                let names = names::<HostName, ServiceName>(key);
                if let Some(((host, _), record)) = self.named(&place, names, value) {
                    self.assignments.push((place, host, record));
                }
            }
            Keyspace::Services => {
                if let Some((name, record)) = self.named(&place, name(key), value) {
                    self.services.insert(name, record);
                }
            }
            Keyspace::Releases => {
                let names = names(key).map(|(service, version)| ReleaseRef { service, version });
                if let Some((name, record)) = self.named(&place, names, value) {
                    self.releases.insert(name, record);
                }
            }
            Keyspace::Columns => {
                drop(self.named::<_, ReleaseColumns>(
                    &place,
                    names::<ServiceName, handover_model::Version>(key),
                    value,
                ));
            }
            Keyspace::Manifests => self.piece(&place, key, value),
            Keyspace::Tokens => drop(self.named::<TokenId, TokenRecord>(&place, name(key), value)),
            Keyspace::Deployments => {
                let id = number_in_key(key, 0).filter(|_| key.len() == 8).map(DeploymentId::new);
                if let Some((id, record)) = self.named(&place, id, value) {
                    self.deployments.insert(id, record);
                }
            }
            Keyspace::Journal => self.record(&place, key, value),
            Keyspace::Judges => {
                let id = number_in_key(key, 0).filter(|_| key.len() == 8);
                if let Some((_, record)) = self.named::<_, JudgingRecord>(&place, id, value)
                    && let Err(error) = record.check()
                {
                    let means = "the deployment cannot be taken up; restore a backup";
                    self.problem(&place, chain(&error), means);
                }
            }
            Keyspace::Locks => {
                // The fleet's own lock has no service's name.
                let scope = if key == b"*" { Some(()) } else { name::<ServiceName>(key).map(drop) };
                drop(self.named::<_, LockRecord>(&place, scope, value));
            }
            Keyspace::Freezes => {
                let number = number_in_key(key, 0).filter(|_| key.len() == 8);
                drop(self.named::<_, FreezeRecord>(&place, number, value));
            }
            Keyspace::Rehearsals => {
                let number = number_in_key(key, 0).filter(|_| key.len() == 8);
                drop(self.named::<_, RehearsalRecord>(&place, number, value));
            }
            Keyspace::Lessons => {
                let number = number_in_key(key, 0).filter(|_| key.len() == 8);
                drop(self.named::<_, LessonRecord>(&place, number, value));
            }
            Keyspace::Schemas => {
                let names = names::<String, ServiceName>(key);
                if names.is_some() {
                    drop(self.named::<_, Backfills>(&place, names, value));
                } else {
                    let database = std::str::from_utf8(key).ok().filter(|name| !name.is_empty());
                    drop(self.named::<_, SchemaRecord>(&place, database.map(str::to_owned), value));
                }
            }
            Keyspace::Taken => drop(self.named::<_, Taken>(&place, taken_names(key), value)),
            Keyspace::Migrations => {
                let names = names::<HostName, ServiceName>(key);
                drop(self.named::<_, MigrationRecord>(&place, names, value));
            }
            Keyspace::Requests => {
                let sequence = number_in_key(key, 0).filter(|_| key.len() == 8);
                drop(self.named::<_, RequestRecord>(&place, sequence, value));
            }
            Keyspace::Operators => drop(self.named::<OperatorName, OperatorRecord>(&place, name(key), value)),
            Keyspace::Audit => {
                let broken = self.audit.entry(key, value);
                self.chain(broken);
            }
        }
    }

    /// What was found, once every entry was shown.
    #[must_use]
    pub fn finish(mut self) -> Report {
        self.close_manifest();
        self.close_journal();
        let broken = self.audit.finish();
        self.chain(broken);
        self.check_assignments();
        self.check_services();
        self.check_releases();
        let without: Vec<DeploymentId> =
            self.deployments.keys().filter(|id| !self.journals.contains(id)).copied().collect();
        for id in without {
            let means = "its course is lost and it cannot be taken up; restore a backup";
            self.problem(&format!("deployment {id}"), "it has no records in the journal", means);
        }
        let kept = self.releases.iter().filter(|(_, record)| !record.pruned);
        self.report.bundles = kept.map(|(name, record)| (name.clone(), record.bundle.clone())).collect();
        self.report
    }

    fn chain(&mut self, broken: Option<Break>) {
        if let Some(Break { sequence, what }) = broken {
            let means = "somebody changed the audit, or the disk did; what is behind it proves nothing";
            self.problem(&format!("audit entry {sequence}"), what, means);
        }
    }

    fn problem(&mut self, place: &str, what: impl Into<String>, means: &str) {
        if self.report.problems.len() >= MOST_TOLD {
            self.report.more += 1;
            return;
        }
        let (place, means) = (place.to_owned(), means.to_owned());
        self.report.problems.push(Problem { place, what: what.into(), means });
    }

    fn read<T: DeserializeOwned>(&mut self, place: &str, value: &[u8]) -> Option<T> {
        match serde_json::from_slice(value) {
            Ok(record) => Some(record),
            Err(error) => {
                let means = "the server does not start with it; another version wrote it, or a mistake";
                self.problem(place, format!("it cannot be read ({error})"), means);
                None
            }
        }
    }

    fn named<N, T: DeserializeOwned>(
        &mut self,
        place: &str,
        name: Option<N>,
        value: &[u8],
    ) -> Option<(N, T)> {
        if name.is_none() {
            self.problem(
                place,
                "its key names nothing",
                "something else wrote it, and the server does not start",
            );
        }
        let record = self.read(place, value);
        Some((name?, record?))
    }

    fn piece(&mut self, place: &str, key: &[u8], value: &[u8]) {
        let parts = key.split_last_chunk::<4>().and_then(|(rest, index)| {
            let (service, version) = names(rest.strip_suffix(&[0])?)?;
            Some((ReleaseRef { service, version }, u32::from_be_bytes(*index)))
        });
        let Some((release, index)) = parts else {
            return self.problem(place, "its key names nothing", "something else wrote it; it is not used");
        };
        if self.manifest.as_ref().is_none_or(|text| text.release != release) {
            self.close_manifest();
            self.manifest = Some(Text { release, pieces: 0, gap: false, bytes: Vec::new() });
        }
        if let Some(text) = &mut self.manifest {
            text.gap |= index != text.pieces;
            text.pieces += 1;
            text.bytes.extend_from_slice(value);
        }
    }

    fn close_manifest(&mut self) {
        let Some(Text { release, pieces, gap, bytes }) = self.manifest.take() else { return };
        let place = format!("manifest of release {release}");
        match self.releases.get(&release).map(|record| record.chunks) {
            None => self.problem(&place, "there is no such release", "left over; it is not used"),
            Some(chunks) if gap || chunks != pieces => {
                let what = format!("it has {pieces} of {chunks} pieces");
                self.problem(&place, what, "the server does not start with it; restore a backup");
            }
            Some(_) => match Manifest::from_bytes(&bytes) {
                Ok(manifest) if manifest.service == release.service => {}
                Ok(manifest) => {
                    let what = format!("it is of service {}", manifest.service);
                    self.problem(
                        &place,
                        what,
                        "the release cannot be deployed; push it under another version",
                    );
                }
                Err(error) => {
                    let what = format!("it has mistakes ({})", chain(&error));
                    self.problem(
                        &place,
                        what,
                        "the release cannot be deployed; push it under another version",
                    );
                }
            },
        }
        self.manifests.insert(release);
    }

    fn record(&mut self, place: &str, key: &[u8], value: &[u8]) {
        let numbers = number_in_key(key, 0).zip(number_in_key(key, 8)).filter(|_| key.len() == 16);
        let Some((id, sequence)) = numbers else {
            return self.problem(place, "its key names nothing", "something else wrote it; it is not used");
        };
        let id = DeploymentId::new(id);
        if self.journal.as_ref().is_none_or(|journal| journal.id != id) {
            self.close_journal();
            self.journal = Some(Journal { id, records: Vec::new(), broken: false });
        }
        let record = self.read::<Record>(place, value);
        let Some(journal) = &mut self.journal else { return };
        let expected = journal.records.len() as u64;
        match record {
            Some(record) if sequence == expected => journal.records.push(record),
            _ if journal.broken => {}
            other => {
                journal.broken = true;
                if other.is_some() {
                    let what = format!("record {expected} is missing before record {sequence}");
                    let means = "the deployment's course is lost; restore a backup";
                    self.problem(&format!("journal of deployment {id}"), what, means);
                }
            }
        }
    }

    fn close_journal(&mut self) {
        let Some(Journal { id, records, broken }) = self.journal.take() else { return };
        self.journals.insert(id);
        if broken {
            return;
        }
        let place = format!("deployment {id}");
        let Some(stored) = self.deployments.get(&id).cloned() else {
            let means = "left over by a kill; a new deployment must not get this number: restore a backup";
            return self.problem(&place, "its journal is there, and the deployment is not", means);
        };
        let count = records.len() as u64;
        match Deployment::replay(records) {
            Err(error) => {
                let what = format!("its records make no sense ({})", chain(&error));
                self.problem(&place, what, "it cannot be taken up or shown; restore a backup");
            }
            Ok(engine) => {
                self.report.replayed += 1;
                if stored.ended.is_none() && engine.outcome().is_some() {
                    self.report.to_complete += 1;
                }
                for (what, says, journal) in differences(&stored, &engine, count) {
                    let what = format!("its {what} is {says}, and by the journal {journal}");
                    self.problem(&place, what, "the history shows something else than what happened");
                }
            }
        }
    }

    fn check_assignments(&mut self) {
        for (place, host, record) in std::mem::take(&mut self.assignments) {
            if !self.hosts.contains(&host) {
                let means = "left over of a host that was removed; it is not used";
                self.problem(&place, format!("there is no host {host}"), means);
            }
            for placement in &record.assignment.0 {
                if !self.releases.contains_key(&placement.release) {
                    let what = format!("there is no release {}", placement.release);
                    self.problem(&place, what, "the host's target cannot be made; restore a backup");
                }
            }
        }
    }

    fn check_services(&mut self) {
        for (service, record) in self.services.clone() {
            let place = format!("service {service}");
            for version in record.current.iter().chain(&record.history) {
                let release = ReleaseRef { service: service.clone(), version: version.clone() };
                if !self.releases.contains_key(&release) {
                    let what = format!("there is no release {release}, which it names");
                    self.problem(&place, what, "hosts cannot be brought to it; restore a backup");
                }
            }
        }
    }

    fn check_releases(&mut self) {
        let mut wrong = Vec::new();
        for (release, record) in &self.releases {
            let place = format!("release {release}");
            if record.chunks > 0 && !self.manifests.contains(release) {
                wrong.push((place.clone(), "its manifest is missing", "the server does not start with it"));
            }
            if !self.services.contains_key(&release.service) {
                wrong.push((place, "there is no such service", "it cannot be deployed; push it again"));
            }
        }
        for (id, record) in &self.deployments {
            if !self.releases.contains_key(&record.release) {
                let place = format!("deployment {id}");
                wrong.push((place, "there is no such release as it names", "it cannot be shown whole"));
            }
        }
        for (place, what, means) in wrong {
            self.problem(&place, what, means);
        }
    }
}

/// Where a deployment's line in the history differs from its replayed records: what, as stored, by the journal.
fn differences(
    stored: &DeploymentRecord,
    engine: &Deployment,
    count: u64,
) -> Vec<(&'static str, String, String)> {
    let DeploymentRecord { release, purpose: _, created_by, created, request: _, ended, reason, records } =
        stored;
    let mut found = Vec::new();
    let mut compare = |what, stored: String, journal: String| {
        if stored != journal {
            found.push((what, stored, journal));
        }
    };
    compare("release", release.to_string(), engine.release().to_string());
    compare("beginning", created.unix_millis().to_string(), engine.created_at().unix_millis().to_string());
    if created_by.chars().count() <= KEPT_NAME {
        compare("author", created_by.clone(), engine.created_by().to_owned());
    }
    // One that has ended in the journal alone is completed by the server's next start.
    if let Some((_, ending)) = ended {
        let journal = engine.outcome().map(|outcome| match outcome {
            Outcome::Succeeded { .. } | Outcome::Returned { .. } => Ending::Succeeded,
            Outcome::RolledBack { .. } => Ending::RolledBack,
            Outcome::NeedsPerson { .. } => Ending::NeedsPerson,
        });
        let text = |ending: Option<Ending>| match ending {
            Some(Ending::Succeeded) => "succeeded".to_owned(),
            Some(Ending::RolledBack) => "rolled back".to_owned(),
            Some(Ending::NeedsPerson) => "in need of a person".to_owned(),
            None => "not reached".to_owned(),
        };
        compare("end", text(Some(*ending)), text(journal));
        compare("reason", format!("{reason:?}"), format!("{:?}", engine.reason()));
        compare("number of records", records.to_string(), count.to_string());
    }
    found
}

fn name<T: std::str::FromStr>(key: &[u8]) -> Option<T> {
    std::str::from_utf8(key).ok()?.parse().ok()
}

fn names<A: std::str::FromStr, B: std::str::FromStr>(key: &[u8]) -> Option<(A, B)> {
    let (a, b) = split_key(key)?;
    Some((a.parse().ok()?, b.parse().ok()?))
}
