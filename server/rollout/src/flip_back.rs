//! Going back to a release that stands by: one flip, on all hosts in one step, and nothing is waited for afterwards.

use crate::{BatchSize, Plan, PlanError, PlanRequest, Stage};
use handover_model::{Duration, Share};

/// Makes the plan of a rollback. Where the release stands by, nothing is started; elsewhere it is started first, and the
/// other hosts do not wait for that.
///
/// # Errors
/// When no host is chosen, when one asked for by name is not, or when every chosen host is left out.
pub fn flip_back(request: &PlanRequest) -> Result<Plan, PlanError> {
    let chosen = request.choose()?;
    let hosts = chosen.hosts.iter().map(|host| host.planned_warm(&request.release)).collect();
    let stage = Stage { at_once: true, ..Stage::plain(hosts, Share::ALL, Duration::ZERO, true) };
    request.plan(chosen, vec![stage], BatchSize::Percent(100))
}
