//! `handover demo`: the main job on this machine, with real processes: the server on its embedded store, three agents
//! with a loopback address each, a real HTTP service in four versions, and load on it all the time.
//!
//! It runs the same binaries and commands that an operator runs, and ends everything that it started.

mod fleet;
mod load;

use super::{error::CliError, exit, table::Table, time::span};
use fleet::Fleet;
use load::{Load, Report};
use std::{path::PathBuf, time::Instant};

/// Run the main job on this machine.
#[derive(Debug, clap::Args)]
pub(super) struct DemoArgs {
    /// The folder with the programs handover-agent, sample-service and load; this program's own where left out.
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// Requests a second, half over connections that are kept, half with a connection each.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(2..=20_000))]
    rate: u32,
}

/// A release of the demo.
#[derive(Debug)]
struct Act {
    version: &'static str,
    /// What it is, for whoever looks on.
    what: &'static str,
    /// Flags of the program.
    flags: &'static str,
    /// How it is carried to the hosts: lines of the manifest's `[rollout]`.
    rollout: &'static str,
    /// How its deployment must end.
    expected: exit::Exit,
}

const ROLLING: &str = "batch = 1\norder_by = \"zone\"\nbake = \"2s\"";
const CANARY: &str = "strategy = \"canary\"\nsteps = [\"10%\", \"50%\"]\nbake = \"5s\"";

const FIRST: Act = Act {
    version: "1.0.0",
    what: "the first release goes out",
    flags: "",
    rollout: ROLLING,
    expected: exit::DONE,
};

/// What the demo deploys after the first release.
const ACTS: [Act; 3] = [
    Act { version: "1.1.0", what: "a good release", ..FIRST },
    Act {
        version: "2.0.0",
        what: "a broken release: it never gets ready",
        flags: "--never-ready",
        expected: exit::ROLLED_BACK,
        ..FIRST
    },
    Act {
        version: "3.0.0",
        what: "a slow release, as a canary of 10 % of the new connections: the judge catches it",
        flags: "--latency 40ms",
        rollout: CANARY,
        expected: exit::ROLLED_BACK,
    },
];

pub(super) async fn run(args: DemoArgs) -> Result<exit::Exit, CliError> {
    let programs = match args.programs {
        Some(programs) => programs,
        None => own_folder()?,
    };
    let mut fleet = Fleet::start(&programs).await?;
    let played = tokio::select! {
        played = play(&mut fleet, args.rate) => played,
        _ = tokio::signal::ctrl_c() => {
            eprintln!("interrupted; everything is being ended");
            Ok(exit::INTERRUPTED)
        }
    };
    fleet.end().await;
    played
}

fn own_folder() -> Result<PathBuf, CliError> {
    let own = std::env::current_exe()
        .map_err(|source| CliError::System { what: "find this program's folder".to_owned(), source })?;
    Ok(own.parent().map(PathBuf::from).unwrap_or_default())
}

async fn play(fleet: &mut Fleet, rate: u32) -> Result<exit::Exit, CliError> {
    println!("== three hosts join");
    fleet.join_hosts().await?;
    fleet.handover(&["hosts"]).await?;

    println!("\n== {}", FIRST.what);
    for act in std::iter::once(&FIRST).chain(&ACTS) {
        fleet.push(act).await?;
    }
    let first = fleet.handover(&["deploy", "web", "--version", FIRST.version, "--yes"]).await?;
    if first != FIRST.expected {
        return Err(CliError::Failed(format!("the first deployment ended with exit code {}", first.code())));
    }

    println!("\n== load begins: {rate} requests a second on three hosts; it goes on until the end");
    let load = Load::start(fleet, rate)?;
    let mut acts = Vec::new();
    for act in &ACTS {
        println!("\n== {}: {}", act.version, act.what);
        let began = Instant::now();
        let ended = fleet.handover(&["deploy", "web", "--version", act.version, "--yes"]).await?;
        let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        acts.push((act, ended, took));
    }
    println!("\n== what the judge saw of the canary");
    fleet.handover(&["canary", "web"]).await?;
    println!("\n== what runs now");
    fleet.handover(&["status"]).await?;
    let reports = load.stop().await?;

    println!("\n== the deployments");
    let mut table = Table::new(&["version", "exit code", "expected", "took"]);
    for (act, ended, took) in &acts {
        table.row([
            act.version.to_owned(),
            ended.code().to_string(),
            act.expected.code().to_string(),
            span(*took),
        ]);
    }
    table.print();
    println!("\n== what the clients saw");
    let failed = print(&reports);
    let as_expected = acts.iter().all(|(act, ended, _)| *ended == act.expected);
    println!("\n{}", if failed == 0 { "not one request failed" } else { "requests failed: see the table" });
    Ok(if failed == 0 && as_expected { exit::DONE } else { exit::FAILED })
}

/// The requests with their failures by kind and their times. Returns how many failed.
fn print(reports: &[Report]) -> u64 {
    let mut headings = vec!["connections".to_owned(), "requests".to_owned(), "ok".to_owned()];
    let kinds: Vec<String> =
        reports.first().map(|report| report.failures.keys().cloned().collect()).unwrap_or_default();
    headings.extend(kinds.iter().cloned());
    headings.extend(["p50", "p99", "longest"].map(str::to_owned));
    let mut table = Table::new(&headings.iter().map(String::as_str).collect::<Vec<_>>());
    for report in reports {
        let mut row = vec![report.mode.clone(), report.requests.to_string(), report.ok.to_string()];
        row.extend(kinds.iter().map(|kind| report.failures.get(kind).copied().unwrap_or(0).to_string()));
        row.extend(
            [report.p50_us, report.p99_us, report.max_us]
                .map(|us| format!("{}.{:02}ms", us / 1000, us % 1000 / 10)),
        );
        table.row(row);
    }
    table.print();
    for report in reports {
        let versions = report.versions.iter().map(|(version, count)| format!("{count} from {version}"));
        println!("{}: {}", report.mode, versions.collect::<Vec<_>>().join(", "));
    }
    reports.iter().map(|report| report.requests - report.ok).sum()
}
