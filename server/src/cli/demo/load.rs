//! The load on the demo's service, by the `load` program: two runs, one for each way of using connections.

use super::fleet::Fleet;
use crate::cli::error::CliError;
use serde_json::Value;
use std::{collections::BTreeMap, process::Stdio, time::Duration};
use tokio::{process::Child, time::timeout};

/// The load ends by itself after that time, whatever happens to the demo.
const LONGEST: &str = "600";
/// Clients of each run.
const CLIENTS: &str = "16";
/// Longest wait for the reports.
const REPORT: Duration = Duration::from_secs(60);

/// Both runs.
#[derive(Debug)]
pub(super) struct Load {
    runs: Vec<Child>,
}

/// What one run found.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) mode: String,
    pub(super) requests: u64,
    pub(super) ok: u64,
    pub(super) failures: BTreeMap<String, u64>,
    pub(super) versions: BTreeMap<String, u64>,
    pub(super) p50_us: u64,
    pub(super) p99_us: u64,
    pub(super) max_us: u64,
}

impl Load {
    /// Starts both runs, half of the rate each.
    pub(super) fn start(fleet: &Fleet, rate: u32) -> Result<Self, CliError> {
        let run = |connections: &str| {
            let mut command = fleet.program("load");
            for address in fleet.addresses() {
                command.args(["--target", &address]);
            }
            command
                .args([connections, CLIENTS, "--json", "--seconds", LONGEST])
                .args(["--rate", &(rate / 2).to_string()])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::inherit())
                .kill_on_drop(true)
                .spawn()
                .map_err(|source| CliError::System { what: "start the load".to_owned(), source })
        };
        Ok(Self { runs: vec![run("--keep-alive")?, run("--one-per-request")?] })
    }

    /// Ends both runs and reads their reports.
    pub(super) async fn stop(self) -> Result<Vec<Report>, CliError> {
        let mut reports = Vec::new();
        for run in self.runs {
            if let Some(pid) = run.id().and_then(|pid| i32::try_from(pid).ok()) {
                let pid = nix::unistd::Pid::from_raw(pid);
                // Its child, not reaped yet: the number is still its own.
                let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT);
            }
            let output = timeout(REPORT, run.wait_with_output()).await;
            let output = output.map_err(|_| CliError::Failed("the load did not report".to_owned()))?;
            let output = output
                .map_err(|source| CliError::System { what: "read the load's report".to_owned(), source })?;
            let text = String::from_utf8_lossy(&output.stdout);
            let report = serde_json::from_str(&text).ok().and_then(|report| read(&report));
            reports.push(
                report
                    .ok_or_else(|| CliError::Failed(format!("the load's report makes no sense: {text}")))?,
            );
        }
        Ok(reports)
    }
}

/// Reads the `load` program's JSON.
fn read(report: &Value) -> Option<Report> {
    let counts: BTreeMap<String, u64> = serde_json::from_value(report.get("counts")?.clone()).ok()?;
    let latency = report.get("latency")?;
    let micros = |name: &str| latency.get(name).and_then(Value::as_u64);
    let versions = report.get("versions")?.as_object()?.iter();
    Some(Report {
        mode: report.get("mode")?.as_str()?.to_owned(),
        requests: counts.values().sum(),
        ok: *counts.get("ok")?,
        failures: counts.into_iter().filter(|(kind, _)| kind != "ok").collect(),
        versions: versions
            .filter_map(|(version, seen)| Some((version.clone(), seen.get("answers")?.as_u64()?)))
            .collect(),
        p50_us: micros("p50_us")?,
        p99_us: micros("p99_us")?,
        max_us: micros("max_us")?,
    })
}
