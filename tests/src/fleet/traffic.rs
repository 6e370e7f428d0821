//! Load on a fleet: both ways of using connections at once, and what the clients saw.

use super::Fleet;
use crate::{
    load::{Config, Load, Mode, Report, RunningLoad},
    process::wait_until,
};
use handover_model::Timestamp;
use std::{fmt, net::SocketAddr, time::Duration};

/// Clients of each run.
const CLIENTS: usize = 8;
/// Requests a second of the paced runs.
const PACE: u32 = 400;
/// Longest wait for so many requests.
const LONG: Duration = Duration::from_secs(300);

/// Load that runs.
#[derive(Debug)]
pub struct Traffic {
    runs: Vec<RunningLoad>,
}

/// What the clients saw, each run by itself.
#[derive(Debug)]
pub struct Seen(Vec<Report>);

impl Traffic {
    /// Keep-alive and one connection for each request, each of them paced and as fast as it goes, on all hosts.
    #[must_use]
    pub fn on(fleet: &Fleet) -> Self {
        Self::at(&fleet.addresses())
    }

    /// The same on these addresses.
    #[must_use]
    pub fn at(targets: &[SocketAddr]) -> Self {
        let modes = [Mode::KeepAlive { connections: CLIENTS }, Mode::OnePerRequest { workers: CLIENTS }];
        let paced = modes.map(|mode| Config { rate: Some(PACE), ..Config::new(targets.to_vec(), mode) });
        // Two clients as fast as they go: what runs beside them on this machine must get on as well.
        let flat = [Mode::KeepAlive { connections: 2 }, Mode::OnePerRequest { workers: 2 }];
        let flat = flat.map(|mode| Config::new(targets.to_vec(), mode));
        Self::of(paced.into_iter().chain(flat))
    }

    /// One connection for each request, paced.
    #[must_use]
    pub fn one_connection_each(fleet: &Fleet) -> Self {
        Self::one_connection_each_of(fleet, CLIENTS)
    }

    /// The same from so many clients: more of them where some wait for a service that does not take them.
    #[must_use]
    pub fn one_connection_each_of(fleet: &Fleet, workers: usize) -> Self {
        let mode = Mode::OnePerRequest { workers };
        Self::of([Config { rate: Some(PACE), ..Config::new(fleet.addresses(), mode) }])
    }

    /// Connections that are kept until the service says that it closes them, so many at once.
    #[must_use]
    pub fn kept(fleet: &Fleet, connections: usize) -> Self {
        let mode = Mode::KeepAlive { connections };
        Self::of([Config { rate: Some(PACE), ..Config::new(fleet.addresses(), mode) }])
    }

    /// Keep-alive and one connection for each request, paced: a load that programs of slower languages keep up with.
    #[must_use]
    pub fn paced(fleet: &Fleet) -> Self {
        let modes = [Mode::KeepAlive { connections: CLIENTS }, Mode::OnePerRequest { workers: CLIENTS }];
        let rate = Some(PACE / 2);
        Self::of(modes.map(|mode| Config { rate, ..Config::new(fleet.addresses(), mode) }))
    }

    fn of(configs: impl IntoIterator<Item = Config>) -> Self {
        let traffic = Self { runs: configs.into_iter().map(Load::start).collect() };
        traffic.go_on_until(50);
        traffic
    }

    /// Goes on until so many requests were made in all.
    pub fn go_on_until(&self, requests: u64) {
        wait_until(LONG, &format!("{requests} requests"), || self.requests() >= requests);
    }

    /// Goes on for so many milliseconds.
    pub fn go_on_for(&self, millis: u64) {
        let end = self.elapsed() + millis;
        wait_until(LONG, &format!("{millis} ms of load"), || self.elapsed() >= end);
    }

    fn requests(&self) -> u64 {
        self.runs.iter().map(|run| run.snapshot().requests()).sum()
    }

    fn elapsed(&self) -> u64 {
        self.runs.iter().map(|run| run.snapshot().elapsed_ms).max().unwrap_or(0)
    }

    /// Lets the requests that run end, and tells.
    #[must_use]
    pub fn stop(self) -> Seen {
        self.runs.iter().for_each(RunningLoad::end);
        Seen(self.runs.into_iter().map(RunningLoad::stop).collect())
    }
}

impl Seen {
    /// All requests.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.0.iter().map(Report::requests).sum()
    }

    /// Fails the test where one request failed, or a run made none.
    #[track_caller]
    pub fn assert_no_failures(&self) {
        self.0.iter().for_each(Report::assert_no_failures);
    }

    /// Requests that were answered with an error; fails the test where one failed in any other way.
    #[must_use]
    #[track_caller]
    pub fn bad_answers(&self) -> u64 {
        for report in &self.0 {
            assert_eq!(report.failed(), report.counts.non_2xx, "something else than bad answers\n{report}");
        }
        self.0.iter().map(|report| report.counts.non_2xx).sum()
    }

    /// Fails the test where more was lost than the requests that a killed instance was working on: those are reset
    /// or cut, at most one for each client and kill; nobody is refused and nobody waits in vain.
    #[track_caller]
    pub fn assert_lost_only_what_was_being_worked_on(&self, kills: u64) {
        for report in &self.0 {
            let counts = &report.counts;
            let worked_on = counts.reset + counts.truncated + counts.closed;
            assert_eq!(report.failed(), worked_on, "refused or lost\n{report}");
            assert!(worked_on <= kills * CLIENTS as u64, "more than was being worked on\n{report}");
            assert!(counts.ok > 0, "nothing was answered\n{report}");
        }
    }

    /// When a version answered first, if ever.
    #[must_use]
    pub fn first_answer_of(&self, version: &str) -> Option<Timestamp> {
        self.0.iter().filter_map(|report| report.versions.get(version)).map(|seen| seen.first).min()
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|report| writeln!(f, "{report}"))
    }
}
