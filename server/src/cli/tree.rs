//! The live tree: services, deployments, stages, hosts, instances, with shares, connections and waits.
//!
//! A pure function of what was seen, the size of the terminal and the time. What does not fit is left out in steps:
//! first the hosts that are done become a number, then instances, then stages, at last hosts. Each state is a word
//! with a sign before it; a colour only repeats it.

mod deployment;
mod instance;
mod service;
#[cfg(test)]
mod tests;

pub(super) use deployment::is_over;
pub(super) use service::{no_return, rollback};

use super::{freeze, lock};
use console::{Style, measure_text_width, truncate_str};
use deployment::deployment_node;
use handover_proto::v1::{Deployment, ListServicesResponse};
use service::service_node;
use std::collections::BTreeMap;

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
        let frozen = status.freezes.iter().map(|held| Node::new(Tone::Waiting, freeze::line(held, look.now)));
        fleet.into_iter().chain(frozen).chain(none).chain(services).collect()
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
