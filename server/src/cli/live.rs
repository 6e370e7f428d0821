//! A deployment while it goes on: one live line for each host on a terminal, a plain line for each change elsewhere.

use super::{outcome, time};
use handover_proto::v1::{Deployment, DeploymentHost, Wait};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{
    collections::BTreeMap,
    io::{IsTerminal as _, stdout},
    time::Duration,
};

/// Live lines at most; of the hosts behind them only the number is shown.
const LINES: usize = 30;
/// How often a live line moves, so that one sees that the command lives.
const TICK: Duration = Duration::from_millis(120);

/// Shows snapshots of one deployment.
pub(super) enum View {
    /// One JSON value for each snapshot.
    Json,
    /// A line for each change.
    Plain { told: BTreeMap<String, String> },
    /// A line for each host, kept up to date.
    Terminal { all: MultiProgress, head: ProgressBar, hosts: BTreeMap<String, ProgressBar> },
}

impl View {
    /// What fits standard output.
    pub(super) fn new(json: bool) -> Self {
        if json {
            return Self::Json;
        }
        if !stdout().is_terminal() {
            return Self::Plain { told: BTreeMap::new() };
        }
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stdout());
        let head = all.add(bar());
        Self::Terminal { all, head, hosts: BTreeMap::new() }
    }

    /// Shows one snapshot.
    pub(super) fn show(&mut self, deployment: &Deployment) {
        match self {
            Self::Json => println!("{}", super::json::deployment(deployment)),
            Self::Plain { told } => {
                tell(told, "", &headline(deployment), outcome::state(deployment));
                for host in &deployment.hosts {
                    tell(told, &host.host, &plain(host), &state_key(host));
                }
            }
            Self::Terminal { all, head, hosts } => {
                head.set_message(headline(deployment));
                // All of them where they fit; else those that move, and what was shown once stays.
                let fits = deployment.hosts.len() <= LINES;
                let moves = |host: &&DeploymentHost| {
                    fits || host.state != "pending" || hosts.contains_key(&host.host)
                };
                let shown: Vec<&DeploymentHost> = deployment.hosts.iter().filter(moves).take(LINES).collect();
                for host in shown {
                    let line = hosts.entry(host.host.clone()).or_insert_with(|| all.add(bar()));
                    line.set_message(live(host));
                    if is_over(host) {
                        line.finish();
                    }
                }
            }
        }
    }

    /// Clears what is live, so that the summary stands alone.
    pub(super) fn end(self) {
        if let Self::Terminal { head, hosts, .. } = self {
            hosts.values().for_each(ProgressBar::finish);
            head.finish_and_clear();
        }
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::no_length();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
        bar.set_style(style.tick_strings(&["-", "\\", "|", "/", " "]));
    }
    bar.enable_steady_tick(TICK);
    bar
}

/// Prints a line where what it is about has changed.
fn tell(told: &mut BTreeMap<String, String>, about: &str, line: &str, key: &str) {
    if told.get(about).is_none_or(|before| before != key) {
        println!("{} {line}", time::clock());
        told.insert(about.to_owned(), key.to_owned());
    }
}

fn headline(deployment: &Deployment) -> String {
    let over = deployment.hosts.iter().filter(|host| is_over(host)).count();
    let stages = deployment.plan.as_ref().map_or(0, |plan| plan.stages.len());
    let waits = deployment.waiting.as_ref().map(waits).unwrap_or_default();
    format!(
        "d{} {} {}: {}, stage {} of {stages}, {over} of {} hosts{waits}",
        deployment.id,
        deployment.service,
        deployment.version,
        outcome::state(deployment),
        deployment.stage + 1,
        deployment.hosts.len()
    )
}

fn is_over(host: &DeploymentHost) -> bool {
    matches!(host.state.as_str(), "done" | "skipped" | "returned" | "stuck")
}

/// What makes a plain line worth printing: another state or another reason, not another count of seconds.
fn state_key(host: &DeploymentHost) -> String {
    let detail =
        host.new_instance.as_ref().map(|i| format!("{:?} {}", i.phase(), i.detail)).unwrap_or_default();
    format!("{} {} {detail}", host.state, host.reason)
}

fn plain(host: &DeploymentHost) -> String {
    format!("host {}: {}{}", host.host, host.state, tail(host))
}

fn live(host: &DeploymentHost) -> String {
    format!("{:<16} {:<10}{}", host.host, host.state, tail(host))
}

fn tail(host: &DeploymentHost) -> String {
    if !host.reason.is_empty() {
        return format!(": {}", host.reason);
    }
    let mut tail = host.waiting.as_ref().map(waits).unwrap_or_default();
    if !host.online {
        tail.push_str(" [offline]");
    }
    tail
}

fn waits(wait: &Wait) -> String {
    if wait.what.is_empty() {
        return String::new();
    }
    let now = time::now();
    let left = match wait.until_unix_millis {
        0 => String::new(),
        until => format!(", {} left, then {}", time::span(until.saturating_sub(now)), wait.then),
    };
    format!(": waits for {}{left}", wait.what)
}

/// A deployment as it stands, in plain lines.
pub(super) fn lines(deployment: &Deployment) -> Vec<String> {
    let hosts = deployment.hosts.iter().filter(|host| host.state != "pending").map(plain);
    std::iter::once(headline(deployment)).chain(hosts).collect()
}
