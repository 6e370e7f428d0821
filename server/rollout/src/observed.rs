//! What the hosts said last: hints, never part of what is durable.

use crate::Verdict;
use handover_model::{HostName, InstanceId, InstanceReport, MigrationState};
use std::collections::{BTreeMap, BTreeSet};

/// The last reports and sessions, by host.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observed {
    hosts: BTreeMap<HostName, Seen>,
    /// Hosts of the current stage that bake and whose last report does not show that all is well.
    pub(crate) unconfirmed: BTreeSet<HostName>,
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
    /// Whether the report is about the order that stands now.
    pub(crate) current: bool,
    pub(crate) instances: BTreeMap<InstanceId, InstanceReport>,
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

    pub(crate) fn session(&mut self, host: &HostName, online: bool) {
        self.hosts.entry(host.clone()).or_default().online = Some(online);
    }

    pub(crate) fn report(
        &mut self,
        host: &HostName,
        current: bool,
        instances: BTreeMap<InstanceId, InstanceReport>,
    ) {
        let seen = self.hosts.entry(host.clone()).or_default();
        *seen = Seen { online: Some(true), current, instances };
    }

    /// The order changed: what was reported is about the one before.
    pub(crate) fn outdate(&mut self, host: &HostName) {
        if let Some(seen) = self.hosts.get_mut(host) {
            seen.current = false;
        }
    }

    pub(crate) fn forget(&mut self, host: &HostName) {
        self.hosts.remove(host);
    }
}
