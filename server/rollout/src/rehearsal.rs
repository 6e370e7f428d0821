//! There and back on one host: proves that a release can be taken, and that the way back works, under the live traffic.

use crate::{BatchSize, FleetHost, Plan, PlanError, PlanRequest, Stage};
use handover_model::{Duration, Share};

/// Makes the plan of a rehearsal: the first host that is online and has something to go back to gives the release all
/// connections for the time of `bake`, and goes back. Where the release stands by on a host, that one, and nothing is
/// started.
///
/// # Errors
/// When no host is chosen, when one asked for by name is not, or when none of the chosen can do it.
pub fn rehearsal(request: &PlanRequest, bake: Duration) -> Result<Plan, PlanError> {
    let chosen = request.choose()?.hosts;
    let fits = |host: &&FleetHost| host.online && host.runs.is_some() && !host.gave_up;
    let warm = |host: &&FleetHost| fits(host) && host.warm(&request.release).is_some();
    let first = chosen.iter().copied().find(warm).or_else(|| chosen.iter().copied().find(fits));
    let Some(host) = first else {
        let why = |host: &&FleetHost| {
            let why = if host.online { "runs nothing that it could go back to" } else { "offline" };
            why.to_owned()
        };
        let skipped = chosen.iter().map(|host| (host.host.clone(), why(host))).collect();
        return Err(PlanError::NothingToDo { release: request.release.clone(), skipped });
    };
    let hosts = vec![host.planned_warm(&request.release)];
    let stage = Stage { returns: true, ..Stage::plain(hosts, Share::ALL, bake, false) };
    request.plan(crate::request::Chosen::alone(host), vec![stage], BatchSize::Hosts(1))
}
