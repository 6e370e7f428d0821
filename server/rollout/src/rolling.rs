//! The rolling strategy: batch after batch, each host fully.

use crate::{BatchSize, FleetHost, Plan, PlanError, PlanRequest, Stage};
use handover_model::{Duration, Share};

/// What a rolling deployment is asked besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rolling {
    /// Hosts of a batch. No batch mixes two values of [`PlanRequest::order_by`].
    pub batch: BatchSize,
    /// How long each batch must stay healthy.
    pub bake: Duration,
}

/// Makes the plan of a rolling deployment.
///
/// # Errors
/// When no host is chosen, when one asked for by name is not, or when every chosen host is left out.
pub fn rolling(request: &PlanRequest, rolling: Rolling) -> Result<Plan, PlanError> {
    let chosen = request.choose()?;
    let size = rolling.batch.of(chosen.hosts.len());
    let stage = |hosts: &[&FleetHost]| {
        Stage::plain(hosts.iter().map(|host| host.planned()).collect(), Share::ALL, rolling.bake, true)
    };
    let zones = chosen.hosts.chunk_by(|a, b| request.group(a) == request.group(b));
    let stages = zones.flat_map(|zone| zone.chunks(size)).map(stage).collect();
    request.plan(chosen, stages, rolling.batch)
}
