//! A deployment while it goes on: the tree on a terminal, a plain line for each change elsewhere.

use super::{canary, outcome, screen::Screen, time, tree, waits};
use handover_proto::v1::{Deployment, DeploymentHost, Wait};
use std::{collections::BTreeMap, time::Duration};

/// How often the tree is drawn anew while nothing changes: its countdowns go on.
pub(super) const TICK: Duration = Duration::from_millis(500);

/// Shows snapshots of one deployment.
pub(super) enum View {
    /// One JSON value for each snapshot.
    Json,
    /// A line for each change.
    Plain(Told),
    /// The tree, kept up to date.
    Tree(Screen),
    /// A line for each block of a canary, and for each change of the deployment.
    Blocks(Told, canary::Lines),
    /// The picture of a canary, kept up to date.
    Canary(Screen),
}

/// What was told of each thing last.
#[derive(Debug, Default)]
pub(super) struct Told(BTreeMap<String, String>);

impl View {
    /// What fits standard output.
    pub(super) fn new(json: bool) -> Self {
        if json {
            return Self::Json;
        }
        Screen::open().map_or_else(|| Self::Plain(Told::default()), Self::Tree)
    }

    /// What fits standard output, of a canary.
    pub(super) fn canary(json: bool) -> Self {
        if json {
            return Self::Json;
        }
        let lines = || Self::Blocks(Told::default(), canary::Lines::default());
        Screen::open().map_or_else(lines, Self::Canary)
    }

    /// Shows one snapshot.
    pub(super) fn show(&mut self, deployment: &Deployment) {
        match self {
            Self::Json => println!("{}", super::json::deployment(deployment)),
            Self::Plain(told) => told.tell(deployment),
            Self::Tree(screen) => draw(screen, deployment),
            Self::Blocks(told, lines) => {
                told.headline(deployment);
                let blocks = deployment.canary.as_ref().map(|canary| lines.of(canary));
                blocks.into_iter().flatten().for_each(|line| println!("{} {line}", time::clock()));
            }
            Self::Canary(screen) => picture(screen, deployment),
        }
    }

    /// Time passed and nothing changed.
    pub(super) fn tick(&mut self, deployment: &Deployment) {
        match self {
            Self::Tree(screen) => draw(screen, deployment),
            Self::Canary(screen) => picture(screen, deployment),
            Self::Json | Self::Plain(_) | Self::Blocks(..) => {}
        }
    }

    /// What comes next stands below.
    pub(super) fn end(mut self) {
        if let Self::Tree(screen) | Self::Canary(screen) = &mut self {
            screen.leave();
        }
    }
}

fn draw(screen: &mut Screen, deployment: &Deployment) {
    let look = screen.look(time::now());
    screen.draw(&tree::of_deployment(deployment, look));
}

fn picture(screen: &mut Screen, deployment: &Deployment) {
    let look = screen.look(time::now());
    screen.draw(&canary::lines(deployment, look));
}

impl Told {
    /// A line for each change of the deployment as a whole.
    fn headline(&mut self, deployment: &Deployment) {
        let name = format!("d{}", deployment.id);
        let key = format!("{} {} {}", outcome::state(deployment), deployment.stage, deployment.reason);
        self.change(&name, &headline(deployment, waits::in_short), &key);
    }

    /// A line for each change of the deployment and its hosts.
    pub(super) fn tell(&mut self, deployment: &Deployment) {
        let name = format!("d{}", deployment.id);
        self.headline(deployment);
        for host in &deployment.hosts {
            self.change(&format!("{name} {}", host.host), &plain(host, waits::in_short), &state_key(host));
        }
    }

    /// Prints a line where what it is about has changed.
    pub(super) fn change(&mut self, about: &str, line: &str, key: &str) {
        if self.0.get(about).is_none_or(|before| before != key) {
            println!("{} {line}", time::clock());
            self.0.insert(about.to_owned(), key.to_owned());
        }
    }
}

/// How a wait is told: the short way in a line for each change, in full where it is asked for.
type Telling = fn(&Wait, u64) -> String;

fn headline(deployment: &Deployment, telling: Telling) -> String {
    let over = deployment.hosts.iter().filter(|host| tree::is_over(host)).count();
    let stages = deployment.plan.as_ref().map_or(0, |plan| plan.stages.len());
    let waits = deployment.waiting.as_ref().map(|wait| format!(": {}", telling(wait, time::now())));
    format!(
        "d{} {} {}: {}, stage {} of {stages}, {over} of {} hosts{}",
        deployment.id,
        deployment.service,
        deployment.version,
        outcome::state(deployment),
        deployment.stage + 1,
        deployment.hosts.len(),
        waits.unwrap_or_default()
    )
}

/// What makes a plain line worth printing: another state or another reason, not another count of seconds.
fn state_key(host: &DeploymentHost) -> String {
    let detail =
        host.new_instance.as_ref().map(|i| format!("{:?} {}", i.phase(), i.detail)).unwrap_or_default();
    format!("{} {} {} {detail}", host.state, host.reason, host.attempt)
}

fn plain(host: &DeploymentHost, telling: Telling) -> String {
    let attempt = if host.attempt > 1 { format!(", attempt {}", host.attempt) } else { String::new() };
    let tail = match &host.waiting {
        _ if !host.reason.is_empty() => format!(": {}", host.reason),
        Some(wait) => format!(": {}", telling(wait, time::now())),
        None => String::new(),
    };
    let offline = if host.online { "" } else { " [offline]" };
    format!("host {}: {}{attempt}{tail}{offline}", host.host, host.state)
}

/// A deployment as it stands, in plain lines. Of the hosts whose turn has not come the first speaks for all.
pub(super) fn lines(deployment: &Deployment) -> Vec<String> {
    let waits_its_turn = |host: &&DeploymentHost| host.state == "pending" && host.reason.is_empty();
    let hosts = deployment.hosts.iter().filter(|host| !waits_its_turn(host));
    let hosts = hosts.map(|host| plain(host, waits::in_full));
    let pending: Vec<&DeploymentHost> = deployment.hosts.iter().filter(waits_its_turn).collect();
    let others = pending.len().saturating_sub(1);
    let turn = pending.first().map(|host| {
        let more = if others == 0 { String::new() } else { format!(" (and {others} more)") };
        format!("{}{more}", plain(host, waits::in_full))
    });
    let canary = deployment.canary.as_ref().map(canary::in_short);
    std::iter::once(headline(deployment, waits::in_full)).chain(canary).chain(hosts).chain(turn).collect()
}
