//! The canary strategy: a small part of the connections, of the hosts, or of both, and more of them step by step.

use crate::{BatchSize, Judged, Plan, PlanError, PlanRequest, Stage};
use handover_model::{Duration, Share};

/// A step of a canary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CanaryStep {
    /// On so many hosts; never on fewer than in the step before.
    pub hosts: BatchSize,
    /// So much of their new connections.
    pub share: Share,
    /// How long the step must stay healthy.
    pub bake: Duration,
    /// What is asked of a judge then; means nothing where no host keeps the old release.
    pub judged: Option<Judged>,
    /// Whether a person has to promote it then.
    pub approval: bool,
}

/// Makes the plan of a canary deployment. After the last of the steps, which may be less than that, every host gets all.
/// Hosts without a former release to compare with have their turn last; where no host has one, that is all there is.
///
/// # Errors
/// When there is no step, no host is chosen, when one asked for by name is not, or when every chosen host is left out.
pub fn canary(request: &PlanRequest, steps: &[CanaryStep]) -> Result<Plan, PlanError> {
    let chosen = request.choose()?;
    let hosts: Vec<_> = chosen.hosts.iter().map(|host| host.planned()).collect();
    let compared: Vec<_> = hosts.iter().filter(|host| host.from.is_some()).cloned().collect();
    let everything =
        |step: &CanaryStep| step.share == Share::ALL && step.hosts.of(compared.len()) == compared.len();
    let bake = steps.last().ok_or(PlanError::Empty { stage: 0 })?.bake;
    let before = steps.iter().take_while(|step| !everything(step) && !compared.is_empty());
    let mut most = 1;
    let mut stages: Vec<_> = before
        .map(|step| {
            most = step.hosts.of(compared.len()).max(most);
            let stage =
                Stage::plain(compared.iter().take(most).cloned().collect(), step.share, step.bake, false);
            Stage { judged: step.judged, approval: step.approval, ..stage }
        })
        .collect();
    let last = steps.iter().find(|step| everything(step));
    let all = Stage::plain(hosts, Share::ALL, last.map_or(bake, |step| step.bake), true);
    stages.push(Stage { approval: last.is_some_and(|step| step.approval), ..all });
    request.plan(chosen, stages, BatchSize::Percent(100))
}
