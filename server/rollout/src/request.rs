//! What every strategy's plan is made from: the fleet as it is, the hosts that are meant, and what is allowed.

use crate::{OfflinePolicy, OnFailure, Placement, Plan, PlanError, PlannedHost, Policy, Stage};
use handover_model::{Duration, HostName, Labels, ReleaseRef, ServiceName, Share};
use std::collections::BTreeSet;

/// A number of hosts, absolute or relative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchSize {
    /// So many; 0 counts as 1.
    Hosts(u32),
    /// Percent of the hosts that are changed, rounded up, at least 1.
    Percent(u8),
}

impl BatchSize {
    /// How many of `hosts` that is: 1 to `hosts`, and 1 where there are none.
    #[must_use]
    pub fn of(self, hosts: usize) -> usize {
        let asked = match self {
            Self::Hosts(number) => usize::try_from(number).unwrap_or(usize::MAX),
            Self::Percent(percent) => hosts.saturating_mul(usize::from(percent)).div_ceil(100),
        };
        asked.min(hosts).max(1)
    }
}

/// A host of the fleet, as the server knows it when the plan is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetHost {
    /// Its name.
    pub host: HostName,
    /// Its labels.
    pub labels: Labels,
    /// Whether it gets no new deployments.
    pub cordoned: bool,
    /// Whether it has a session.
    pub online: bool,
    /// What it is ordered to run of this service: [`crate::Assignment::main`] of the order.
    pub runs: Option<Placement>,
    /// Whether its agent gave that up, as it said last: then the release does not run there, and another instance may.
    pub gave_up: bool,
    /// An instance of it that the host is ordered to keep beside that one, hidden.
    pub standby: Option<Placement>,
}

/// What is to be carried where, whatever the strategy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanRequest {
    /// Whose release.
    pub service: ServiceName,
    /// What is deployed.
    pub release: ReleaseRef,
    /// The labels that a host must have; empty: every host.
    pub labels: Labels,
    /// Only these of the chosen hosts; empty: all.
    pub only: BTreeSet<HostName>,
    /// The whole fleet, in any order.
    pub hosts: Vec<FleetHost>,
    /// The label by whose value hosts are ordered.
    pub order_by: Option<String>,
    /// Most hosts that start or shift at once; `None`: as many as the strategy changes together.
    pub max_in_flight: Option<BatchSize>,
    /// See [`Policy::failures_allowed`].
    pub failures_allowed: u32,
    /// See [`Policy::on_failure`].
    pub on_failure: OnFailure,
    /// See [`Policy::offline`].
    pub offline: OfflinePolicy,
    /// See [`Policy::ready_deadline`].
    pub ready_deadline: Duration,
    /// See [`Policy::flip_deadline`].
    pub flip_deadline: Duration,
    /// See [`Policy::retire_deadline`].
    pub retire_deadline: Duration,
    /// See [`Policy::keep_warm`].
    pub keep_warm: Duration,
    /// See [`Policy::confirm`].
    pub confirm: Duration,
    /// Also where the release runs already: it gets a new instance.
    pub force: bool,
}

/// The hosts of a plan, in their order, and those that it leaves out.
#[derive(Debug)]
pub(crate) struct Chosen<'a> {
    pub(crate) hosts: Vec<&'a FleetHost>,
    skipped: Vec<(HostName, String)>,
}

impl<'a> Chosen<'a> {
    /// This host alone; the others are no part of the plan.
    pub(crate) fn alone(host: &'a FleetHost) -> Self {
        Self { hosts: vec![host], skipped: Vec::new() }
    }
}

impl PlanRequest {
    /// The hosts that are to be changed: by the value of `order_by` (those without the label last), then by name.
    ///
    /// # Errors
    /// When no host is chosen, when one asked for by name is not, or when every chosen host is left out.
    pub(crate) fn choose(&self) -> Result<Chosen<'_>, PlanError> {
        let mut hosts = self.meant()?;
        let mut skipped = Vec::new();
        hosts.retain(|host| match self.reason_to_skip(host) {
            Some(reason) => {
                skipped.push((host.host.clone(), reason));
                false
            }
            None => true,
        });
        if hosts.is_empty() {
            return Err(PlanError::NothingToDo { release: self.release.clone(), skipped });
        }
        hosts.sort_by_cached_key(|host| {
            let group = self.group(host);
            (group.is_none(), group, host.host.clone())
        });
        Ok(Chosen { hosts, skipped })
    }

    /// The value of the label that hosts are ordered by.
    pub(crate) fn group(&self, host: &FleetHost) -> Option<String> {
        self.order_by.as_ref().and_then(|key| host.labels.get(key).cloned())
    }

    /// The plan of these stages, checked. `together`: as many hosts change at once where nothing else is said.
    ///
    /// # Errors
    /// What [`Plan::check`] finds.
    pub(crate) fn plan(
        &self,
        chosen: Chosen<'_>,
        stages: Vec<Stage>,
        together: BatchSize,
    ) -> Result<Plan, PlanError> {
        let in_flight = self.max_in_flight.unwrap_or(together).of(chosen.hosts.len());
        let plan = Plan {
            service: self.service.clone(),
            release: self.release.clone(),
            stages,
            policy: self.policy(in_flight),
            skipped: chosen.skipped,
        };
        plan.check()?;
        Ok(plan)
    }

    pub(crate) fn policy(&self, in_flight: usize) -> Policy {
        Policy {
            max_in_flight: u32::try_from(in_flight).unwrap_or(u32::MAX),
            failures_allowed: self.failures_allowed,
            on_failure: self.on_failure,
            offline: self.offline,
            ready_deadline: self.ready_deadline,
            flip_deadline: self.flip_deadline,
            retire_deadline: self.retire_deadline,
            keep_warm: self.keep_warm,
            confirm: self.confirm,
        }
    }

    /// The hosts that the labels choose, and of those the ones that were asked for.
    fn meant(&self) -> Result<Vec<&FleetHost>, PlanError> {
        let fits =
            |host: &&FleetHost| self.labels.iter().all(|(key, value)| host.labels.get(key) == Some(value));
        let mut chosen: Vec<_> = self.hosts.iter().filter(fits).collect();
        if chosen.is_empty() {
            return Err(PlanError::NoHosts {
                service: self.service.clone(),
                labels: self.labels.clone(),
                existing: self.hosts.len(),
            });
        }
        if self.only.is_empty() {
            return Ok(chosen);
        }
        let there: BTreeSet<_> = chosen.iter().map(|host| &host.host).collect();
        let missing: Vec<_> = self.only.iter().filter(|host| !there.contains(host)).cloned().collect();
        if !missing.is_empty() {
            return Err(PlanError::NotChosen {
                service: self.service.clone(),
                hosts: missing,
                labels: self.labels.clone(),
            });
        }
        chosen.retain(|host| self.only.contains(&host.host));
        Ok(chosen)
    }

    fn reason_to_skip(&self, host: &FleetHost) -> Option<String> {
        let there =
            host.runs.as_ref().is_some_and(|runs| runs.release == self.release && runs.share == Share::ALL);
        if host.cordoned {
            Some("cordoned".to_owned())
        } else if there && !host.gave_up && !self.force {
            Some("runs it already".to_owned())
        } else if !host.online && self.offline == OfflinePolicy::Skip {
            Some("offline".to_owned())
        } else {
            None
        }
    }
}

impl FleetHost {
    /// The host in a plan that starts the release there.
    pub(crate) fn planned(&self) -> PlannedHost {
        PlannedHost::new(self.host.clone(), self.runs.as_ref().map(|runs| runs.with(Share::ALL)))
    }

    /// The same in a plan that takes what stands by, where that is of the release.
    pub(crate) fn planned_warm(&self, release: &ReleaseRef) -> PlannedHost {
        PlannedHost { standby: self.warm(release).map(|standby| standby.instance.clone()), ..self.planned() }
    }

    /// The instance of the release that stands by.
    pub(crate) fn warm(&self, release: &ReleaseRef) -> Option<&Placement> {
        self.standby.as_ref().filter(|standby| standby.release == *release)
    }
}
