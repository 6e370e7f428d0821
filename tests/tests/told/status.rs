//! `handover status` where no terminal is, in each situation that a service can be in.

use crate::printed::{Told, is_as_agreed};
use handover_tests::{
    fleet::{Fleet, Sample, UP},
    process::wait_until,
};
use serde_json::Value;

/// A release that never gets ready, and is not waited for much longer than a test runs.
fn never_ready(version: &str, deadline: &str) -> Sample {
    let readiness =
        format!("kind = \"http\"\npath = \"/ready\"\ninterval = \"20ms\"\ndeadline = \"{deadline}\"");
    Sample::new(version).flag("--never-ready").readiness(&readiness)
}

fn shows(fleet: &Fleet) -> String {
    let mut told = Told::of(fleet);
    told.run(fleet.cli().command(["status"]));
    told.text()
}

/// Waits until the service's status has this in it.
fn until(fleet: &Fleet, what: &str, holds: impl Fn(&Value) -> bool) {
    wait_until(UP, what, || holds(&fleet.cli().run(["status", "web", "--json"]).expect(0).last()));
}

/// Waits until nothing moves: what ended is told of for a while.
fn until_calm(fleet: &Fleet) {
    until(fleet, "the new instances to be gone", |service| {
        let hosts = service["hosts"].as_array().unwrap();
        let instances = hosts.iter().flat_map(|host| host["instances"].as_array().unwrap());
        let calm = |instance: &Value| match instance["version"].as_str() {
            Some("v1") => instance["phase"] == "ready",
            _ => instance["phase"] == "exited",
        };
        instances.clone().count() == 3 && instances.into_iter().all(calm)
    });
}

#[test]
fn a_service_from_its_first_release_to_an_idle_one() {
    let fleet = Fleet::of(2);
    is_as_agreed!("status-nothing", shows(&fleet));
    fleet.push(&Sample::new("v1"));
    is_as_agreed!("status-pushed", shows(&fleet));
    fleet.deploy("v1").expect(0);
    is_as_agreed!("status-idle", shows(&fleet));
    fleet.cli().run(["lock", "web", "--reason", "schema work", "--for", "2h"]).expect(0);
    fleet.cli().run(["hosts", "cordon", &fleet.agents[1].host]).expect(0);
    is_as_agreed!("status-locked", shows(&fleet));
}

#[test]
fn a_deployment_that_waits_is_paused_and_goes_back() {
    let fleet = Fleet::of(2);
    fleet.push(&Sample::new("v1"));
    fleet.deploy("v1").expect(0);
    fleet.push(&never_ready("v2", "10m"));
    fleet.cli().run(["deploy", "web", "--version", "v2", "--yes", "--detach"]).expect(0);
    until(&fleet, "the probe's answer", |service| {
        service["course"]["hosts"][0]["waiting"]["what"].as_str().is_some_and(|what| what.contains("503"))
    });
    is_as_agreed!("status-waiting", shows(&fleet));
    fleet.cli().run(["pause", "web", "--reason", "a phone call"]).expect(0);
    is_as_agreed!("status-paused", shows(&fleet));
    fleet.cli().run(["abort", "web"]).expect(3);
    until_calm(&fleet);
    is_as_agreed!("status-aborted", shows(&fleet));
}

#[test]
fn a_release_that_was_rolled_back_and_a_host_that_is_away() {
    let mut fleet = Fleet::of(2);
    fleet.push(&Sample::new("v1"));
    fleet.deploy("v1").expect(0);
    fleet.push(&never_ready("v2", "500ms"));
    fleet.deploy("v2").expect(3);
    until_calm(&fleet);
    is_as_agreed!("status-rolled-back", shows(&fleet));
    let mut told = Told::of(&fleet);
    told.run(fleet.cli().command(["watch", "web"]));
    is_as_agreed!("watch-rolled-back", told.text());
    fleet.agents[1].kill();
    fleet.offline(1);
    is_as_agreed!("status-offline", shows(&fleet));
}
