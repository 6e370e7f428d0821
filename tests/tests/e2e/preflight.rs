//! Preflights of real services: what earlier deployments showed, deployments that are refused, and how that is overridden.

use handover_tests::{
    fleet::{Fleet, Sample, Traffic, UP},
    http::{self, Connection},
    process::wait_until,
};
use serde_json::Value;

/// A point of a release: how it stands, and what it says.
fn point(fleet: &Fleet, version: &str, number: u64) -> (String, String) {
    let shown = fleet.cli().run(["preflight", "web", "--release", version, "--json"]).last();
    let points = shown["points"].as_array().unwrap();
    let point = points.iter().find(|point| point["number"] == number).unwrap();
    let evidence: Vec<&str> =
        point["evidence"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    (point["grade"].as_str().unwrap().to_owned(), evidence.join("; "))
}

#[track_caller]
fn is(found: &(String, String), grade: &str, evidence: &str) {
    assert!(found.0 == grade && found.1.contains(evidence), "{found:?}");
}

/// A fleet of one host at a release.
fn at(sample: &Sample) -> Fleet {
    let fleet = Fleet::of(1);
    fleet.push(sample);
    fleet.deploy(&sample.version).expect(0);
    fleet
}

#[test]
fn a_release_whose_readiness_is_its_liveness_is_refused_and_the_first_one_is_not() {
    let same = "[liveness]\nkind = \"http\"\npath = \"/ready\"\n";
    let fleet = at(&Sample::new("v1").more(same));
    fleet.push(&Sample::new("v2").more(same));
    let told = fleet.cli().run(["preflight", "web"]).expect(6).stdout;
    assert!(told.starts_with("preflight of web v2: the current release is v1\n"), "{told}");
    assert!(told.contains("\n1 readiness: fail, and refuses a deployment\n"), "{told}");
    assert!(told.contains("    to do: give [liveness] a check of its own"), "{told}");
    assert!(told.contains("\n3 schema: pass\n    none declared\n"), "{told}");
    let refused = fleet.deploy("v2").expect(6).stderr;
    assert!(refused.contains("fail 1, readiness: readiness and liveness are one check"), "{refused}");
    assert!(refused.contains("--override-preflight --reason WHY"), "{refused}");
    assert_eq!(fleet.versions(), ["v1"]);
    fleet.push(&Sample::new("v3").more("[liveness]\nkind = \"http\"\npath = \"/live\"\n"));
    let deployed = fleet.cli().run(["deploy", "web", "--version", "v3", "--yes"]).expect(0).stdout;
    let (before, _) = deployed.split_once("plan: web v3").expect("there is no plan");
    assert!(before.starts_with("preflight: pass: ") && before.contains("3 schema, 4 draining\n"), "{before}");
    assert!(before.contains("  warn: 2 compatibility: v3 does not declare"), "{before}");
    assert_eq!(fleet.versions(), ["v3"]);
}

#[test]
fn one_that_was_ready_before_it_served_is_known_by_its_last_deployment_and_a_rehearsal_shows_better() {
    // Long enough that the host has looked, and that the traffic of the first answer has come.
    let early = |version: &str| {
        Sample::new(version)
            .readiness("kind = \"exec\"\ncommand = [\"/bin/true\"]\ninterval = \"50ms\"\n")
            .rollout("bake = \"4s\"")
    };
    let fleet = at(&early("v1").flag("--accept-after 4s"));
    fleet.push(&early("v2"));
    is(
        &point(&fleet, "v2", 1),
        "fail",
        "1 of 1 instances that d1 started were ready and accepted nothing on http",
    );
    is(&point(&fleet, "v2", 1), "fail", "exec of /bin/true: it was never false in 1 start (d1)");
    let refused = fleet.deploy("v2").expect(6).stderr;
    assert!(refused.contains("readiness held before the program served"), "{refused}");
    wait_until(UP, "v1 to serve", || http::get(fleet.addresses()[0], "/").is_ok());
    fleet.cli().run(["rehearse", "web", "--release", "v2", "--for", "1s", "--yes"]).expect(0);
    is(&point(&fleet, "v2", 1), "warn", "d2 showed that what is ready accepts on every listener");
    is(&point(&fleet, "v2", 5), "pass", "rehearsed in d2 on ");
    fleet.deploy("v2").expect(0);
    // One that is false at first passes.
    fleet.push(&Sample::new("v3").flag("--ready-after 1s"));
    is(&point(&fleet, "v3", 1), "warn", "no start with it was seen yet");
    fleet.deploy("v3").expect(0);
    fleet.push(&Sample::new("v4"));
    is(&point(&fleet, "v4", 1), "pass", "http GET /ready at http: false at first in 1 of 1 start");
}

#[test]
fn a_release_that_does_not_go_with_what_runs_is_refused_and_overridden_in_the_audit() {
    let fleet = at(&Sample::new("1.4.0"));
    fleet.push(&Sample::new("3.0.0").top("compatible = [\"2.*\"]"));
    let host = &fleet.agents[0].host;
    let refused = fleet.deploy("3.0.0").expect(6).stderr;
    let why = format!("fail 2, compatibility: not among what 3.0.0 declares (2.*): 1.4.0 on {host}");
    assert!(refused.contains(&why), "{refused}");
    let planned =
        fleet.cli().run(["deploy", "web", "--version", "3.0.0", "--plan", "--json"]).expect(0).last();
    assert_eq!(planned["preflight"]["points"][1]["stops"], true);
    let traffic = Traffic::on(&fleet);
    let over = [
        "deploy",
        "web",
        "--version",
        "3.0.0",
        "--override-preflight",
        "--reason",
        "tried elsewhere",
        "--yes",
    ];
    fleet.cli().run(over).expect(0);
    traffic.stop().assert_no_failures();
    let audit = fleet.cli().run(["audit", "--json"]).expect(0).json();
    let told = |entry: &Value| {
        entry["reason"] == "tried elsewhere"
            && entry["detail"].as_str().unwrap().ends_with("; with --override-preflight")
    };
    assert!(audit.iter().any(told), "the override is not in the audit");
    fleet.cli().run(["rollback", "web", "--yes"]).expect(0);
    assert_eq!(fleet.versions(), ["1.4.0"], "a rollback always goes");
    fleet.push(&Sample::new("3.0.1").top("compatible = [\"1.4.*\", \"2.*\"]"));
    is(&point(&fleet, "3.0.1", 2), "pass", &format!("1.4.0 on {host}"));
    let begun = fleet.deploy("3.0.1").expect(0).json().remove(0);
    assert_eq!(begun["plan"]["preflight"]["points"][1]["grade"], "pass", "{begun}");
}

/// A connection that the service has answered on, and keeps.
fn kept(fleet: &Fleet) -> Connection {
    let mut connection = Connection::open(fleet.addresses()[0]).unwrap();
    connection.ask("/", "").unwrap();
    assert_eq!(connection.answer().unwrap().status, 200);
    connection
}

#[test]
fn connections_that_a_deployment_cut_are_told_before_the_next_one() {
    let short = |version: &str| Sample::new(version).drain("deadline = \"1s\"").flag("--ignore-term");
    let mut fleet = at(&short("v1"));
    let held: Vec<Connection> = (0..3).map(|_| kept(&fleet)).collect();
    fleet.push(&short("v2"));
    fleet.deploy("v2").expect(0);
    drop(held);
    fleet.server.kill();
    fleet.server.restart();
    fleet.online(1);
    fleet.push(&Sample::new("v3"));
    is(
        &point(&fleet, "v3", 4),
        "warn",
        "d2 to v2: 3 cut at the deadline, 0 reset in a queue, of 3 connections of 1 instance (1 killed)",
    );
    fleet.push(&Sample::new("v4").more("[preflight]\ndraining = \"warn\""));
    fleet.deploy("v4").expect(6);
    fleet.deploy("v3").expect(0);
}

#[test]
fn a_rollback_that_was_rehearsed_passes_with_when_and_how_long_it_took() {
    let fleet = at(&Sample::new("v1"));
    fleet.push(&Sample::new("v2"));
    is(&point(&fleet, "v2", 5), "warn", "going from v1 to v2 and back was neither rehearsed nor done");
    fleet.cli().run(["rehearse", "web", "--release", "v2", "--for", "1s", "--yes"]).expect(0);
    let (grade, told) = point(&fleet, "v2", 5);
    assert_eq!(grade, "pass");
    let shown = fleet.cli().run(["rehearse", "web", "--list", "--json"]).expect(0).json();
    for flip in ["forward", "back"] {
        let micros = shown[0][flip]["nanos"].as_u64().unwrap().div_ceil(1000);
        let reported = shown[0][flip]["reported_millis"].as_u64().unwrap();
        let took = format!("{micros} \u{b5}s on the host, reported after {reported} ms");
        assert!(told.contains(&took), "{told} does not have {took}");
    }
    fleet.cli().run(["preflight", "web", "--release", "v2"]).expect(0);
    fleet.deploy("v2").expect(0);
    fleet.cli().run(["rollback", "web", "--yes"]).expect(0);
    is(&point(&fleet, "v2", 5), "pass", "d4 rolled v2 back to v1 at ");
}
