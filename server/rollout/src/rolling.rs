//! The rolling strategy: batch after batch, each host fully.

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
}

/// What a rolling plan is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RollingRequest {
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
    /// Hosts of a batch.
    pub batch: BatchSize,
    /// The label by whose value hosts are ordered and that no batch mixes.
    pub order_by: Option<String>,
    /// How long each batch must stay healthy.
    pub bake: Duration,
    /// Most hosts that start or shift at once; `None`: the batch.
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
    /// Also where the release runs already: it gets a new instance.
    pub force: bool,
}

/// Makes the plan of a rolling deployment.
///
/// Hosts are ordered by the value of `order_by` (those without the label last), then by name.
///
/// # Errors
/// When no host is chosen, when one asked for by name is not, or when every chosen host is left out.
pub fn rolling(request: &RollingRequest) -> Result<Plan, PlanError> {
    let mut chosen = choose(request)?;
    let mut skipped = Vec::new();
    chosen.retain(|host| match reason_to_skip(request, host) {
        Some(reason) => {
            skipped.push((host.host.clone(), reason));
            false
        }
        None => true,
    });
    if chosen.is_empty() {
        return Err(PlanError::NothingToDo { release: request.release.clone(), skipped });
    }
    let group = |host: &FleetHost| request.order_by.as_ref().and_then(|key| host.labels.get(key).cloned());
    chosen.sort_by_cached_key(|host| {
        let group = group(host);
        (group.is_none(), group, host.host.clone())
    });

    let size = request.batch.of(chosen.len());
    let stage = |hosts: &[&FleetHost]| Stage {
        hosts: hosts.iter().map(|host| planned(host)).collect(),
        share: Share::ALL,
        bake: request.bake,
        retire: true,
    };
    let stages =
        chosen.chunk_by(|a, b| group(a) == group(b)).flat_map(|zone| zone.chunks(size)).map(stage).collect();
    let in_flight = request.max_in_flight.unwrap_or(request.batch).of(chosen.len());
    let plan = Plan {
        service: request.service.clone(),
        release: request.release.clone(),
        stages,
        policy: Policy {
            max_in_flight: u32::try_from(in_flight).unwrap_or(u32::MAX),
            failures_allowed: request.failures_allowed,
            on_failure: request.on_failure,
            offline: request.offline,
            ready_deadline: request.ready_deadline,
            flip_deadline: request.flip_deadline,
            retire_deadline: request.retire_deadline,
        },
        skipped,
    };
    plan.check()?;
    Ok(plan)
}

/// The hosts that the labels choose, and of those the ones that were asked for.
fn choose(request: &RollingRequest) -> Result<Vec<&FleetHost>, PlanError> {
    let fits =
        |host: &&FleetHost| request.labels.iter().all(|(key, value)| host.labels.get(key) == Some(value));
    let mut chosen: Vec<_> = request.hosts.iter().filter(fits).collect();
    if chosen.is_empty() {
        return Err(PlanError::NoHosts {
            service: request.service.clone(),
            labels: request.labels.clone(),
            existing: request.hosts.len(),
        });
    }
    if request.only.is_empty() {
        return Ok(chosen);
    }
    let there: BTreeSet<_> = chosen.iter().map(|host| &host.host).collect();
    let missing: Vec<_> = request.only.iter().filter(|host| !there.contains(host)).cloned().collect();
    if !missing.is_empty() {
        return Err(PlanError::NotChosen {
            service: request.service.clone(),
            hosts: missing,
            labels: request.labels.clone(),
        });
    }
    chosen.retain(|host| request.only.contains(&host.host));
    Ok(chosen)
}

fn reason_to_skip(request: &RollingRequest, host: &FleetHost) -> Option<String> {
    let there =
        host.runs.as_ref().is_some_and(|runs| runs.release == request.release && runs.share == Share::ALL);
    if host.cordoned {
        Some("cordoned".to_owned())
    } else if there && !request.force {
        Some("runs it already".to_owned())
    } else if !host.online && request.offline == OfflinePolicy::Skip {
        Some("offline".to_owned())
    } else {
        None
    }
}

fn planned(host: &FleetHost) -> PlannedHost {
    PlannedHost { host: host.host.clone(), from: host.runs.as_ref().map(|runs| runs.with(Share::ALL)) }
}
