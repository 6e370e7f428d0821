//! What the hosts said last: hints, never part of what is durable.

use crate::{Moment, Verdict};
use handover_model::{ConfirmationState, HostName, InstanceId, InstanceReport, MigrationState, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// The last reports and sessions, by host.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observed {
    hosts: BTreeMap<HostName, Seen>,
    /// Hosts of the current stage that bake and whose last report does not show that all is well.
    pub(crate) unconfirmed: BTreeSet<HostName>,
    /// When each host of the current stage flipped, as far as it is known, with when that was ordered.
    pub(crate) moments: BTreeMap<HostName, (Timestamp, Moment)>,
    /// What the judge said last of the current stage.
    pub(crate) verdict: Option<Verdict>,
    /// What was said last of the current stage's present attempt to migrate.
    pub(crate) migration: Option<MigrationState>,
    /// Whether the records were replayed and no event came since.
    pub(crate) after_restart: bool,
}

/// What is known of one host.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) online: Option<bool>,
    /// When its session ended, where it has none.
    pub(crate) gone_at: Option<Timestamp>,
    /// Whether the report is about the order that stands now.
    pub(crate) current: bool,
    pub(crate) instances: BTreeMap<InstanceId, InstanceReport>,
    /// What became of the confirmation of its flip to the order that stands.
    pub(crate) confirmation: Option<ConfirmationState>,
}

impl Observed {
    pub(crate) fn seen(&self, host: &HostName) -> Option<&Seen> {
        self.hosts.get(host)
    }

    pub(crate) fn online(&self, host: &HostName) -> Option<bool> {
        self.seen(host)?.online
    }

    pub(crate) fn instance(&self, host: &HostName, instance: &InstanceId) -> Option<&InstanceReport> {
        self.seen(host)?.instances.get(instance)
    }

    pub(crate) fn entry(
        &self,
        host: &HostName,
        instance: &InstanceId,
    ) -> Option<(&InstanceId, &InstanceReport)> {
        self.seen(host)?.instances.get_key_value(instance)
    }

    pub(crate) fn session(&mut self, host: &HostName, online: bool, now: Timestamp) {
        let seen = self.hosts.entry(host.clone()).or_default();
        seen.online = Some(online);
        seen.gone_at = if online { None } else { seen.gone_at.or(Some(now)) };
    }

    pub(crate) fn report(
        &mut self,
        host: &HostName,
        current: bool,
        instances: BTreeMap<InstanceId, InstanceReport>,
        confirmation: Option<ConfirmationState>,
    ) {
        let seen = self.hosts.entry(host.clone()).or_default();
        *seen = Seen { online: Some(true), gone_at: None, current, instances, confirmation };
    }

    /// The order changed: what was reported is about the one before.
    pub(crate) fn outdate(&mut self, host: &HostName) {
        if let Some(seen) = self.hosts.get_mut(host) {
            seen.current = false;
            seen.confirmation = None;
        }
    }

    /// When a host flipped, which was ordered then: of two such moments the one that is known better.
    pub(crate) fn flipped(&mut self, host: &HostName, ordered: Timestamp, moment: Moment) {
        let known = self
            .moments
            .get(host)
            .is_some_and(|(before, known)| *before == ordered && known.width() <= moment.width());
        if !known {
            self.moments.insert(host.clone(), (ordered, moment));
        }
    }

    pub(crate) fn forget(&mut self, host: &HostName) {
        self.hosts.remove(host);
        self.moments.remove(host);
    }
}
