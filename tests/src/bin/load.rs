//! The load generator as a program: sends requests to loopback addresses and counts each failure by its kind.

use clap::{Parser, ValueEnum};
use handover_tests::{
    duration,
    load::{Config, Load, Mode, Report},
};
use std::{error::Error, io::Write, net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Connections {
    /// Each client keeps its connection.
    KeepAlive,
    /// Each request has a connection of its own.
    Each,
}

/// Sends HTTP requests to loopback addresses and counts each failure by its kind. Exits with 1 where one request failed.
#[derive(Debug, Parser)]
#[command(name = "load", version)]
struct Flags {
    /// Where to; several addresses are taken in turn.
    #[arg(required = true)]
    targets: Vec<SocketAddr>,
    /// How connections are used.
    #[arg(long, value_enum, default_value = "keep-alive")]
    mode: Connections,
    /// Clients at the same time.
    #[arg(long, short, default_value_t = 16)]
    connections: usize,
    /// What to ask for.
    #[arg(long, default_value = "/")]
    path: String,
    /// Requests a second over all clients; without it as fast as it goes.
    #[arg(long)]
    rate: Option<f64>,
    /// How long; without it and --requests 10 s.
    #[arg(long, short, value_parser = duration::parse)]
    duration: Option<Duration>,
    /// How many requests.
    #[arg(long, short = 'n')]
    requests: Option<u64>,
    /// How long one request may take.
    #[arg(long, value_parser = duration::parse, default_value = "30s")]
    timeout: Duration,
    /// How long a request is meant to take; the time-out counts from then on.
    #[arg(long, value_parser = duration::parse)]
    expected: Option<Duration>,
    /// A word for the report.
    #[arg(long, default_value = "")]
    tag: String,
    /// Threads.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// The network namespace that this runs in, e.g. /run/netns/fleet; allows targets that are not loopback.
    #[arg(long)]
    netns: Option<PathBuf>,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

impl Flags {
    fn config(self) -> Config {
        let mode = match self.mode {
            Connections::KeepAlive => Mode::KeepAlive,
            Connections::Each => Mode::ConnectionEach,
        };
        let unbounded = self.duration.is_none() && self.requests.is_none();
        Config {
            path: self.path,
            rate: self.rate,
            duration: if unbounded { Some(Duration::from_secs(10)) } else { self.duration },
            requests: self.requests,
            timeout: self.timeout,
            expected: self.expected,
            tag: self.tag,
            threads: self.threads,
            network_namespace: self.netns,
            ..Config::new(self.targets, mode, self.connections)
        }
    }
}

/// Runs to the bound or Ctrl-C.
fn run(flags: Flags) -> Result<Report, Box<dyn Error>> {
    let load = Load::start(flags.config())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(async {
        while !load.is_finished() {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => break,
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
            }
        }
        load.stop().await
    }))
}

fn print(report: &Report, json: bool) -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut out, report)?;
        writeln!(out)?;
    } else {
        write!(out, "{report}")?;
    }
    Ok(())
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    let json = flags.json;
    match run(flags).and_then(|report| print(&report, json).map(|()| report.counts.failed())) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(1),
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
