//! `handover explain`: the whole story of a deployment, from the journal.

use super::{connection::Connection, error::CliError, exit, json, outcome, target::Whose, time, waits};
use handover_proto::v1::{Deployment, StoryLine};

/// Hosts that are not there and are named one by one.
const MOST_AWAY: usize = 8;

/// Tell a deployment's whole story: what happened on which host, when, and why.
#[derive(Debug, clap::Args)]
pub(super) struct ExplainArgs {
    /// The deployment's number, such as d12, or a service: its newest.
    deployment: String,
    /// Only what is about this host, and about the whole.
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
}

pub(super) async fn run(
    args: ExplainArgs,
    mut to: Connection,
    as_json: bool,
) -> Result<exit::Exit, CliError> {
    let deployment = to.client.get_deployment(Whose::read(&args.deployment).request()).await?.into_inner();
    // By its number: between two calls a service may get a newer one.
    let whose = Whose { id: deployment.id, service: String::new() };
    let mut story = to.client.explain_deployment(whose.request()).await?.into_inner();
    let mut teller = Teller::default();
    if !as_json {
        println!("{}", heading(&deployment));
    }
    while let Some(line) = story.message().await? {
        if args.host.as_ref().is_some_and(|host| !line.host.is_empty() && line.host != *host) {
            continue;
        }
        if as_json {
            println!("{}", json::story_line(&line));
        } else {
            teller.lines(&line).iter().for_each(|line| println!("{line}"));
        }
    }
    if !as_json {
        ending(&deployment, time::now()).iter().for_each(|line| println!("{line}"));
    }
    Ok(exit::DONE)
}

fn heading(deployment: &Deployment) -> String {
    format!(
        "d{} {} {}, by {}, {}",
        deployment.id,
        deployment.service,
        deployment.version,
        deployment.created_by,
        time::moment(deployment.created_unix_millis)
    )
}

/// What goes on now, where it has not ended, and what becomes of hosts that are not there.
fn ending(deployment: &Deployment, now: u64) -> Vec<String> {
    let Some(wait) = deployment.waiting.as_ref().filter(|_| deployment.ended_unix_millis == 0) else {
        return Vec::new();
    };
    let whole = format!("now: {}; waits for {}; then {}", outcome::state(deployment), wait.what, wait.then);
    let away = deployment.hosts.iter().filter(|host| !host.online);
    let away = away.filter_map(|host| {
        let wait = waits::in_full(host.waiting.as_ref()?, now);
        Some(format!("  host {} ({}, offline) {wait}", host.host, host.state))
    });
    [whole].into_iter().chain(away.take(MOST_AWAY)).collect()
}

/// Knows when the story began, and which stage was told of last.
#[derive(Debug, Default)]
struct Teller {
    began: Option<u64>,
    stage: u32,
}

impl Teller {
    /// A line of the story, with the stage above it where another one begins.
    fn lines(&mut self, line: &StoryLine) -> Vec<String> {
        let began = *self.began.get_or_insert(line.at_unix_millis);
        let mut lines = Vec::new();
        if line.stage != self.stage {
            self.stage = line.stage;
            lines.push(format!("stage {}", line.stage));
        }
        let host = if line.host.is_empty() { String::new() } else { format!("{} ", line.host) };
        lines.push(format!(
            "  {} +{:<6} {host}{}",
            time::time_of_day(line.at_unix_millis),
            time::span(line.at_unix_millis.saturating_sub(began)),
            line.text
        ));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_story_is_told_by_stage_with_the_time_since_its_beginning() {
        let mut teller = Teller::default();
        let line = |at, stage, host: &str, text: &str| StoryLine {
            at_unix_millis: at,
            stage,
            host: host.into(),
            text: text.into(),
            ..StoryLine::default()
        };
        let mut told = Vec::new();
        for line in [
            line(1_000, 0, "", "ada began d7"),
            line(1_000, 1, "", "the first stage begins"),
            line(3_500, 1, "h1", "failed: not ready"),
            line(9_000, 2, "", "stage 2 begins"),
        ] {
            told.extend(teller.lines(&line));
        }
        let told: Vec<&str> =
            told.iter().map(|line| line.split_once(" +").map_or(line.as_str(), |(_, rest)| rest)).collect();
        assert_eq!(
            told,
            [
                "0ms    ada began d7",
                "stage 1",
                "0ms    the first stage begins",
                "2.5s   h1 failed: not ready",
                "stage 2",
                "8.0s   stage 2 begins"
            ]
        );
    }
}
