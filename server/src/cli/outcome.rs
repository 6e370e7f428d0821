//! How a deployment ended, for people and as an exit code.

use super::{canary, exit, time};
use handover_proto::v1::{Deployment, DeploymentState};

/// The exit code of a deployment that ended or waits; `None` while it goes on.
pub(super) fn exit_of(deployment: &Deployment) -> Option<exit::Exit> {
    match deployment.state() {
        DeploymentState::Unspecified | DeploymentState::Running | DeploymentState::RollingBack => None,
        DeploymentState::Paused | DeploymentState::WaitsForPromotion => Some(exit::WAITS),
        DeploymentState::Succeeded => Some(exit::DONE),
        DeploymentState::RolledBack => Some(exit::ROLLED_BACK),
        DeploymentState::NeedsPerson => Some(exit::NEEDS_PERSON),
    }
}

/// The state in a word.
pub(super) fn state(deployment: &Deployment) -> &'static str {
    match deployment.state() {
        DeploymentState::Unspecified => "unknown",
        DeploymentState::Running => "running",
        DeploymentState::Paused => "paused",
        DeploymentState::WaitsForPromotion => "waits to be promoted",
        DeploymentState::RollingBack => "rolling back",
        DeploymentState::Succeeded => "succeeded",
        DeploymentState::RolledBack => "rolled back",
        DeploymentState::NeedsPerson => "needs a person",
    }
}

/// What a person should read at the end: the outcome, each host that is not where it should be, what was cut.
pub(super) fn summary(deployment: &Deployment) -> Vec<String> {
    let mut lines = Vec::new();
    let took = match deployment.ended_unix_millis {
        0 => String::new(),
        ended => format!(" after {}", time::span(ended.saturating_sub(deployment.created_unix_millis))),
    };
    let reason =
        if deployment.reason.is_empty() { String::new() } else { format!(": {}", deployment.reason) };
    lines.push(format!(
        "d{} {} {}: {}{took}{reason}",
        deployment.id,
        deployment.service,
        deployment.version,
        state(deployment)
    ));
    for host in deployment.hosts.iter().filter(|host| !host.reason.is_empty()) {
        lines.push(format!("  host {} ({}): {}", host.host, host.state, host.reason));
    }
    let hit = deployment.canary.as_ref().and_then(canary::share_hit);
    lines.extend(hit.map(|line| format!("  {line}")));
    lines.push(format!("  {}", ledger(deployment)));
    if matches!(deployment.state(), DeploymentState::Paused | DeploymentState::WaitsForPromotion) {
        let then = deployment.waiting.as_ref().map(|wait| wait.then.as_str()).unwrap_or_default();
        lines.push(format!("  it waits for a person; {then}"));
    }
    lines
}

/// What became of the connections of the instances that were taken out. A measured zero is said as one.
fn ledger(deployment: &Deployment) -> String {
    let ledgers: Vec<_> = deployment.hosts.iter().filter_map(|host| host.ledger.as_ref()).collect();
    if ledgers.is_empty() {
        return "connections: no instance was drained".to_owned();
    }
    let sum =
        |field: fn(&handover_proto::v1::DrainLedger) -> u64| ledgers.iter().map(|l| field(l)).sum::<u64>();
    let killed = ledgers.iter().filter(|ledger| ledger.killed).count();
    format!(
        "connections: {} open when {} instances were told to drain, {} cut at the deadline, {} reset in a queue; {killed} instances killed",
        sum(|l| l.connections),
        ledgers.len(),
        sum(|l| l.force_closed),
        sum(|l| l.reset)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_has_its_exit_code() {
        let code =
            |state: DeploymentState| exit_of(&Deployment { state: state.into(), ..Deployment::default() });
        assert_eq!(code(DeploymentState::Running), None);
        assert_eq!(code(DeploymentState::RollingBack), None);
        assert_eq!(code(DeploymentState::Succeeded), Some(exit::DONE));
        assert_eq!(code(DeploymentState::RolledBack), Some(exit::ROLLED_BACK));
        assert_eq!(code(DeploymentState::Paused), Some(exit::WAITS));
        assert_eq!(code(DeploymentState::WaitsForPromotion), Some(exit::WAITS));
        assert_eq!(code(DeploymentState::NeedsPerson), Some(exit::NEEDS_PERSON));
    }
}
