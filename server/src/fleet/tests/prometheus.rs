//! A canary whose metrics a Prometheus server has: scraped now and then, asked now and then, and not always there.

use super::{Fixture, name, request};
use crate::fleet::{CanaryView, State};
use handover_model::{
    DeploymentId, Duration, HostName, Latency, Measurement, Sample, ServiceName, Timestamp, Traffic, Usage,
    Version,
};
use handover_prometheus::{Answer, Reading};
use handover_rollout::{DeploymentState, Outcome, StagePhase};
use std::collections::BTreeMap;

const CANARY: &str = "[listeners]\nhttp = \"0.0.0.0:80\"\n[metrics]\nsource = \"prometheus\"\nrequests = \"r\"\nerrors = \"e\"\ninterval = \"5s\"\n[rollout]\nstrategy = \"canary\"\nsteps = [\"5%\", \"50%\"]\nbake = \"20s\"\n[judge]\nwithin = \"5m\"\n";

type Key = (HostName, Version);

/// A Prometheus server and what it scrapes.
struct Played {
    /// Requests a second to a host.
    rate: f64,
    /// Bad ones of ten thousand, by version.
    bad: BTreeMap<&'static str, u64>,
    /// Seconds between two scrapes, and between two questions.
    scrape: u64,
    ask: u64,
    /// What the server makes of an answer.
    says: fn(Answer) -> Result<Answer, String>,
    /// Whether the agents read metrics as well, of a counter that counts a tenth of the requests.
    endpoint: bool,
    /// How often each instance was started again.
    run: u32,
    second: u64,
    /// What each release on each host has answered, and what was scraped of it last.
    sent: BTreeMap<Key, f64>,
    scraped: BTreeMap<Key, (Timestamp, u64)>,
}

impl Played {
    fn new(bad: &[(&'static str, u64)]) -> Self {
        Self {
            rate: 1000.0,
            bad: bad.iter().copied().collect(),
            scrape: 5,
            ask: 5,
            says: Ok,
            endpoint: false,
            run: 0,
            second: 0,
            sent: BTreeMap::new(),
            scraped: BTreeMap::new(),
        }
    }

    /// A second of requests.
    fn second(&mut self, fleet: &mut Fixture) {
        fleet.report_all();
        let service: ServiceName = name("web");
        for (host, session) in fleet.sessions.clone() {
            let Some(record) = fleet.state.hosts[&host].assignments.get(&service) else { continue };
            let mut instances = BTreeMap::new();
            for placed in &record.assignment.0 {
                let key = (host.clone(), placed.release.version.clone());
                let sent = self.sent.entry(key).or_default();
                *sent += self.rate * f64::from(placed.share.basis_points()) / 10_000.0;
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a test's counters"
                )]
                let tenth = Traffic { requests: *sent as u64 / 10, bad: 0, latency: None };
                let elsewhere = || "the server asks Prometheus for its metrics".to_owned();
                let sample = Sample {
                    run: self.run,
                    share: placed.share,
                    traffic: self.endpoint.then_some(tenth).ok_or_else(elsewhere),
                    usage: Usage::default(),
                };
                instances.insert(placed.instance.clone(), sample);
            }
            let measurement = Measurement { service: service.clone(), instances };
            let measured = [(service.clone(), measurement)].into();
            fleet.state.measured(&host, session, measured, fleet.now);
        }
        self.second += 1;
        if self.second.is_multiple_of(self.scrape) {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counters of a test")]
            let now = self.sent.iter().map(|(key, sent)| (key.clone(), (fleet.now, *sent as u64)));
            self.scraped = now.collect();
        }
        if self.second.is_multiple_of(self.ask) {
            let said = (self.says)(self.answer(fleet.now));
            for (of, asked) in fleet.state.asked_of_prometheus() {
                fleet.state.prometheus_said(&of, &asked, said.clone(), fleet.now);
            }
        }
        fleet.now = fleet.now + Duration::from_secs(1);
        fleet.act(State::tick).unwrap();
    }

    fn seconds(&mut self, fleet: &mut Fixture, seconds: u64) {
        (0..seconds).for_each(|_| self.second(fleet));
    }

    fn answer(&self, now: Timestamp) -> Answer {
        let reading = |((host, version), (at, requests)): (&Key, &(Timestamp, u64))| {
            let bad = requests * self.bad.get(version.as_str()).copied().unwrap_or(0) / 10_000;
            let latency = Latency::new(vec![0.1], vec![*requests, 0]).ok();
            let traffic = Traffic { requests: *requests, bad, latency };
            let reading = Reading { sampled: *at, age: now.since(*at), traffic };
            ((host.to_string(), version.to_string()), Ok(reading))
        };
        Answer { readings: self.scraped.iter().map(reading).collect(), ..Answer::default() }
    }

    /// Seconds until the deployment ends or waits for a person.
    fn until_settled(&mut self, fleet: &mut Fixture, id: DeploymentId) -> u64 {
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

    /// All that a release was sent, on all hosts.
    fn all_sent(&self, version: &str) -> f64 {
        self.sent.iter().filter(|((_, of), _)| of.as_str() == version).map(|(_, sent)| sent).sum()
    }
}

/// A fleet at release 1 that was measured for a while, and a canary of release 2 that begins.
fn begun(played: &mut Played, manifest: &str) -> (Fixture, DeploymentId) {
    begun_with(played, manifest, manifest)
}

/// The same, with a manifest for each release.
fn begun_with(played: &mut Played, first: &str, second: &str) -> (Fixture, DeploymentId) {
    let mut fleet = Fixture::with_hosts(&["a", "b"]);
    for (version, manifest) in [("1", first), ("2", second)] {
        fleet.push("web", version, manifest);
    }
    fleet.deploy(&request("web", "1")).unwrap();
    fleet.settle();
    played.seconds(&mut fleet, 65);
    let id = fleet.deploy(&request("web", "2")).unwrap();
    (fleet, id)
}

fn shown(fleet: &Fixture, id: DeploymentId) -> CanaryView {
    fleet.state.canary(id).expect("nothing is shown of the canary")
}

/// Requests of the canary and of the baseline that were judged.
fn judged(fleet: &Fixture, id: DeploymentId) -> [f64; 2] {
    let judgement = shown(fleet, id).judgement.expect("nothing was judged");
    #[expect(clippy::cast_precision_loss, reason = "far below what f64 holds")]
    let counts = [judgement.metrics[0].canary[0], judgement.metrics[0].baseline[0]].map(|count| count as f64);
    counts
}

/// Why nothing is known.
fn silent(fleet: &Fixture, id: DeploymentId) -> String {
    shown(fleet, id).silent
}

fn stays(bake: &str) -> String {
    CANARY.replace("20s", bake)
}

#[test]
fn a_canary_as_good_as_the_baseline_passes_each_step() {
    let mut played = Played::new(&[("1", 10), ("2", 10)]);
    let (mut fleet, id) = begun(&mut played, CANARY);
    played.until_settled(&mut fleet, id);
    assert_eq!(fleet.current("web").as_deref(), Some("2"));
    assert_eq!(shown(&fleet, id).prometheus, None);
}

#[test]
fn a_canary_with_more_errors_goes_back_everywhere() {
    let mut played = Played::new(&[("1", 10), ("2", 200)]);
    let (mut fleet, id) = begun(&mut played, CANARY);
    let seconds = played.until_settled(&mut fleet, id);
    let Some(Outcome::RolledBack { .. }) = fleet.state.finals[&id].engine.outcome() else {
        panic!("{:?}", fleet.state.finals[&id].engine.outcome())
    };
    let reason = &fleet.state.deployments[&id].reason;
    assert!(reason.starts_with("errors: canary ") && reason.contains(" against baseline "), "{reason}");
    assert!(seconds <= 90, "found after {seconds} s only");
}

#[test]
fn a_server_that_does_not_answer_is_missing_data_with_its_reason_and_since_when() {
    let mut played = Played::new(&[]);
    let (mut fleet, id) = begun(&mut played, CANARY);
    played.says = |_| Err("HTTP 503 Service Unavailable".to_owned());
    let began = fleet.now;
    let seconds = played.until_settled(&mut fleet, id);
    assert!((320..=340).contains(&seconds), "bake and within are 320 s, not {seconds}");
    let waiting = fleet.state.live[&id].engine.waiting_on().unwrap();
    assert!(waiting.until.is_none() && waiting.what.contains("no verdict"), "{waiting:?}");
    assert_eq!(silent(&fleet, id), "Prometheus: HTTP 503 Service Unavailable");
    let view = shown(&fleet, id).prometheus.unwrap();
    assert_eq!(view.said, "HTTP 503 Service Unavailable");
    assert!(view.since.unwrap().since(began) < Duration::from_secs(10), "since it failed first: {view:?}");
    assert_eq!(fleet.runs("a", "web").as_deref(), Some("1"), "the old one has the most");
}

#[test]
fn one_that_is_back_is_gone_on_with_and_what_happened_meanwhile_is_counted_once() {
    let mut played = Played::new(&[]);
    let (mut fleet, id) = begun(&mut played, &stays("300s"));
    played.seconds(&mut fleet, 40);
    played.says = |_| Err("gone".to_owned());
    played.seconds(&mut fleet, 60);
    let [before, _] = judged(&fleet, id);
    played.says = Ok;
    played.seconds(&mut fleet, 30);
    let [after, baseline] = judged(&fleet, id);
    assert!(after >= before + 80.0 * 2.0 * 50.0, "{before} then {after}");
    assert!(after <= played.all_sent("2") && baseline <= played.all_sent("1"));
}

#[test]
fn a_server_that_scrapes_more_rarely_than_it_is_asked_loses_nothing_and_counts_nothing_twice() {
    let mut played = Played { scrape: 12, ..Played::new(&[("1", 10), ("2", 10)]) };
    let (mut fleet, id) = begun(&mut played, &stays("300s"));
    played.seconds(&mut fleet, 200);
    let ([canary, baseline], sent) = (judged(&fleet, id), played.all_sent("2"));
    assert!(canary <= sent, "{canary} of {sent}");
    // What came before the first sample of its own, and after the last one.
    assert!(canary >= sent - 2.0 * 50.0 * 45.0, "{canary} of {sent}");
    let blocks = shown(&fleet, id).blocks;
    let mut counted = blocks.iter().skip_while(|block| block.canary[0] == 0);
    let none = counted.find(|block| block.canary[0] == 0 || block.baseline[0] == 0);
    assert_eq!(none, None, "a block without a scrape is no block without requests");
    let ratio = baseline / canary;
    assert!((18.0..20.0).contains(&ratio), "both releases are counted over the same time: {ratio}");
}

#[test]
fn samples_that_stand_still_become_missing_data_and_are_no_lack_of_traffic() {
    let mut played = Played::new(&[]);
    let (mut fleet, id) = begun(&mut played, &stays("300s"));
    played.seconds(&mut fleet, 30);
    played.scrape = u64::MAX;
    played.seconds(&mut fleet, 40);
    let told = silent(&fleet, id);
    assert!(told.contains("a: its newest sample in Prometheus is ") && told.contains(" s old"), "{told}");
}

#[test]
fn a_release_that_the_server_does_not_know_is_named_beside_what_it_has_instead() {
    let mut played = Played::new(&[]);
    let (mut fleet, id) = begun(&mut played, CANARY);
    played.says = |answer| {
        let renamed = |((host, version), reading): ((String, String), _)| {
            let version = if version == "2" { "2-dirty".to_owned() } else { version };
            ((host, version), reading)
        };
        Ok(Answer { readings: answer.readings.into_iter().map(renamed).collect(), nameless: 3, ..answer })
    };
    played.seconds(&mut fleet, 40);
    let told = silent(&fleet, id);
    let expected = "a: Prometheus has no series of it (host=\"a\", version=\"2\"), and 5 of no host and release here, such as host=\"a\", version=\"2-dirty\"";
    assert_eq!(told, expected);
}

#[test]
fn series_that_are_missing_for_a_scrape_do_not_count_again_when_they_are_back() {
    let mut played = Played::new(&[]);
    let (mut fleet, id) = begun(&mut played, &stays("300s"));
    played.seconds(&mut fleet, 60);
    played.says = |mut answer| {
        for reading in answer.readings.values_mut().flatten() {
            reading.traffic.requests /= 3;
            reading.traffic.latency = None;
        }
        Ok(answer)
    };
    played.seconds(&mut fleet, 25);
    let told = silent(&fleet, id);
    assert!(told.contains("its counters fell, from ") && told.contains("was not started again"), "{told}");
    played.says = Ok;
    played.seconds(&mut fleet, 30);
    let [canary, baseline] = judged(&fleet, id);
    assert!(canary <= played.all_sent("2"), "{canary} of {}", played.all_sent("2"));
    assert!(baseline <= played.all_sent("1"), "{baseline} of {}", played.all_sent("1"));
    assert!(canary >= 2.0 * 50.0 * 80.0, "{canary}");
}

#[test]
fn an_instance_that_was_started_again_is_followed_from_its_first_sample_on() {
    let mut played = Played::new(&[]);
    let (mut fleet, id) = begun(&mut played, &stays("300s"));
    played.seconds(&mut fleet, 60);
    let [before, _] = judged(&fleet, id);
    played.run += 1;
    played.sent.values_mut().for_each(|sent| *sent = 0.0);
    // A block ends before it is scraped again: what the server has is of the run before.
    played.scrape = u64::MAX;
    played.seconds(&mut fleet, 11);
    played.scrape = 5;
    played.seconds(&mut fleet, 60);
    let [after, _] = judged(&fleet, id);
    assert!(after > before + 2.0 * 50.0 * 25.0, "{before} then {after}");
    assert!(after <= before + played.all_sent("2") + 2.0 * 50.0 * 15.0, "{before} then {after}");
}

#[test]
fn counts_of_an_endpoint_and_of_a_prometheus_server_are_not_compared() {
    let mut played = Played { endpoint: true, ..Played::new(&[]) };
    let of_endpoint = CANARY.replace("source = \"prometheus\"\n", "");
    let (mut fleet, id) = begun_with(&mut played, &of_endpoint, &stays("300s"));
    let before = played.all_sent("1");
    played.seconds(&mut fleet, 60);
    let view = shown(&fleet, id);
    assert!(view.blocks.iter().any(|block| block.canary[0] > 0), "{view:?}");
    #[expect(clippy::cast_precision_loss, reason = "far below what f64 holds")]
    let shown = view.blocks.iter().map(|block| block.baseline[0]).sum::<u64>() as f64;
    let since = played.all_sent("1") - before;
    assert!(shown > 0.0 && shown <= since, "{shown} of {since}");
}

#[test]
fn an_answer_to_another_question_than_the_present_one_is_dropped() {
    let mut played = Played::new(&[]);
    let (mut fleet, _) = begun(&mut played, CANARY);
    let (of, asked) = fleet.state.asked_of_prometheus().pop_first().unwrap();
    assert_eq!(of, name("web"));
    let mut other = asked.clone();
    other.of.release_label = "tag".to_owned();
    fleet.state.prometheus_said(&of, &other, Err("no".to_owned()), fleet.now);
    played.says = |answer| Ok(Answer { warning: Some("\"a store is away\"".to_owned()), ..answer });
    played.seconds(&mut fleet, 20);
    let id = *fleet.state.live.keys().next().unwrap();
    let view = shown(&fleet, id).prometheus.unwrap();
    assert_eq!((view.said.as_str(), view.since), ("answers with a warning: \"a store is away\"", None));
}
