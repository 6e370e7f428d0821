//! A canary as the fleet drives it: measured, judged, passed or taken back.

use super::{Fixture, name, request};
use crate::{
    fleet::{CanaryView, State},
    store::{Keyspace, scan_json},
};
use handover_model::{
    DeploymentId, Duration, Ends, HostName, InstanceId, Latency, Measurement, Refused, Sample, ServiceName,
    Share, Timestamp, Traffic, Usage,
};
use handover_rollout::{DeploymentState, Outcome, StagePhase};
use std::collections::BTreeMap;

pub(super) const CANARY: &str = "[listeners]\nhttp = \"0.0.0.0:80\"\n[metrics]\n[rollout]\nstrategy = \"canary\"\nsteps = [\"5%\", \"50%\"]\nbake = \"20s\"\n[judge]\nwithin = \"5m\"\n";

/// Clients of the service, and what each version makes of their requests.
pub(super) struct Clients {
    /// Requests a second to a host.
    pub(super) rate: u64,
    /// Bad ones of ten thousand, by version.
    bad: BTreeMap<&'static str, u64>,
    /// Versions of which one request in four is slow.
    pub(super) slow: Vec<&'static str>,
    /// Versions whose metrics cannot be read.
    pub(super) silent: Vec<&'static str>,
    /// Mebibytes that each instance of a version has, and percent of a processor that it takes.
    pub(super) uses: BTreeMap<&'static str, (u64, u64)>,
    /// Of ten thousand connections of a version how many are reset; each has ten requests.
    pub(super) resets: BTreeMap<&'static str, u64>,
    /// How many connections each instance of a version turns away in a minute.
    pub(super) refused: BTreeMap<&'static str, u64>,
    sent: BTreeMap<(HostName, InstanceId), f64>,
}

impl Clients {
    pub(super) fn new(rate: u64, bad: &[(&'static str, u64)]) -> Self {
        let bad = bad.iter().copied().collect();
        Self {
            rate,
            bad,
            slow: Vec::new(),
            silent: Vec::new(),
            uses: BTreeMap::new(),
            resets: BTreeMap::new(),
            refused: BTreeMap::new(),
            sent: BTreeMap::new(),
        }
    }

    /// A second of requests, after which every host measures.
    pub(super) fn second(&mut self, fleet: &mut Fixture) {
        fleet.report_all();
        for (host, session) in fleet.sessions.clone() {
            let Some(record) = fleet.state.hosts[&host].assignments.get(&name::<ServiceName>("web")) else {
                continue;
            };
            let mut instances = BTreeMap::new();
            for placed in &record.assignment.0 {
                let key = (host.clone(), placed.instance.clone());
                let sent = self.sent.entry(key).or_default();
                #[expect(clippy::cast_precision_loss, reason = "far below what f64 holds")]
                let rate = self.rate as f64;
                *sent += rate * f64::from(placed.share.basis_points()) / 10_000.0;
                let sent = *sent;
                let version = placed.release.version.as_str();
                let sample = Sample {
                    run: 0,
                    share: placed.share,
                    traffic: self.traffic(version, sent),
                    usage: self.usage(version, sent, fleet.now),
                };
                instances.insert(placed.instance.clone(), sample);
            }
            let measurement = Measurement { service: name("web"), instances };
            let measured = [(name("web"), measurement)].into();
            fleet.state.measured(&host, session, measured, fleet.now);
        }
        fleet.now = fleet.now + Duration::from_secs(1);
        fleet.act(State::tick).unwrap();
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counters of a test")]
    fn traffic(&self, version: &str, sent: f64) -> Result<Traffic, String> {
        if self.silent.contains(&version) {
            return Err("no answer within 2 s".to_owned());
        }
        let requests = sent as u64;
        let bad = requests * self.bad.get(version).copied().unwrap_or(0) / 10_000;
        let slow = if self.slow.contains(&version) { requests / 4 } else { requests / 100 };
        let latency = Latency::new(vec![0.01, 0.1, 1.0], vec![0, requests - slow, slow, 0]).ok();
        Ok(Traffic { requests, bad, latency })
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counters of a test")]
    fn usage(&self, version: &str, sent: f64, now: Timestamp) -> Usage {
        // The host's clock is not the server's.
        let clock = now.unix_millis() * 1000 - 77;
        let ended = sent as u64 / 10;
        let ends = |part: &u64| Ends { since_micros: 7, ended, reset: ended * part / 10_000 };
        let refused = |a_minute: &u64| Refused {
            since_micros: 7,
            clock_micros: clock,
            count: clock * a_minute / 60_000_000,
        };
        let uses = self.uses.get(version);
        Usage {
            connections: None,
            ends: self.resets.get(version).map(ends),
            refused: self.refused.get(version).map(refused),
            memory: uses.map(|(mebibytes, _)| mebibytes << 20),
            cpu_micros: uses.map(|(_, percent)| clock / 100 * percent),
            clock_micros: uses.map(|_| clock),
        }
    }

    /// Seconds until the deployment ends or waits for a person.
    pub(super) fn until_settled(&mut self, fleet: &mut Fixture, id: DeploymentId) -> u64 {
        for second in 0..1200 {
            let Some(live) = fleet.state.live.get(&id) else { return second };
            let state = live.engine.state();
            if matches!(state, DeploymentState::Running { phase: StagePhase::Approving { .. }, .. }) {
                return second;
            }
            self.second(fleet);
        }
        panic!("it neither ends nor waits: {:?}", fleet.state.live[&id].engine.waiting_on());
    }
}

/// A fleet at release 1 that was measured for a while, and a canary of release 2 that begins.
pub(super) fn begun(clients: &mut Clients, manifest: &str) -> (Fixture, DeploymentId) {
    let mut fleet = Fixture::with_hosts(&["a", "b"]);
    for version in ["1", "2"] {
        fleet.push("web", version, manifest);
    }
    fleet.deploy(&request("web", "1")).unwrap();
    fleet.settle();
    for _ in 0..65 {
        clients.second(&mut fleet);
    }
    let id = fleet.deploy(&request("web", "2")).unwrap();
    (fleet, id)
}

pub(super) fn shown(fleet: &Fixture, id: DeploymentId) -> CanaryView {
    fleet.state.canary(id).expect("nothing is shown of the canary")
}

pub(super) fn reason(fleet: &Fixture, id: DeploymentId) -> String {
    fleet.state.deployments[&id].reason.clone()
}

/// With what words each of its steps was passed.
pub(super) fn passed(fleet: &Fixture, id: DeploymentId) -> Vec<String> {
    let key = super::super::records::deployment_key(id);
    scan_json::<handover_rollout::Record>(&*fleet.store, Keyspace::Journal, &key)
        .filter_map(|entry| match entry.unwrap().1 {
            handover_rollout::Record::JudgementPassed { verdict, .. } => Some(verdict),
            _other => None,
        })
        .collect()
}

#[test]
fn a_canary_as_good_as_the_baseline_passes_each_step() {
    let mut clients = Clients::new(1000, &[("1", 10), ("2", 10)]);
    let (mut fleet, id) = begun(&mut clients, CANARY);
    clients.until_settled(&mut fleet, id);
    assert_eq!(fleet.current("web").as_deref(), Some("2"));
    let passed = passed(&fleet, id);
    assert_eq!(passed.len(), 2, "{passed:?}");
    assert!(passed[0].starts_with("errors: canary "), "{}", passed[0]);
    assert_eq!(shown(&fleet, id).stage, 1, "what it said last is still shown");
    assert_eq!(scan_json::<serde_json::Value>(&*fleet.store, Keyspace::Judges, &[]).count(), 0);
}

#[test]
fn a_canary_with_more_errors_goes_back_everywhere_with_its_numbers_in_one_line() {
    let mut clients = Clients::new(1000, &[("1", 10), ("2", 200)]);
    let (mut fleet, id) = begun(&mut clients, CANARY);
    let seconds = clients.until_settled(&mut fleet, id);
    let Some(Outcome::RolledBack { .. }) = fleet.state.finals[&id].engine.outcome() else {
        panic!("{:?}", fleet.state.finals[&id].engine.outcome())
    };
    let reason = reason(&fleet, id);
    assert!(reason.starts_with("errors: canary ") && reason.contains(" against baseline "), "{reason}");
    assert!(seconds <= 60, "found after {seconds} s only");
    for host in ["a", "b"] {
        assert_eq!(fleet.runs(host, "web").as_deref(), Some("1"));
    }
}

#[test]
fn a_slow_canary_goes_back_by_its_latency() {
    let mut clients = Clients::new(1000, &[("1", 10), ("2", 10)]);
    clients.slow.push("2");
    let (mut fleet, id) = begun(&mut clients, CANARY);
    clients.until_settled(&mut fleet, id);
    let reason = reason(&fleet, id);
    assert!(reason.starts_with("latency: ") || reason.starts_with("histogram: "), "{reason}");
    assert!(reason.contains("slower than 0.1 s"), "{reason}");
}

#[test]
fn without_traffic_it_is_held_until_a_person_decides() {
    let mut clients = Clients::new(0, &[]);
    let (mut fleet, id) = begun(&mut clients, CANARY);
    let seconds = clients.until_settled(&mut fleet, id);
    assert!((320..=340).contains(&seconds), "bake and within are 320 s, not {seconds}");
    let waiting = fleet.state.live[&id].engine.waiting_on().unwrap();
    assert_eq!(waiting.until, None, "{waiting:?}");
    assert!(waiting.what.contains("no verdict"), "{waiting:?}");
    assert_eq!(fleet.runs("a", "web").as_deref(), Some("1"), "the old one has the most");
}

#[test]
fn metrics_that_vanish_say_why_and_are_no_pass() {
    let mut clients = Clients::new(1000, &[]);
    let (mut fleet, id) = begun(&mut clients, CANARY);
    clients.silent.push("2");
    for _ in 0..60 {
        clients.second(&mut fleet);
    }
    let waiting = fleet.state.live[&id].engine.waiting_on().unwrap();
    assert!(waiting.what.contains("a: no answer within 2 s"), "{waiting:?}");
    assert_eq!(shown(&fleet, id).stage, 0);
    clients.silent.clear();
    clients.until_settled(&mut fleet, id);
    assert_eq!(fleet.current("web").as_deref(), Some("2"), "it goes on when they are back");
}

#[test]
fn a_server_that_is_killed_goes_on_with_what_its_judge_knew() {
    let mut clients = Clients::new(300, &[("1", 10), ("2", 45)]);
    let (mut fleet, id) = begun(&mut clients, &CANARY.replace("20s", "300s"));
    for _ in 0..50 {
        clients.second(&mut fleet);
    }
    let before = shown(&fleet, id).judgement.expect("nothing was judged before the crash");
    assert!(before.blocks >= 3, "{before:?}");
    fleet.crash_and_start_again();
    assert_eq!(shown(&fleet, id).judgement, Some(before.clone()));
    for _ in 0..30 {
        clients.second(&mut fleet);
    }
    let after = shown(&fleet, id).judgement.unwrap();
    assert!(after.blocks > before.blocks);
    let canary = |judgement: &handover_judge::Judgement| judgement.metrics[0].canary[0];
    assert!(canary(&after) > canary(&before), "its sums began anew");
}

#[test]
fn a_judge_that_was_left_of_a_deployment_that_ended_is_cleared_away_at_the_next_start() {
    let mut clients = Clients::new(300, &[]);
    let (mut fleet, id) = begun(&mut clients, &CANARY.replace("20s", "300s"));
    for _ in 0..30 {
        clients.second(&mut fleet);
    }
    let judges = |fleet: &Fixture| {
        let all = scan_json::<serde_json::Value>(&*fleet.store, Keyspace::Judges, &[]);
        all.map(Result::unwrap).collect::<Vec<_>>()
    };
    let [(_, record)] = judges(&fleet).try_into().unwrap();
    fleet
        .act(|_, _, effects| {
            effects.put(
                Keyspace::Judges,
                super::super::records::deployment_key(DeploymentId::new(1)),
                &record,
            )
        })
        .unwrap();
    assert_eq!(judges(&fleet).len(), 2);
    fleet.crash_and_start_again();
    let left: Vec<_> = judges(&fleet).into_iter().map(|(key, _)| key).collect();
    assert_eq!(left, [super::super::records::deployment_key(id)]);
}

#[test]
fn a_share_that_is_measured_is_shown_beside_the_one_that_was_asked_for() {
    let mut clients = Clients::new(1000, &[]);
    let (mut fleet, id) = begun(&mut clients, &CANARY.replace("20s", "300s"));
    for _ in 0..30 {
        clients.second(&mut fleet);
    }
    let view = shown(&fleet, id);
    assert_eq!(view.asked, Share::new(500).unwrap());
    let block = view.blocks.last().unwrap();
    let [canary, baseline] = [block.canary[0], block.baseline[0]];
    assert_eq!(canary * 20, canary + baseline, "5 % of all requests: {block:?}");
}
