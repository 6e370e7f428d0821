//! How a deployment ended, for people and as an exit code.

use super::{canary, exit, rehearse, time};
use handover_model::Duration;
use handover_proto::v1::{Deployment, DeploymentState, FlipSkew};
use handover_rollout::Skew;

/// Stuck hosts that are named one by one.
const MOST_STUCK: usize = 8;

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
        // What stands in the first line is not said again.
        let said = deployment.reason.contains(&host.reason);
        let reason = if said { String::new() } else { format!(": {}", host.reason) };
        lines.push(format!("  host {} ({}){reason}", host.host, host.state));
    }
    lines.extend(deployment.flip_skews.iter().map(|skew| format!("  {}", flipped(skew))));
    let hit = deployment.canary.as_ref().and_then(canary::share_hit);
    lines.extend(hit.map(|line| format!("  {line}")));
    match &deployment.rehearsal {
        Some(rehearsal) => lines.extend(rehearse::showed(rehearsal).iter().map(|line| format!("  {line}"))),
        None => lines.push(format!("  {}", ledger_of(deployment))),
    }
    if matches!(deployment.state(), DeploymentState::Paused | DeploymentState::WaitsForPromotion) {
        let then = deployment.waiting.as_ref().map(|wait| wait.then.as_str()).unwrap_or_default();
        lines.push(format!("  it waits for a person; {then}"));
    }
    if deployment.state() == DeploymentState::NeedsPerson {
        lines.extend(what_to_do(deployment));
    }
    lines
}

/// What a person does where a rollback failed, too.
fn what_to_do(deployment: &Deployment) -> Vec<String> {
    let Deployment { id, service, version, .. } = deployment;
    let stuck: Vec<_> = deployment.hosts.iter().filter(|host| host.state == "stuck").collect();
    let mut lines: Vec<String> = stuck
        .iter()
        .take(MOST_STUCK)
        .map(|host| {
            let former = match host.from_version.as_str() {
                "" => format!("rid of {version}"),
                former => format!("brought back on {former}"),
            };
            let host = &host.host;
            format!(
                "  host {host} could not be {former}: `handover logs {service} --host {host}` may say why"
            )
        })
        .collect();
    if stuck.len() > MOST_STUCK {
        lines.push(format!(
            "  and {} hosts more; `handover status {service}` shows all",
            stuck.len() - MOST_STUCK
        ));
    }
    let back = stuck.iter().map(|host| host.from_version.as_str()).find(|former| !former.is_empty());
    let back =
        back.map(|former| format!("`handover deploy {service} --version {former}` goes back to {former}, "));
    lines.push(format!(
        "  a person is needed: `handover explain d{id}` tells what happened; once the cause is mended, {}`handover retry d{id}` tries {version} again",
        back.unwrap_or_default()
    ));
    lines
}

/// How far apart the hosts of a stage flipped.
fn flipped(skew: &FlipSkew) -> String {
    let FlipSkew { stage: _, hosts, first_to_last_nanos, give_or_take_nanos } = *skew;
    let first_to_last = Duration::from_nanos(first_to_last_nanos);
    Skew { hosts, first_to_last, give_or_take: Duration::from_nanos(give_or_take_nanos) }.to_string()
}

/// What became of the connections of the instances that were taken out. A measured zero is said as one.
fn ledger_of(deployment: &Deployment) -> String {
    let ledgers: Vec<_> = deployment.hosts.iter().filter_map(|host| host.ledger.as_ref()).collect();
    if ledgers.is_empty() {
        return "connections: no instance was drained".to_owned();
    }
    let sum =
        |field: fn(&handover_proto::v1::DrainLedger) -> u64| ledgers.iter().map(|l| field(l)).sum::<u64>();
    let killed = ledgers.iter().filter(|ledger| ledger.killed).count();
    let (drained, were) = (instances(ledgers.len()), if ledgers.len() == 1 { "was" } else { "were" });
    format!(
        "connections: {} open when {drained} {were} told to drain, {} cut at the deadline, {} reset in a queue; {} killed",
        sum(|l| l.connections),
        sum(|l| l.force_closed),
        sum(|l| l.reset),
        instances(killed)
    )
}

fn instances(count: usize) -> String {
    if count == 1 { "1 instance".to_owned() } else { format!("{count} instances") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use handover_proto::v1::{DeploymentHost, DrainLedger};

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

    fn host(name: &str, state: &str, reason: &str) -> DeploymentHost {
        DeploymentHost {
            host: name.into(),
            state: state.into(),
            reason: reason.into(),
            from_version: "v1".into(),
            ..DeploymentHost::default()
        }
    }

    #[test]
    fn where_a_rollback_failed_each_host_is_named_its_reason_said_once_and_what_to_do() {
        let deployment = Deployment {
            id: 2,
            service: "web".into(),
            version: "v2".into(),
            state: DeploymentState::NeedsPerson.into(),
            reason: "a is stuck (and 1 more): it exited with code 9".into(),
            hosts: vec![
                host("a", "stuck", "it exited with code 9"),
                host("b", "stuck", "the host is offline"),
                host("c", "returned", ""),
            ],
            ..Deployment::default()
        };
        assert_eq!(
            summary(&deployment),
            [
                "d2 web v2: needs a person: a is stuck (and 1 more): it exited with code 9",
                "  host a (stuck)",
                "  host b (stuck): the host is offline",
                "  connections: no instance was drained",
                "  host a could not be brought back on v1: `handover logs web --host a` may say why",
                "  host b could not be brought back on v1: `handover logs web --host b` may say why",
                "  a person is needed: `handover explain d2` tells what happened; once the cause is mended, \
                 `handover deploy web --version v1` goes back to v1, `handover retry d2` tries v2 again",
            ]
        );
    }

    #[test]
    fn of_one_instance_it_is_said_that_it_was_told_and_of_more_that_they_were() {
        let drained = |hosts: usize| {
            let ledger = Some(DrainLedger { connections: 4, killed: hosts == 1, ..DrainLedger::default() });
            let host = DeploymentHost { ledger, ..DeploymentHost::default() };
            ledger_of(&Deployment { hosts: vec![host; hosts], ..Deployment::default() })
        };
        let cut = "0 cut at the deadline, 0 reset in a queue";
        assert_eq!(
            drained(1),
            format!("connections: 4 open when 1 instance was told to drain, {cut}; 1 instance killed")
        );
        assert_eq!(
            drained(2),
            format!("connections: 8 open when 2 instances were told to drain, {cut}; 0 instances killed")
        );
    }
}
