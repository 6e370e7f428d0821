//! `handover events`: what happened, in order, and what is known of it after the server's start.

use handover_tests::{
    fleet::{Fleet, Sample},
    http,
    process::{Running, wait_until},
};
use serde_json::Value;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["kind"].as_str().unwrap()).collect()
}

/// Whether these kinds come one behind the other, with others in between.
fn in_order(events: &[Value], expected: &[&str]) -> bool {
    let mut kinds = kinds(events).into_iter();
    expected.iter().all(|expected| kinds.any(|kind| kind == *expected))
}

#[test]
fn a_deployment_and_a_crash_are_told_in_order_and_what_the_store_knows_survives_the_server() {
    let mut fleet = Fleet::of(1);
    let command = fleet.cli().command(["events", "--follow", "--json"]);
    let following = Running::start_command(fleet.folder.path(), "events", command);
    let seen = |kind: &str| following.stdout().contains(&format!("\"kind\":\"{kind}\""));
    fleet.push(&Sample::new("v1"));
    fleet.deploy("v1").expect(0);
    fleet.push(
        &Sample::new("v2")
            .flag("--never-ready")
            .readiness("kind = \"http\"\npath = \"/ready\"\ndeadline = \"1s\""),
    );
    fleet.deploy("v2").expect(3);
    // The answer breaks off with the service.
    let _ = http::get(fleet.addresses()[0], "/crash");
    wait_until(SOON, "the crash to be told", || {
        let told = fleet.cli().run(["events", "--json", "--service", "web"]).json();
        told.iter().any(|event| event["kind"] == "instance_failed" && event["instance"] == "web-d1")
    });

    let told = fleet.cli().run(["events", "--json"]).expect(0).json();
    let expected = [
        "host_enrolled",
        "host_connected",
        "release_pushed",
        "deployment_created",
        "instance_ready",
        "deployment_succeeded",
        "release_pushed",
        "deployment_created",
        "host_failed",
        "rollback_started",
        "deployment_rolled_back",
        "instance_failed",
    ];
    assert!(in_order(&told, &expected), "{:?}", kinds(&told));
    let numbers: Vec<u64> = told.iter().map(|event| event["sequence"].as_u64().unwrap()).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{numbers:?}");
    let text = fleet.cli().run(["events"]).expect(0).stdout;
    assert!(text.lines().any(|line| line.contains("deployment_rolled_back d2 web v2: ")), "{text}");
    assert!(seen("deployment_rolled_back") && seen("instance_failed"), "{}", following.stdout());

    fleet.server.restart();
    fleet.online(1);
    let after = fleet.cli().run(["events", "--json"]).expect(0).json();
    let expected = [
        "host_enrolled",
        "release_pushed",
        "deployment_created",
        "deployment_succeeded",
        "release_pushed",
        "deployment_created",
        "deployment_rolled_back",
        "host_connected",
    ];
    assert!(in_order(&after, &expected), "{:?}", kinds(&after));
    assert!(!kinds(&after).contains(&"instance_failed"), "what is not in the store is not made up");
    fleet.push(&Sample::new("v3"));
    wait_until(SOON, "the follower to go on after the server's start", || {
        following.stdout().contains("\"version\":\"v3\"")
    });
    let first = following.stdout().matches("\"kind\":\"deployment_rolled_back\"").count();
    assert_eq!(first, 1, "nothing is told twice: {}", following.stdout());
}
