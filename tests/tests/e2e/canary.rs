//! Canaries under load: what is good passes step by step, what is bad is found and taken back by itself.

use handover_tests::{
    fleet::{Fleet, Sample, Traffic, UP},
    process::wait_until,
};
use serde_json::Value;

const STEPS: &str = "strategy = \"canary\"\nsteps = [\"5%\", \"25%\", \"100%\"]\nbake = \"2s\"";
/// Looked at every second, so that a test sees some looks.
const JUDGE: &str = "[metrics]\ninterval = \"1s\"\ntimeout = \"1s\"\n[judge]\nblock = \"1s\"\n";

fn release(version: &str, judge: &str) -> Sample {
    Sample::new(version).rollout(STEPS).more(&format!("{JUDGE}{judge}"))
}

/// A fleet at release v1, with load of one connection for each request, seen for some seconds.
fn at_v1(hosts: usize, flags: &str) -> (Fleet, Traffic) {
    let fleet = Fleet::of(hosts);
    fleet.push(&release("v1", "").flag(flags));
    fleet.deploy("v1").expect(0);
    let traffic = Traffic::one_connection_each(&fleet);
    traffic.go_on_for(5_000);
    (fleet, traffic)
}

fn reason(deployment: &Value) -> String {
    deployment["reason"].as_str().unwrap().to_owned()
}

#[test]
fn one_as_good_as_the_old_release_passes_5_25_100_and_no_request_fails() {
    let (fleet, paced) = at_v1(2, "");
    let kept = Traffic::on(&fleet);
    fleet.push(&release("v2", "within = \"90s\""));
    let done = fleet.deploy("v2").expect(0);
    let shown = done.json();
    let shares: Vec<_> =
        shown[0]["plan"]["stages"].as_array().unwrap().iter().map(|stage| stage["share"].clone()).collect();
    assert_eq!(shares, [500, 2500, 10_000]);
    let verdicts: Vec<_> = shown.iter().filter(|snapshot| snapshot["canary"]["verdict"] == "pass").collect();
    assert!(!verdicts.is_empty(), "it passed without a verdict");
    let seen = verdicts.last().unwrap();
    let (canary, baseline) = (
        &seen["canary"]["metrics"][0]["canary_requests"],
        &seen["canary"]["metrics"][0]["baseline_requests"],
    );
    assert!(canary.as_u64().unwrap() > 100 && baseline.as_u64() > canary.as_u64(), "{canary} of {baseline}");
    assert_eq!(fleet.versions(), ["v2"; 2]);
    paced.stop().assert_no_failures();
    kept.stop().assert_no_failures();
}

#[test]
fn two_percent_errors_against_a_thousandth_are_found_and_taken_back_with_the_share_of_users_hit() {
    let (fleet, traffic) = at_v1(2, "--error-rate 0.001");
    fleet.push(&release("v2", "within = \"120s\"").flag("--error-rate 0.02"));
    let done = fleet.deploy("v2").expect(3);
    let reason = reason(&done.last());
    assert!(reason.starts_with("errors: canary ") && reason.contains(" against baseline "), "{reason}");
    assert_eq!(fleet.versions(), ["v1"; 2]);
    let seen = traffic.stop();
    let bad = seen.bad_answers();
    assert!(bad * 20 < seen.requests(), "{bad} of {} clients were answered badly", seen.requests());
    let told = fleet.cli().run(["canary", "web"]).expect(3).stdout;
    assert!(told.contains("the new release answered ") && told.contains("of them badly"), "{told}");
}

#[test]
fn one_that_is_three_times_slower_is_found_by_its_latency() {
    let (fleet, traffic) = at_v1(2, "--latency 4ms");
    fleet.push(&release("v2", "within = \"120s\"").flag("--latency 12ms"));
    let done = fleet.deploy("v2").expect(3);
    let reason = reason(&done.last());
    assert!(reason.contains("slower than"), "{reason}");
    assert_eq!(fleet.versions(), ["v1"; 2]);
    traffic.stop().assert_no_failures();
}

#[test]
fn with_too_little_traffic_it_is_held_and_a_person_decides() {
    let fleet = Fleet::of(2);
    fleet.push(&release("v1", ""));
    fleet.deploy("v1").expect(0);
    fleet.push(&release("v2", "within = \"2s\""));
    let waits = fleet.deploy("v2").expect(4);
    assert_eq!(waits.last()["state"], "waits to be promoted");
    let what = waits.last()["waiting"]["what"].as_str().unwrap().to_owned();
    assert!(what.contains("no verdict in time"), "{what}");
    let answers: Vec<String> = (0..50).flat_map(|_| fleet.versions()).collect();
    let old = answers.iter().filter(|version| *version == "v1").count();
    assert!(old > 50, "the most goes to the old one, and {old} of 100 did");
    fleet.cli().run(["abort", "web"]).expect(3);
    assert_eq!(fleet.versions(), ["v1"; 2]);
}

#[test]
fn metrics_that_vanish_are_missing_data_and_the_reason_is_told() {
    let (fleet, traffic) = at_v1(1, "");
    fleet.push(&release("v2", "within = \"8s\"").flag("--metrics-vanish-after 2s"));
    let waits = fleet.deploy("v2").expect(4);
    let silent = waits.last()["canary"]["silent"].as_str().unwrap().to_owned();
    assert!(silent.contains(&fleet.agents[0].host) && silent.contains("404"), "{silent}");
    fleet.cli().run(["abort", "web"]).expect(3);
    traffic.stop().assert_no_failures();
}

#[test]
fn server_and_agents_killed_in_every_step_lose_neither_requests_nor_what_the_judge_knew() {
    let (mut fleet, traffic) = at_v1(2, "");
    fleet.push(&release("v2", "within = \"90s\""));
    let deploying = fleet.begin("v2");
    for stage in 1..=2 {
        wait_until(UP, &format!("stage {stage} to be judged"), || {
            let shown = fleet.cli().run(["status", "web", "--json"]).expect(0).last();
            shown["course"]["stage"] == stage - 1 && shown["course"]["canary"]["stage"] == stage - 1
        });
        let before = judged(&fleet);
        fleet.server.kill();
        fleet.agents[stage - 1].kill();
        fleet.agents[stage - 1].start();
        fleet.server.restart();
        fleet.online(2);
        wait_until(UP, "the judge to go on", || judged(&fleet) >= before);
    }
    deploying.end().expect(0);
    assert_eq!(fleet.versions(), ["v2"; 2]);
    traffic.stop().assert_no_failures();
    fleet.one_instance_each(0);
}

/// Requests of both releases that the judge has compared; as many as there can be where the canary is over.
fn judged(fleet: &Fleet) -> u64 {
    let shown = fleet.cli().run(["status", "web", "--json"]).expect(0).last();
    let errors = &shown["course"]["canary"]["metrics"][0];
    let count = |name: &str| errors[name].as_u64();
    match (count("canary_requests"), count("baseline_requests")) {
        (Some(canary), Some(baseline)) => canary + baseline,
        _ if shown["course"].is_null() => u64::MAX,
        _ => 0,
    }
}
