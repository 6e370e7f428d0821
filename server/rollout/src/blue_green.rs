//! The blue-green strategy: everywhere beside the old release, hidden, until all are ready; then all flip in one step.

use crate::{BatchSize, Plan, PlanError, PlanRequest, Stage};
use handover_model::{Duration, Share};

/// What a blue-green deployment is asked besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlueGreen {
    /// How long the new release must stay healthy once it has everything.
    pub bake: Duration,
    /// Whether a person has to promote it before the flip.
    pub approval: bool,
}

/// Makes the plan of a blue-green deployment: nothing flips before every host is ready, but for the failures that are
/// allowed.
///
/// # Errors
/// When no host is chosen, when one asked for by name is not, or when every chosen host is left out.
pub fn blue_green(request: &PlanRequest, blue_green: BlueGreen) -> Result<Plan, PlanError> {
    let chosen = request.choose()?;
    let hosts: Vec<_> = chosen.hosts.iter().map(|host| host.planned()).collect();
    let hidden = Stage {
        approval: blue_green.approval,
        ..Stage::plain(hosts.clone(), Share::HIDDEN, Duration::ZERO, false)
    };
    let flip = Stage { at_once: true, ..Stage::plain(hosts, Share::ALL, blue_green.bake, true) };
    request.plan(chosen, vec![hidden, flip], BatchSize::Percent(100))
}
