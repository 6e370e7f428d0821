//! Sessions as the fleet sees them: a host comes, reports, goes.

use super::{
    effects::Effects,
    refusal::Refusal,
    state::{Host, Online, State},
};
use crate::{
    events::{self, Event, EventKind},
    store::Keyspace,
};
use handover_model::{
    Confirmation, ConfirmationState, HostFacts, HostName, HostReport, Measurement, Room, ServiceName,
    Timestamp,
};
use handover_rollout::Moment;
use std::collections::BTreeMap;

/// A host whose disk is full now and then is not brought up to date for it more often than that.
const ROOM_RETRY: std::time::Duration = std::time::Duration::from_secs(600);

/// What an agent says of itself first.
#[derive(Clone, Debug, Default)]
pub struct Introduction {
    /// Its version.
    pub version: String,
    /// Its machine's boot.
    pub boot_id: String,
    /// Its kernel.
    pub kernel: String,
    /// Where the host's services are reached; empty: as before.
    pub address: String,
    /// Its name for this run of itself.
    pub session_id: String,
    /// Set where its version differs by a minor release.
    pub skew: String,
    /// The revision of the target that it holds.
    pub revision: u64,
    /// Its machine's boot and its state folder; empty where it does not say.
    pub place: String,
    /// Where it connects from.
    pub from: String,
    /// What it says of its host.
    pub facts: Option<HostFacts>,
}

impl State {
    /// A session begins. An older one from the same place is ended: the newest counts. Returns the session's number.
    ///
    /// # Errors
    /// When the host is not enrolled with this certificate, or has its session in another place.
    pub fn open_session(
        &mut self,
        name: &HostName,
        serial: &str,
        introduction: Introduction,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<u64, Refusal> {
        self.admit(name, serial, &introduction, now)?;
        self.host_with(name, serial)?;
        super::hosts::check_address(&introduction.address)?;
        self.last_session += 1;
        let session = self.last_session;
        let Some(host) = self.hosts.get_mut(name) else { return Err(Refusal::HostRemoved(name.clone())) };
        let text = |text: &str| -> String { text.chars().take(128).collect() };
        let mut record = host.record.clone();
        record.agent_version = text(&introduction.version);
        record.kernel = text(&introduction.kernel);
        record.boot_id = text(&introduction.boot_id);
        super::renewal::seen_with(&mut record, serial);
        if !introduction.address.is_empty() && introduction.address != record.address {
            record.address = introduction.address;
            record.revision += 1;
        }
        // The host was removed and enrolled anew, or the store is an older copy: the agent refuses older targets.
        if introduction.revision > record.revision {
            record.revision = introduction.revision.saturating_add(1);
        }
        if record != host.record {
            record.last_contact = now;
            effects.put(Keyspace::Hosts, name.as_str().as_bytes().to_vec(), &record)?;
            host.record = record;
        }
        host.online = Some(Online {
            session,
            session_id: text(&introduction.session_id),
            skew: introduction.skew,
            place: text(&introduction.place),
            from: text(&introduction.from),
            serial: serial.to_owned(),
        });
        host.moments.clear();
        host.facts = introduction.facts.map(|facts| ahead(facts, now));
        host.seen = true;
        host.last_contact = now;
        host.target_refused.clear();
        host.tried.clear();
        effects.targets.insert(name.clone());
        effects.changed = true;
        let version = format!("agent {}", host.record.agent_version);
        effects.events.push(Event::new(EventKind::HostConnected, now).host(name).text(&version));
        self.host_came(name, now, effects)?;
        self.catch_up_host(name, now, effects)?;
        Ok(session)
    }

    /// A session is over. Nothing happens where a newer one took its place.
    ///
    /// # Errors
    /// When the deployment cannot go on with that.
    pub fn close_session(
        &mut self,
        name: &HostName,
        session: u64,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let Some(host) = self.in_session(name, session) else { return Ok(()) };
        host.online = None;
        host.last_contact = now;
        host.record.last_contact = now;
        effects.put(Keyspace::Hosts, name.as_str().as_bytes().to_vec(), &host.record)?;
        effects.changed = true;
        effects.events.push(Event::new(EventKind::HostDisconnected, now).host(name));
        self.host_went(name, now, effects)
    }

    /// A host says what it runs. A session that was replaced says nothing any more.
    ///
    /// # Errors
    /// When the deployment cannot go on with that.
    pub fn report(
        &mut self,
        name: &HostName,
        session: u64,
        report: HostReport,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let Some(host) = self.in_session(name, session) else { return Ok(()) };
        host.last_contact = now;
        if host.report.as_ref() != Some(&report) {
            effects.changed = true;
        }
        if let Some(before) = &host.report {
            effects.events.extend(events::instances(name, before, &report, now));
        }
        if report.revision == host.record.revision {
            host.target_refused.clear();
        }
        host.report = Some(report);
        self.host_reported(name, now, effects)?;
        self.confirm_flips(name, effects);
        Ok(())
    }

    /// When a host made the flips of the report that comes next.
    pub fn flipped(&mut self, name: &HostName, session: u64, moments: BTreeMap<ServiceName, Moment>) {
        if let Some(host) = self.in_session(name, session) {
            host.moments = moments;
        }
    }

    /// Flips whose confirmation a host waits for, and which are still ordered: that they were told of confirms them.
    fn confirm_flips(&self, name: &HostName, effects: &mut Effects) {
        let Some(host) = self.hosts.get(name) else { return };
        let flips = host.report.iter().flat_map(|report| &report.flips);
        let confirmed = flips.filter_map(|(service, flip)| {
            let Confirmation { revision, state: ConfirmationState::Awaited { .. } } =
                flip.confirmation.as_ref()?
            else {
                return None;
            };
            let ordered = host.assignments.get(service)?.confirm?;
            (ordered.revision == *revision).then(|| (service.clone(), *revision))
        });
        let confirmed: BTreeMap<ServiceName, u64> = confirmed.collect();
        if !confirmed.is_empty() {
            effects.confirms.insert(name.clone(), confirmed);
        }
    }

    /// A host says what it is like. One that has room again is brought up to date: that may have failed for want of it.
    ///
    /// # Errors
    /// When the deployment that brings it up to date cannot be written.
    pub fn facts(
        &mut self,
        name: &HostName,
        session: u64,
        facts: HostFacts,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let Some(host) = self.in_session(name, session) else { return Ok(()) };
        host.last_contact = now;
        let wanted_room = host.facts.as_ref().is_some_and(|(before, _)| wants_room(before));
        let has_room = wanted_room && !wants_room(&facts);
        host.facts = Some(ahead(facts, now));
        effects.changed = true;
        if has_room && now.since(host.room_again) >= ROOM_RETRY {
            host.room_again = now;
            host.tried.clear();
            self.catch_up_host(name, now, effects)?;
        }
        Ok(())
    }

    /// A host says what its services did. What it should not run is not looked at, so that there is a bound.
    pub fn measured(
        &mut self,
        name: &HostName,
        session: u64,
        measured: BTreeMap<ServiceName, Measurement>,
        now: Timestamp,
    ) {
        let Some(host) = self.in_session(name, session) else { return };
        let mut services = Vec::new();
        for (service, measurement) in measured {
            if host.assignments.contains_key(&service) {
                services.push(service.clone());
                host.measured.insert(service, (now, measurement));
            }
        }
        for service in services {
            self.count_rehearsal(name, &service);
            self.is_measured(&service, now);
        }
    }

    /// The host, while that is its session: one that was replaced says nothing any more.
    fn in_session(&mut self, name: &HostName, session: u64) -> Option<&mut Host> {
        let host = self.hosts.get_mut(name)?;
        host.online.as_ref().is_some_and(|online| online.session == session).then_some(host)
    }

    /// A host was heard of without anything new.
    pub fn heard(&mut self, name: &HostName, session: u64, now: Timestamp) {
        if let Some(host) = self.hosts.get_mut(name)
            && host.online.as_ref().is_some_and(|online| online.session == session)
        {
            host.last_contact = now;
        }
    }

    /// A host will not work on its target.
    pub fn target_refused(
        &mut self,
        name: &HostName,
        session: u64,
        revision: u64,
        reason: &str,
        effects: &mut Effects,
    ) {
        if let Some(host) = self.hosts.get_mut(name)
            && host.online.as_ref().is_some_and(|online| online.session == session)
            && host.record.revision == revision
        {
            host.target_refused = reason.chars().filter(|c| !c.is_control()).take(500).collect();
            effects.changed = true;
            let event = Event::new(EventKind::TargetRefused, host.last_contact);
            effects.events.push(event.host(name).text(&host.target_refused));
        }
    }
}

/// Whether a release may have failed on the host for want of room.
fn wants_room(facts: &HostFacts) -> bool {
    facts.unwritten.is_some() || facts.disks.first().is_some_and(|state| state.room() != Room::Enough)
}

/// The facts, and by how many milliseconds the host's clock is ahead.
fn ahead(facts: HostFacts, now: Timestamp) -> (HostFacts, i64) {
    let signed = |moment: Timestamp| i64::try_from(moment.unix_millis()).unwrap_or(i64::MAX);
    let by = signed(facts.clock).saturating_sub(signed(now));
    (facts, by)
}
