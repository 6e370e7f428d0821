//! Looking at the fleet without changing anything.

use super::{
    deployments::Live,
    records::{DeploymentRecord, ServiceRecord},
    refusal::Refusal,
    state::{Host, State},
};
use crate::metrics::Counts;
use handover_model::{DeploymentId, HostName, InstanceId, ReleaseRef, ServiceName, Version};
use handover_rollout::DeploymentState;
use std::collections::{BTreeMap, BTreeSet};

impl State {
    /// Every host, by name.
    pub fn hosts(&self) -> impl Iterator<Item = (&HostName, &Host)> {
        self.hosts.iter()
    }

    /// One host.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn host(&self, name: &HostName) -> Result<&Host, Refusal> {
        self.hosts.get(name).ok_or_else(|| Refusal::NoHost(name.clone()))
    }

    /// How many there are of everything that is counted.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts {
            hosts: self.hosts.len(),
            connected: self.hosts.values().filter(|host| host.online.is_some()).count(),
            ..Counts::default()
        };
        for live in self.live.values() {
            match live.engine.state() {
                DeploymentState::Planning | DeploymentState::Running { .. } => counts.running += 1,
                DeploymentState::Paused { .. } => counts.paused += 1,
                DeploymentState::RollingBack { .. } => counts.rolling_back += 1,
                DeploymentState::Ended { .. } => {}
            }
        }
        counts
    }

    /// Every service, by name.
    pub fn services(&self) -> impl Iterator<Item = (&ServiceName, &ServiceRecord)> {
        self.services.iter()
    }

    /// One service.
    #[must_use]
    pub fn service(&self, name: &ServiceName) -> Option<&ServiceRecord> {
        self.services.get(name)
    }

    /// The hosts that a service runs on, or should: those that the current release chooses (before there is one, the
    /// newest), and those that run it although they are not chosen any more.
    pub fn hosts_of(&self, service: &ServiceName) -> impl Iterator<Item = (&HostName, &Host)> {
        let current = self.services.get(service).and_then(|record| record.current.clone());
        let newest = || self.list_releases(Some(service)).first().map(|release| &release.record.hosts);
        let asked = current
            .and_then(|version| self.releases.get(&ReleaseRef { service: service.clone(), version }))
            .map(|release| &release.record.hosts)
            .or_else(newest);
        self.hosts.iter().filter(move |(_, host)| {
            host.assignments.contains_key(service)
                || asked.is_some_and(|asked| Self::chosen(asked, &host.record.labels))
        })
    }

    /// The hosts of a service, and those that run it without being asked to.
    pub fn hosts_with_instances(&self, service: &ServiceName) -> BTreeSet<HostName> {
        let runs = |host: &Host| {
            host.report.iter().flat_map(|report| report.instances.values()).any(|i| i.service == *service)
        };
        let running = self.hosts.iter().filter(|(_, host)| runs(host)).map(|(name, _)| name.clone());
        self.hosts_of(service).map(|(name, _)| name.clone()).chain(running).collect()
    }

    /// Which release the instances of a service run or ran, as far as deployments that are remembered and reports
    /// tell.
    #[must_use]
    pub fn instances_of(&self, service: &ServiceName) -> BTreeMap<InstanceId, Version> {
        let mut found = BTreeMap::new();
        for (id, record) in &self.deployments {
            if record.release.service == *service
                && let Ok(instance) = format!("{service}-{id}").parse()
            {
                found.insert(instance, record.release.version.clone());
            }
        }
        for host in self.hosts.values() {
            let assigned = host.assignments.get(service).into_iter().flat_map(|record| &record.assignment.0);
            found.extend(assigned.map(|p| (p.instance.clone(), p.release.version.clone())));
            let reported = host.report.iter().flat_map(|report| &report.instances);
            let of_it = reported.filter(|(_, instance)| instance.service == *service);
            found.extend(of_it.map(|(id, instance)| (id.clone(), instance.release.version.clone())));
        }
        found
    }

    /// The deployment of a service that goes on.
    #[must_use]
    pub fn active_deployment(&self, service: &ServiceName) -> Option<DeploymentId> {
        self.live_of(service).map(|(id, _)| id)
    }

    /// The number of a service's newest deployment.
    ///
    /// # Errors
    /// When it never had one.
    pub fn newest_deployment(&self, service: &ServiceName) -> Result<DeploymentId, Refusal> {
        let newest = self.deployments.iter().rev().find(|(_, record)| record.release.service == *service);
        newest.map(|(id, _)| *id).ok_or_else(|| Refusal::NoDeployment(format!("of service {service}")))
    }

    /// A deployment, and its engine where that is in memory.
    ///
    /// # Errors
    /// When there is none of that number.
    pub fn deployment(&self, id: DeploymentId) -> Result<(&DeploymentRecord, Option<&Live>), Refusal> {
        let record = self.deployments.get(&id).ok_or_else(|| Refusal::NoDeployment(id.to_string()))?;
        Ok((record, self.live.get(&id).or_else(|| self.finals.get(&id))))
    }

    /// Deployments, of one service or all, the newest first.
    pub fn deployments(
        &self,
        service: Option<ServiceName>,
    ) -> impl Iterator<Item = (DeploymentId, &DeploymentRecord, Option<&Live>)> {
        self.deployments
            .iter()
            .rev()
            .filter(move |(_, record)| {
                service.as_ref().is_none_or(|service| record.release.service == *service)
            })
            .map(|(id, record)| (*id, record, self.live.get(id).or_else(|| self.finals.get(id))))
    }
}
