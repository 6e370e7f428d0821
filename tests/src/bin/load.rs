//! The load generator as a program: sends requests to loopback addresses and counts each failure by its kind.

use clap::Parser;
use handover_tests::load::{Config, Load, MAX_DURATION, Mode, Report, RunningLoad};
use serde::Serialize;
use std::{
    error::Error,
    io::{self, Write},
    net::SocketAddr,
    process::ExitCode,
    time::Duration,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::interval,
};

/// Between two looks at a run.
const LOOK: Duration = Duration::from_millis(20);
/// Looks between two lines of `--progress`.
const LOOKS_PER_LINE: u64 = 10;
/// Clients of a keep-alive run that does not say.
const CLIENTS: usize = 16;

/// Sends HTTP requests to loopback addresses and counts each failure by its kind, until SIGTERM, Ctrl-C or the end of its time.
/// Nothing is tried twice.
///
/// Exit codes: 0 every request was answered with 200-299; 1 at least one was not; 2 usage.
#[derive(Debug, Parser)]
#[command(name = "load", version)]
struct Flags {
    /// Where to; several are taken in turn.
    #[arg(long = "target", value_name = "ADDRESS", required = true, num_args = 1..)]
    targets: Vec<SocketAddr>,
    /// What to ask for.
    #[arg(long, default_value = "/")]
    path: String,
    /// So many clients, each of which keeps its connection (the default, with 16).
    #[arg(long, value_name = "CLIENTS", conflicts_with = "one_per_request")]
    keep_alive: Option<usize>,
    /// So many clients, with a connection for each request.
    #[arg(long, value_name = "CLIENTS")]
    one_per_request: Option<usize>,
    /// Requests a second over all clients; without it as fast as it goes.
    #[arg(long, value_name = "PER_SECOND")]
    rate: Option<u32>,
    /// How long.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=MAX_DURATION.as_secs()))]
    seconds: u64,
    /// Ends after so many requests.
    #[arg(long, value_name = "COUNT")]
    requests: Option<u64>,
    /// Prints the report as one line of JSON.
    #[arg(long)]
    json: bool,
    /// Prints a line of JSON with what was counted so far every 200 ms.
    #[arg(long)]
    progress: bool,
}

/// A report with its sums, for readers that do not know all kinds.
#[derive(Serialize)]
struct Line<'a> {
    requests: u64,
    failed: u64,
    #[serde(flatten)]
    report: &'a Report,
}

impl Flags {
    fn config(&self) -> Config {
        let mode = match self.one_per_request {
            Some(workers) => Mode::OnePerRequest { workers },
            None => Mode::KeepAlive { connections: self.keep_alive.unwrap_or(CLIENTS) },
        };
        Config {
            path: self.path.clone(),
            rate: self.rate,
            duration: Duration::from_secs(self.seconds),
            max_requests: self.requests,
            ..Config::new(self.targets.clone(), mode)
        }
    }
}

/// Waits for the end of the run, however that comes.
async fn watch(load: &RunningLoad, progress: bool) -> io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut look = interval(LOOK);
    let mut looks = 0_u64;
    while !load.is_finished() {
        tokio::select! {
            _ = terminate.recv() => load.end(),
            _ = interrupt.recv() => load.end(),
            _ = look.tick() => {
                looks += 1;
                if progress && looks.is_multiple_of(LOOKS_PER_LINE) {
                    print_json(&load.snapshot())?;
                }
            }
        }
    }
    Ok(())
}

fn print_json(report: &Report) -> io::Result<()> {
    let line = serde_json::to_string(&Line { requests: report.requests(), failed: report.failed(), report })?;
    writeln!(io::stdout().lock(), "{line}")
}

fn run(flags: &Flags) -> Result<Report, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let load = Load::try_start(flags.config())?;
    runtime.block_on(watch(&load, flags.progress))?;
    let report = load.stop();
    if flags.json {
        print_json(&report)?;
    } else {
        write!(io::stdout().lock(), "{report}")?;
    }
    Ok(report)
}

fn main() -> ExitCode {
    match run(&Flags::parse()) {
        Ok(report) if report.failed() == 0 => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            let mut cause: Option<&dyn Error> = Some(&*error);
            while let Some(this) = cause {
                eprintln!("load: {this}");
                cause = this.source();
            }
            ExitCode::from(2)
        }
    }
}
