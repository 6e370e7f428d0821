//! Hosts: enrolled, labelled, cordoned, removed; and their targets.

use super::{
    effects::Effects,
    records::{AssignmentRecord, HostRecord, assignment_key},
    refusal::Refusal,
    state::{Host, State},
};
use crate::{
    events::{Event, EventKind},
    store::Keyspace,
};
use handover_identity::TokenClaim;
use handover_model::{
    Confirm, Digest, Duration, HostName, HostValues, InstanceTarget, Label, Labels, ReleaseRef, ServiceName,
    ServiceTarget, Target, Timestamp,
};
use handover_rollout::Assignment;
use std::collections::{BTreeMap, BTreeSet};

/// Most labels of one host.
const MAX_LABELS: usize = 64;
/// Most bytes of all labels of one host together: a host is one value in the store.
const MAX_LABEL_BYTES: usize = 4096;
/// Longest address of a host, in bytes.
const MAX_ADDRESS: usize = 255;

/// A host that wants to join.
#[derive(Clone, Debug)]
pub struct Enrolment {
    /// Its proof that it may.
    pub claim: TokenClaim,
    /// The host's name.
    pub host: HostName,
    /// Where its services are reached.
    pub address: String,
    /// Its labels.
    pub labels: Labels,
    /// Its agent's version.
    pub agent_version: String,
}

/// What an operator changes in a host.
#[derive(Clone, Debug, Default)]
pub struct HostChange {
    /// Labels to set.
    pub set: Labels,
    /// Labels to take away.
    pub remove: BTreeSet<String>,
    /// Whether it gets no new deployments.
    pub cordoned: Option<bool>,
    /// Whether the alarm about a copy is taken away.
    pub acknowledge_clone: bool,
}

/// Whether the labels are labels, and not too many.
///
/// # Errors
/// The first that is none.
pub(super) fn check_labels(labels: &Labels) -> Result<(), Refusal> {
    if labels.len() > MAX_LABELS {
        return Err(Refusal::Invalid(format!(
            "a host has at most {MAX_LABELS} labels, not {}",
            labels.len()
        )));
    }
    let bytes: usize = labels.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > MAX_LABEL_BYTES {
        return Err(Refusal::Invalid(format!(
            "labels have at most {MAX_LABEL_BYTES} bytes together, not {bytes}"
        )));
    }
    for (key, value) in labels {
        Label::new(key, value).map_err(|error| Refusal::Invalid(error.to_string()))?;
    }
    Ok(())
}

/// Whether it can be an address that manifests are filled with: no control characters, not endless.
///
/// # Errors
/// When it cannot.
pub(super) fn check_address(address: &str) -> Result<(), Refusal> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '-' | '_' | '[' | ']' | '%');
    if address.len() > MAX_ADDRESS || !address.chars().all(good) {
        return Err(Refusal::Invalid(format!(
            "{:?} is no address of a host: expected an IP address or a name of at most {MAX_ADDRESS} characters",
            address.chars().take(100).collect::<String>()
        )));
    }
    Ok(())
}

impl State {
    /// Whether this enrolment would be taken now: asked before a certificate is signed.
    ///
    /// # Errors
    /// Everything that [`State::enrol`] refuses.
    pub fn check_enrolment(&self, enrolment: &Enrolment, now: Timestamp) -> Result<(), Refusal> {
        check_labels(&enrolment.labels)?;
        check_address(&enrolment.address)?;
        let token = self.usable_token(&enrolment.claim, &enrolment.host, now)?;
        if let Some(host) = self.hosts.get(&enrolment.host) {
            let for_this_host = self.tokens.get(&token).is_some_and(|token| token.host.is_some());
            if host.online.is_some() || !for_this_host {
                return Err(Refusal::HostExists(enrolment.host.clone()));
            }
        }
        Ok(())
    }

    /// Takes a host into the fleet, or gives an offline host of the same name a new certificate (the token must be
    /// for that name). Uses the token up in the same commit. What the host should run stays as it was.
    ///
    /// # Errors
    /// A token that is not good, a name that is taken, labels or an address that are none.
    pub fn enrol(
        &mut self,
        enrolment: Enrolment,
        serial: String,
        certificate_expires: Timestamp,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        self.check_enrolment(&enrolment, now)?;
        let id = self.usable_token(&enrolment.claim, &enrolment.host, now)?;
        if let Some(token) = self.tokens.get_mut(&id) {
            token.used_by = Some(enrolment.host.clone());
            effects.put(Keyspace::Tokens, id.to_string().into_bytes(), token)?;
        }
        let revision = self.hosts.get(&enrolment.host).map_or(0, |host| host.record.revision);
        let record = HostRecord {
            address: enrolment.address,
            labels: enrolment.labels,
            cordoned: self.hosts.get(&enrolment.host).is_some_and(|host| host.record.cordoned),
            serial,
            certificate_expires,
            enrolled: now,
            revision: revision + 1,
            agent_version: enrolment.agent_version.chars().take(64).collect(),
            kernel: String::new(),
            boot_id: String::new(),
            last_contact: now,
            certificate_issued: now,
            renewed: None,
            former_serial: String::new(),
            clone: None,
        };
        effects.put(Keyspace::Hosts, enrolment.host.as_str().as_bytes().to_vec(), &record)?;
        effects.events.push(Event::new(EventKind::HostEnrolled, now).host(&enrolment.host));
        match self.hosts.entry(enrolment.host) {
            std::collections::btree_map::Entry::Occupied(mut host) => {
                host.get_mut().record = record;
                host.get_mut().report = None;
            }
            std::collections::btree_map::Entry::Vacant(vacant) => {
                vacant.insert(Host::new(record, BTreeMap::new()));
            }
        }
        effects.changed = true;
        Ok(())
    }

    /// Changes labels and cordon. A host that matches a service now is brought to its current release.
    ///
    /// # Errors
    /// An unknown host, or labels that are none.
    pub fn update_host(
        &mut self,
        name: &HostName,
        change: &HostChange,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let host = self.hosts.get_mut(name).ok_or_else(|| Refusal::NoHost(name.clone()))?;
        let mut labels = host.record.labels.clone();
        labels.retain(|key, _| !change.remove.contains(key));
        labels.extend(change.set.clone());
        check_labels(&labels)?;
        let relabelled = labels != host.record.labels;
        host.record.labels = labels;
        host.record.cordoned = change.cordoned.unwrap_or(host.record.cordoned);
        if change.acknowledge_clone {
            host.record.clone = None;
        }
        if relabelled {
            host.record.revision += 1;
            effects.targets.insert(name.clone());
        }
        effects.put(Keyspace::Hosts, name.as_str().as_bytes().to_vec(), &host.record)?;
        effects.changed = true;
        self.catch_up_host(name, now, effects)
    }

    /// Takes a host out of the fleet: its certificate is worth nothing any more, deployments go on without it.
    /// What runs there goes on running: the agent is told, nothing is stopped.
    ///
    /// # Errors
    /// An unknown host; without `force` one that is online or in a deployment.
    pub fn remove_host(
        &mut self,
        name: &HostName,
        force: bool,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let host = self.hosts.get(name).ok_or_else(|| Refusal::NoHost(name.clone()))?;
        let busy = if host.online.is_some() {
            Some("is online".to_owned())
        } else {
            self.deployment_of_host(name).map(|id| format!("is in deployment {id}"))
        };
        if let (Some(why), false) = (busy, force) {
            return Err(Refusal::HostBusy { host: name.clone(), why });
        }
        self.host_left(name, now, effects)?;
        if let Some(host) = self.hosts.remove(name) {
            for service in host.assignments.keys() {
                effects.delete(Keyspace::Assignments, assignment_key(name, service));
            }
            for service in host.migrations.keys() {
                effects.delete(Keyspace::Migrations, assignment_key(name, service));
            }
        }
        effects.delete(Keyspace::Hosts, name.as_str().as_bytes().to_vec());
        effects.targets.remove(name);
        effects.end_sessions.insert(name.clone(), Refusal::HostRemoved(name.clone()));
        effects.changed = true;
        effects.events.push(Event::new(EventKind::HostRemoved, now).host(name));
        Ok(())
    }

    /// Writes down what a host should run of a service, and counts its target up. `confirm`: the flip to it has to be
    /// confirmed so soon.
    pub(super) fn assign(
        &mut self,
        name: &HostName,
        service: &ServiceName,
        assignment: Assignment,
        confirm: Option<Duration>,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let Some(host) = self.hosts.get_mut(name) else { return Ok(()) };
        let key = assignment_key(name, service);
        if assignment.0.is_empty() {
            if host.assignments.remove(service).is_none() {
                return Ok(());
            }
            effects.delete(Keyspace::Assignments, key);
        } else {
            let before = host.assignments.get(service);
            // What was confirmed once, or is being, is so for as long as the order stands.
            if before.is_some_and(|before| before.assignment == assignment) {
                return Ok(());
            }
            let held = before.is_some_and(|before| before.held);
            let confirm = confirm.map(|within| Confirm { within, revision: host.record.revision + 1 });
            let record = AssignmentRecord { assignment, held, confirm };
            effects.put(Keyspace::Assignments, key, &record)?;
            host.assignments.insert(service.clone(), record);
        }
        host.record.revision += 1;
        effects.put(Keyspace::Hosts, name.as_str().as_bytes().to_vec(), &host.record)?;
        effects.targets.insert(name.clone());
        effects.changed = true;
        let record = host.assignments.get(service);
        let shown = record.into_iter().flat_map(|record| &record.assignment.0);
        let shown = shown.filter(|placement| !placement.share.is_hidden());
        let served: Vec<ReleaseRef> = shown.map(|placement| placement.release.clone()).collect();
        served.iter().try_for_each(|release| self.note_served(release, effects))
    }

    /// Everything that a host should run.
    ///
    /// # Errors
    /// When a placement names a release that is not known: the store is not whole.
    pub fn target(&self, name: &HostName) -> Result<Target, Refusal> {
        let host = self.hosts.get(name).ok_or_else(|| Refusal::NoHost(name.clone()))?;
        let mut services = BTreeMap::new();
        for (service, record) in &host.assignments {
            let mut instances = Vec::new();
            for placement in &record.assignment.0 {
                let release = self.release(&placement.release)?;
                instances.push(InstanceTarget {
                    instance: placement.instance.clone(),
                    release: release.release.clone(),
                    share: placement.share,
                });
            }
            services.insert(service.clone(), ServiceTarget { instances, confirm: record.confirm });
        }
        Ok(Target {
            revision: host.record.revision,
            host: values(name, host),
            services,
            keep: host.assignments.keys().flat_map(|service| self.rollback_bundles(service)).collect(),
            migrations: self.migration_targets(host)?,
        })
    }

    /// The bundles that a service's hosts keep: of its current release and of the one that a rollback goes to.
    fn rollback_bundles(&self, service: &ServiceName) -> impl Iterator<Item = Digest> {
        let versions =
            self.services.get(service).into_iter().flat_map(|s| s.current.iter().chain(s.history.last()));
        versions.filter_map(move |version| {
            let name = ReleaseRef { service: service.clone(), version: version.clone() };
            self.releases.get(&name).map(|release| release.release.bundle.digest)
        })
    }

    /// Whether a host's target names this bundle.
    ///
    /// # Errors
    /// When the host is not enrolled with that certificate, or the bundle is none of its own.
    pub fn may_fetch(&self, name: &HostName, serial: &str, digest: Digest) -> Result<(), Refusal> {
        let host = self.host_in_session(name, serial)?;
        let run = host.assignments.values().flat_map(|record| &record.assignment.0);
        let releases = run.map(|placement| &placement.release);
        let migrated = host.migrations.values().map(|migration| &migration.release);
        let named = releases.chain(migrated).any(|release| {
            self.releases.get(release).is_some_and(|release| release.release.bundle.digest == digest)
        });
        if named {
            Ok(())
        } else {
            Err(Refusal::NotYourHost { host: name.clone(), digest: digest.to_string() })
        }
    }

    /// Whether the certificate with this serial number is one that the host may come with, or its session came with.
    ///
    /// # Errors
    /// When it is not.
    pub fn is_enrolled(&self, name: &HostName, serial: &str) -> Result<(), Refusal> {
        self.host_in_session(name, serial).map(drop)
    }
}

/// What manifests may ask of a host.
pub(super) fn values(name: &HostName, host: &Host) -> HostValues {
    HostValues {
        name: name.clone(),
        address: host.record.address.clone(),
        labels: host.record.labels.clone(),
    }
}
