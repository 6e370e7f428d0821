//! The live tree: services, deployments, stages, hosts, instances, with shares, connections and waits.
//!
//! A pure function of what was seen, the size of the terminal and the time. What does not fit is left out in steps:
//! first the hosts that are done become a number, then instances, then stages, at last hosts. Each state is a word
//! with a sign before it; a colour only repeats it.

use super::{
    lock, outcome,
    time::{span, time_of_day},
};
use console::{Style, measure_text_width, truncate_str};
use handover_model::Share;
use handover_proto::v1::{
    Deployment, DeploymentHost, InstanceReport, ListServicesResponse, Service, ServiceHost, Wait,
};
use std::collections::{BTreeMap, BTreeSet};

/// Where and how a tree is drawn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// Columns; a longer line is cut.
    pub(super) width: usize,
    /// Lines at most.
    pub(super) height: usize,
    /// The time, in Unix milliseconds.
    pub(super) now: u64,
    /// Whether signs are repeated in colour.
    pub(super) colour: bool,
    /// Whether the terminal shows more than ASCII.
    pub(super) unicode: bool,
}

/// How a line is meant; decides its sign and colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tone {
    Plain,
    Good,
    Moving,
    Waiting,
    Bad,
}

impl Tone {
    fn sign(self, unicode: bool) -> &'static str {
        match (self, unicode) {
            (Self::Plain, _) => "",
            (Self::Good, true) => "✓ ",
            (Self::Good, false) => "+ ",
            (Self::Moving, true) => "▸ ",
            (Self::Moving, false) => "> ",
            (Self::Waiting, true) => "· ",
            (Self::Waiting, false) => ". ",
            (Self::Bad, true) => "✗ ",
            (Self::Bad, false) => "! ",
        }
    }

    fn style(self) -> Style {
        match self {
            Self::Plain => Style::new(),
            Self::Good => Style::new().green(),
            Self::Moving => Style::new().cyan(),
            Self::Waiting => Style::new().dim(),
            Self::Bad => Style::new().red(),
        }
    }
}

/// A line and what hangs on it.
#[derive(Clone, Debug)]
struct Node {
    tone: Tone,
    text: String,
    children: Vec<Node>,
}

impl Node {
    fn new(tone: Tone, text: impl Into<String>) -> Self {
        Self { tone, text: text.into(), children: Vec::new() }
    }

    fn with(mut self, children: impl IntoIterator<Item = Self>) -> Self {
        self.children.extend(children);
        self
    }

    fn lines(&self) -> usize {
        1 + self.children.iter().map(Self::lines).sum::<usize>()
    }
}

/// How much is shown, from everything to the least.
#[derive(Clone, Copy, Debug)]
struct Detail {
    /// Also the instances of hosts where nothing happens.
    calm: bool,
    /// The instances of each host that is shown.
    instances: bool,
    /// Hosts of a stage that are shown one by one, those that move or failed first.
    hosts: usize,
    /// Also the stages that are over or have not begun.
    stages: bool,
}

const DETAILS: [Detail; 8] = [
    Detail { calm: true, instances: true, hosts: usize::MAX, stages: true },
    Detail { calm: false, instances: true, hosts: usize::MAX, stages: true },
    Detail { calm: false, instances: false, hosts: usize::MAX, stages: true },
    Detail { calm: false, instances: false, hosts: usize::MAX, stages: false },
    Detail { calm: false, instances: false, hosts: 8, stages: false },
    Detail { calm: false, instances: false, hosts: 3, stages: false },
    Detail { calm: false, instances: false, hosts: 1, stages: false },
    Detail { calm: false, instances: false, hosts: 0, stages: false },
];

/// The tree of one deployment.
pub(super) fn of_deployment(deployment: &Deployment, look: Look) -> Vec<String> {
    fit(look, |detail| {
        let service = Node::new(Tone::Plain, format!("service {}", deployment.service));
        vec![service.with([deployment_node(deployment, look.now, detail)])]
    })
}

/// The tree of services, with the deployments that go on, by their numbers.
pub(super) fn of_services(
    status: &ListServicesResponse,
    deployments: &BTreeMap<u64, Deployment>,
    look: Look,
) -> Vec<String> {
    fit(look, |detail| {
        let fleet = status
            .lock
            .as_ref()
            .map(|held| Node::new(Tone::Waiting, format!("the fleet is {}", lock::line(held, look.now))));
        let none = status.services.is_empty().then(|| Node::new(Tone::Plain, "no service yet"));
        let services = status.services.iter().map(|service| {
            let deployment = service.deployment.and_then(|id| deployments.get(&id));
            service_node(service, deployment, look.now, detail)
        });
        fleet.into_iter().chain(none).chain(services).collect()
    })
}

/// Draws with as much detail as fits; where even the least does not, the last line says how much is missing.
fn fit(look: Look, nodes: impl Fn(Detail) -> Vec<Node>) -> Vec<String> {
    let mut roots = Vec::new();
    for detail in DETAILS {
        roots = nodes(detail);
        if roots.iter().map(Node::lines).sum::<usize>() <= look.height {
            break;
        }
    }
    let mut lines = Vec::new();
    for root in &roots {
        draw(root, "", "", look, &mut lines);
    }
    let missing = lines.len().saturating_sub(look.height);
    if missing > 0 {
        lines.truncate(look.height.saturating_sub(1));
        lines.push(cut(&format!("... {} lines more", missing + 1), look));
    }
    lines
}

fn draw(node: &Node, first: &str, rest: &str, look: Look, lines: &mut Vec<String>) {
    let sign = node.tone.sign(look.unicode);
    let room = look.width.saturating_sub(measure_text_width(first));
    let line = cut(&format!("{sign}{}", node.text), Look { width: room, ..look });
    let line =
        if look.colour { node.tone.style().force_styling(true).apply_to(line).to_string() } else { line };
    lines.push(format!("{first}{line}"));
    let (branch, last, bar) =
        if look.unicode { ("├─ ", "└─ ", "│  ") } else { ("|- ", "`- ", "|  ") };
    for (number, child) in node.children.iter().enumerate() {
        let is_last = number + 1 == node.children.len();
        let (head, tail) = if is_last { (last, "   ") } else { (branch, bar) };
        draw(child, &format!("{rest}{head}"), &format!("{rest}{tail}"), look, lines);
    }
}

fn cut(text: &str, look: Look) -> String {
    truncate_str(text, look.width, if look.unicode { "…" } else { "..." }).into_owned()
}

fn service_node(service: &Service, deployment: Option<&Deployment>, now: u64, detail: Detail) -> Node {
    let version = if service.version.is_empty() { "nothing yet" } else { &service.version };
    let node = Node::new(Tone::Plain, format!("service {}: {version}; {}", service.name, rollback(service)));
    let held = service.lock.as_ref().map(|held| Node::new(Tone::Waiting, lock::line(held, now)));
    let course = deployment.map(|deployment| deployment_node(deployment, now, detail));
    let in_course: BTreeSet<&str> =
        deployment.iter().flat_map(|deployment| &deployment.hosts).map(|host| host.host.as_str()).collect();
    let others = service.hosts.iter().filter(|host| !in_course.contains(host.host.as_str()));
    node.with(held).with(course).with(resting(others, &service.version, detail))
}

/// What a rollback would do, in a few words.
pub(super) fn rollback(service: &Service) -> String {
    match (service.previous_version.as_str(), service.no_rollback.as_str()) {
        (_, why) if !why.is_empty() => format!("no rollback: {why}"),
        ("", _) => "no rollback".to_owned(),
        (previous, _) => format!("rollback goes to {previous}"),
    }
}

/// Hosts that no deployment changes now.
fn resting<'a>(hosts: impl Iterator<Item = &'a ServiceHost>, current: &str, detail: Detail) -> Vec<Node> {
    let mut calm: BTreeMap<&str, usize> = BTreeMap::new();
    let mut nodes = Vec::new();
    let mut more = 0;
    for host in hosts {
        let well = host.online && host.version == current && host.instances.iter().all(is_ready);
        if well && !detail.calm {
            *calm.entry(host.version.as_str()).or_default() += 1;
        } else if nodes.len() < detail.hosts {
            nodes.push(resting_host(host, well, detail));
        } else {
            more += 1;
        }
    }
    if more > 0 {
        nodes.push(Node::new(Tone::Waiting, format!("{} more", hosts_of(more))));
    }
    nodes.extend(calm.into_iter().map(|(version, number)| {
        let version = if version.is_empty() { "nothing" } else { version };
        Node::new(Tone::Good, format!("{} well on {version}", hosts_of(number)))
    }));
    nodes
}

fn resting_host(host: &ServiceHost, well: bool, detail: Detail) -> Node {
    let version = if host.version.is_empty() { "nothing" } else { &host.version };
    let mut text = format!("{} {version}", host.host);
    if host.cordoned {
        text.push_str(", cordoned");
    }
    if !host.online {
        text.push_str(", offline");
    }
    let shown = host.instances.iter().filter(|_| detail.instances).map(instance_node);
    Node::new(if well { Tone::Good } else { Tone::Bad }, text).with(shown)
}

fn deployment_node(deployment: &Deployment, now: u64, detail: Detail) -> Node {
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
        Some(code) if code == super::exit::DONE => Tone::Good,
        Some(code) if code == super::exit::WAITS => Tone::Waiting,
        Some(_) => Tone::Bad,
    };
    let why = (!deployment.reason.is_empty())
        .then(|| Node::new(Tone::Plain, format!("because {}", deployment.reason)));
    let waits = deployment.waiting.as_ref().map(|wait| Node::new(Tone::Plain, waits(wait, now)));
    Node::new(tone, text).with(why).with(waits).with(stage_nodes(deployment, now, detail))
}

fn stage_nodes(deployment: &Deployment, now: u64, detail: Detail) -> Vec<Node> {
    let mut by_stage: BTreeMap<u32, Vec<&DeploymentHost>> = BTreeMap::new();
    for host in &deployment.hosts {
        by_stage.entry(host.stage).or_default().push(host);
    }
    let plan = deployment.plan.as_ref();
    let mut nodes = Vec::new();
    let mut left_out = Vec::new();
    for (number, hosts) in by_stage {
        let stage = usize::try_from(number).ok().and_then(|number| plan?.stages.get(number));
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
        text.push_str(&format!(": {}", waits(wait, now)));
    }
    let instances = [&host.new_instance, &host.old_instance].into_iter().flatten();
    let shown = instances.filter(|instance| detail.instances && !is_gone(instance)).map(instance_node);
    Node::new(tone, text).with(shown)
}

fn instance_node(instance: &InstanceReport) -> Node {
    let phase = phase(instance);
    let tone = match phase.as_str() {
        "ready" if instance.share > 0 => Tone::Good,
        "ready" => Tone::Plain,
        "unhealthy" | "backing off" | "gave up" => Tone::Bad,
        _ => Tone::Moving,
    };
    let connections = match instance.connections {
        Some(1) => ", 1 connection".to_owned(),
        Some(number) => format!(", {number} connections"),
        None => String::new(),
    };
    let share =
        if instance.share == 0 { "hidden".to_owned() } else { format!("share {}", share(instance.share)) };
    let restarts = if instance.restarts == 0 {
        String::new()
    } else {
        format!(", started again {} times", instance.restarts)
    };
    let detail = if instance.detail.is_empty() { String::new() } else { format!(": {}", instance.detail) };
    let text = format!(
        "{} {}: {phase}, {share}{connections}{restarts}{detail}",
        instance.instance, instance.version
    );
    Node::new(tone, text)
}

fn is_ready(instance: &InstanceReport) -> bool {
    phase(instance) == "ready"
}

fn is_gone(instance: &InstanceReport) -> bool {
    phase(instance) == "exited"
}

fn phase(instance: &InstanceReport) -> String {
    let name = instance.phase().as_str_name();
    name.strip_prefix("INSTANCE_PHASE_").unwrap_or(name).to_lowercase().replace('_', " ")
}

fn share(basis_points: u32) -> String {
    Share::new(basis_points).map_or_else(|_| basis_points.to_string(), |share| share.to_string())
}

/// Whether nothing happens on the host any more.
pub(super) fn is_over(host: &DeploymentHost) -> bool {
    matches!(host.state.as_str(), "done" | "skipped" | "returned" | "stuck")
}

/// What is waited for and what happens then. The countdown comes first, so that no narrow line loses it.
pub(super) fn waits(wait: &Wait, now: u64) -> String {
    let time = match wait.until_unix_millis {
        0 => format!("({} already)", span(now.saturating_sub(wait.since_unix_millis))),
        until => format!("{} more", span(until.saturating_sub(now))),
    };
    format!("waits {time} for {}; then {}", wait.what, wait.then)
}

/// What is waited for, since when, until when, and what happens then.
pub(super) fn waits_in_full(wait: &Wait, now: u64) -> String {
    let since = time_of_day(wait.since_unix_millis);
    let until = match wait.until_unix_millis {
        0 => ", without a deadline".to_owned(),
        until => format!(", until {} ({} left)", time_of_day(until), span(until.saturating_sub(now))),
    };
    format!("waits since {since} for {}{until}; then {}", wait.what, wait.then)
}

fn hosts_of(number: usize) -> String {
    if number == 1 { "1 host".to_owned() } else { format!("{number} hosts") }
}

#[cfg(test)]
mod tests;
