//! Deployments in the tree: stages, and hosts with what they wait for.

use super::{
    Detail, Node, Tone,
    instance::{instance_node, is_gone, share},
};
use crate::cli::{canary, exit, migrate, outcome, time::span, waits};
use handover_proto::v1::{Deployment, DeploymentHost, PlanMigration};
use std::collections::BTreeMap;

pub(super) fn deployment_node(deployment: &Deployment, now: u64, detail: Detail) -> Node {
    let over = deployment.hosts.iter().filter(|host| is_over(host)).count();
    let stages = deployment.plan.as_ref().map_or(0, |plan| plan.stages.len());
    let state = outcome::state(deployment);
    let text = format!(
        "d{} to {} by {}: {state}, stage {} of {stages}, {over} of {}",
        deployment.id,
        deployment.version,
        deployment.created_by,
        deployment.stage.saturating_add(1),
        hosts_of(deployment.hosts.len()),
    );
    let tone = match outcome::exit_of(deployment) {
        None => Tone::Moving,
        Some(code) if code == exit::DONE => Tone::Good,
        Some(code) if code == exit::WAITS => Tone::Waiting,
        Some(_) => Tone::Bad,
    };
    let why = (!deployment.reason.is_empty())
        .then(|| Node::new(Tone::Plain, format!("because {}", deployment.reason)));
    let waits = deployment.waiting.as_ref().map(|wait| Node::new(Tone::Plain, waits::in_short(wait, now)));
    let canary = deployment.canary.as_ref().map(|canary| Node::new(Tone::Plain, canary::in_short(canary)));
    Node::new(tone, text).with(why).with(waits).with(canary).with(stage_nodes(deployment, now, detail))
}

fn stage_nodes(deployment: &Deployment, now: u64, detail: Detail) -> Vec<Node> {
    let mut by_stage: BTreeMap<u32, Vec<&DeploymentHost>> = BTreeMap::new();
    for host in &deployment.hosts {
        by_stage.entry(host.stage).or_default().push(host);
    }
    let plan = deployment.plan.as_ref();
    for (number, _) in
        (0..).zip(plan.iter().flat_map(|plan| &plan.stages)).filter(|(_, s)| s.migration.is_some())
    {
        by_stage.entry(number).or_default();
    }
    let mut nodes = Vec::new();
    let mut left_out = Vec::new();
    for (number, hosts) in by_stage {
        let stage = usize::try_from(number).ok().and_then(|number| plan?.stages.get(number));
        if let Some(migration) = stage.and_then(|stage| stage.migration.as_ref()) {
            nodes.push(migration_node(deployment, number, migration));
            continue;
        }
        let moves = hosts.iter().any(|host| !is_over(host) && host.state != "pending");
        if !detail.stages && number != deployment.stage && !moves {
            left_out.extend(hosts);
            continue;
        }
        let share = stage.map(|stage| format!(", share {}", share(stage.share))).unwrap_or_default();
        let bake =
            stage.map(|stage| format!(", healthy for {}", span(stage.bake_millis))).unwrap_or_default();
        let all_done = hosts.iter().all(|host| host.state == "done");
        let tone = match number.cmp(&deployment.stage) {
            _ if moves => Tone::Moving,
            _ if all_done => Tone::Good,
            std::cmp::Ordering::Greater => Tone::Waiting,
            std::cmp::Ordering::Less | std::cmp::Ordering::Equal => Tone::Plain,
        };
        let text = format!("stage {}: {}{share}{bake}", number.saturating_add(1), hosts_of(hosts.len()));
        nodes.push(Node::new(tone, text).with(host_nodes(hosts, now, detail)));
    }
    nodes.extend(counted(&left_out, "in other stages: "));
    nodes
}

/// A stage that migrates.
fn migration_node(deployment: &Deployment, number: u32, planned: &PlanMigration) -> Node {
    let what = format!(
        "stage {}: {} on {}",
        number.saturating_add(1),
        migrate::phase_name(planned.phase()),
        planned.host
    );
    let succeeded = outcome::exit_of(deployment) == Some(exit::DONE);
    let (tone, text) = match number.cmp(&deployment.stage) {
        std::cmp::Ordering::Less => (Tone::Good, format!("{what}, applied")),
        std::cmp::Ordering::Equal if succeeded => (Tone::Good, format!("{what}, applied")),
        std::cmp::Ordering::Equal => match &deployment.migration {
            Some(migration) => (
                Tone::Moving,
                format!("stage {}: {}", number.saturating_add(1), migrate::progress(migration)),
            ),
            None => (Tone::Waiting, what),
        },
        std::cmp::Ordering::Greater => (Tone::Waiting, what),
    };
    Node::new(tone, text)
}

/// The hosts of a stage: one by one as far as the detail goes, the others by state.
fn host_nodes(mut hosts: Vec<&DeploymentHost>, now: u64, detail: Detail) -> Vec<Node> {
    // Those that failed, then those that move, by name.
    hosts.sort_by_key(|host| match host.state.as_str() {
        "stuck" => 0,
        _ if !host.reason.is_empty() => 1,
        _ if !is_calm(host) => 2,
        _ => 3,
    });
    let mut nodes = Vec::new();
    let mut rest = Vec::new();
    for host in hosts {
        if (detail.calm || !is_calm(host)) && nodes.len() < detail.hosts {
            nodes.push(host_node(host, now, detail));
        } else {
            rest.push(host);
        }
    }
    nodes.extend(counted(&rest, ""));
    nodes
}

/// Whether there is nothing to see on a host but its state.
fn is_calm(host: &DeploymentHost) -> bool {
    matches!(host.state.as_str(), "done" | "pending" | "returned" | "skipped") && host.reason.is_empty()
}

/// Hosts by state, in one line; none where there are no hosts.
fn counted(hosts: &[&DeploymentHost], before: &str) -> Option<Node> {
    let mut states: BTreeMap<&str, usize> = BTreeMap::new();
    for host in hosts {
        *states.entry(host.state.as_str()).or_default() += 1;
    }
    let tone = match (states.len(), states.keys().next()) {
        (1, Some(&"done")) => Tone::Good,
        _ => Tone::Waiting,
    };
    let parts: Vec<String> =
        states.iter().map(|(state, number)| format!("{} {state}", hosts_of(*number))).collect();
    (!parts.is_empty()).then(|| Node::new(tone, format!("{before}{}", parts.join(", "))))
}

fn host_node(host: &DeploymentHost, now: u64, detail: Detail) -> Node {
    let tone = match host.state.as_str() {
        "done" => Tone::Good,
        "stuck" => Tone::Bad,
        _ if !host.reason.is_empty() => Tone::Bad,
        "pending" | "skipped" | "offline" => Tone::Waiting,
        _ => Tone::Moving,
    };
    let mut text = format!("{} {}", host.host, host.state);
    if host.attempt > 1 {
        text.push_str(&format!(", attempt {}", host.attempt));
    }
    if !host.online && host.state != "offline" {
        text.push_str(", offline");
    }
    if !host.reason.is_empty() {
        text.push_str(&format!(": {}", host.reason));
    } else if let Some(wait) = &host.waiting {
        text.push_str(&format!(": {}", waits::in_short(wait, now)));
    }
    let instances = [&host.new_instance, &host.old_instance].into_iter().flatten();
    let shown = instances.filter(|instance| detail.instances && !is_gone(instance)).map(instance_node);
    Node::new(tone, text).with(shown)
}

/// Whether nothing happens on the host any more.
pub(in crate::cli) fn is_over(host: &DeploymentHost) -> bool {
    matches!(host.state.as_str(), "done" | "skipped" | "returned" | "stuck")
}

pub(super) fn hosts_of(number: usize) -> String {
    if number == 1 { "1 host".to_owned() } else { format!("{number} hosts") }
}
