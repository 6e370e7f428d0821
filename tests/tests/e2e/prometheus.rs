//! Canaries that are judged by what a real Prometheus server has scraped.

use handover_tests::{
    fleet::{Fleet, Prometheus, Sample, Traffic},
    process::wait_until,
};
use serde_json::Value;
use std::time::Duration;

const STEPS: &str = "strategy = \"canary\"\nsteps = [\"10%\", \"50%\"]\nbake = \"4s\"";
const METRICS: &str = "[metrics]\nsource = \"prometheus\"\nrequests = 'http_requests_total{job=\"web\"}'\nerrors = 'http_requests_total{job=\"web\", code=~\"5..\"}'\nlatency = 'http_request_duration_seconds{job=\"web\"}'\ninterval = \"2s\"\n[judge]\nblock = \"2s\"\n";
/// Where each release tells its metrics, beside its listener: behind that are all of them.
const PORTS: [(&str, u16); 2] = [("v1", 9101), ("v2", 9102)];

fn release(version: &str, judge: &str) -> Sample {
    let (_, port) = PORTS.iter().find(|(known, _)| *known == version).unwrap();
    let listen = format!("--listen {{host.address}}:{port}");
    Sample::new(version).rollout(STEPS).more(&format!("{METRICS}{judge}")).flag(&listen)
}

/// A fleet at release v1 whose server asks `prometheus`, with load of one connection for each request, seen for some
/// seconds.
fn at_v1(prometheus: &mut Prometheus, hosts: usize, flags: &str) -> (Fleet, Traffic) {
    let mut fleet = Fleet::with_server_and(&["--prometheus", &prometheus.url()]);
    for _ in 0..hosts {
        fleet.add_host();
    }
    fleet.online(hosts);
    prometheus.scrape(&fleet, &PORTS);
    fleet.push(&release("v1", "").flag(flags));
    fleet.deploy("v1").expect(0);
    let traffic = Traffic::one_connection_each(&fleet);
    traffic.go_on_for(10_000);
    (fleet, traffic)
}

fn course(fleet: &Fleet) -> Value {
    fleet.cli().run(["status", "web", "--json"]).expect(0).last()["course"].clone()
}

#[test]
fn one_as_good_as_the_old_release_passes() {
    let Some(mut prometheus) = Prometheus::here("a canary that Prometheus knows") else { return };
    let (fleet, traffic) = at_v1(&mut prometheus, 2, "");
    fleet.push(&release("v2", "within = \"100s\""));
    let shown = fleet.deploy("v2").expect(0).json();
    let passed: Vec<_> = shown.iter().filter(|snapshot| snapshot["canary"]["verdict"] == "pass").collect();
    let seen = passed.last().expect("it passed without a verdict");
    let metrics = seen["canary"]["metrics"].as_array().unwrap();
    let count = |name: &str| metrics[0][name].as_u64().unwrap();
    assert!(count("canary_requests") > 100 && count("baseline_requests") > 100, "{metrics:?}");
    assert!(metrics.iter().any(|metric| metric["name"] == "latency"), "{metrics:?}");
    assert_eq!(seen["canary"]["prometheus"], "");
    assert_eq!(fleet.versions(), ["v2"; 2]);
    traffic.stop().assert_no_failures();
}

#[test]
fn two_percent_errors_against_a_thousandth_are_found_and_taken_back() {
    let Some(mut prometheus) = Prometheus::here("a canary that Prometheus knows is bad") else { return };
    let (fleet, traffic) = at_v1(&mut prometheus, 2, "--error-rate 0.001");
    fleet.push(&release("v2", "within = \"120s\"").flag("--error-rate 0.02"));
    let done = fleet.deploy("v2").expect(3);
    let reason = done.last()["reason"].as_str().unwrap().to_owned();
    assert!(reason.starts_with("errors: canary ") && reason.contains(" against baseline "), "{reason}");
    assert_eq!(fleet.versions(), ["v1"; 2]);
    let seen = traffic.stop();
    let bad = seen.bad_answers();
    assert!(bad * 20 < seen.requests(), "{bad} of {} clients were answered badly", seen.requests());
}

#[test]
fn a_prometheus_that_is_killed_in_the_middle_is_missing_data_and_the_canary_is_held() {
    let Some(mut prometheus) = Prometheus::here("a canary whose Prometheus is killed") else { return };
    let (fleet, traffic) = at_v1(&mut prometheus, 1, "");
    let steps = STEPS.replace("4s", "15s");
    fleet.push(&release("v2", "within = \"10s\"").rollout(&steps));
    let deploying = fleet.begin("v2");
    wait_until(Duration::from_secs(60), "requests to the canary to be judged", || {
        let judged = &course(&fleet)["canary"]["metrics"][0]["canary_requests"];
        judged.as_u64().is_some_and(|requests| requests > 0)
    });
    prometheus.kill();
    let held = deploying.end().expect(4).last();
    assert_eq!(held["state"], "waits to be promoted");
    let canary = &held["canary"];
    let (silent, said) = (canary["silent"].as_str().unwrap(), canary["prometheus"].as_str().unwrap());
    let expected = format!("cannot connect to {}", prometheus.url().trim_start_matches("http://"));
    assert!(silent.starts_with(&format!("Prometheus: {expected}")), "{silent}");
    assert!(said.starts_with(&expected) && canary["prometheus_since"].as_u64().unwrap() > 0, "{canary}");
    let told = fleet.cli().run(["canary", "web"]).expect(4).stdout;
    assert!(told.contains(&format!("Prometheus: {expected}")), "{told}");
    fleet.cli().run(["abort", "web"]).expect(3);
    assert_eq!(fleet.versions(), ["v1"]);
    traffic.stop().assert_no_failures();
}

#[test]
fn a_server_that_was_given_no_prometheus_says_so() {
    let fleet = Fleet::of(1);
    fleet.push(&release("v1", ""));
    fleet.deploy("v1").expect(0);
    fleet.push(&release("v2", "within = \"6s\""));
    let held = fleet.deploy("v2").expect(4).last();
    let silent = held["canary"]["silent"].as_str().unwrap();
    assert!(silent.contains("this server was given no Prometheus server to ask"), "{silent}");
    fleet.cli().run(["abort", "web"]).expect(3);
}
