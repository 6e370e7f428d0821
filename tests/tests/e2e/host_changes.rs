//! What happens to a host in the middle of something: its labels, its clock, its power. docs/hosts.md has the table.

use handover_tests::{
    fleet::{Fleet, Sample, Traffic, UP},
    http,
    process::wait_until,
};
use serde_json::Value;
use std::{fs, thread, time::Duration};

/// An agent tells its clock once a minute.
const FACTS: Duration = Duration::from_secs(90);

fn shown(fleet: &Fleet, host: usize) -> Value {
    fleet.cli().run(["hosts", "show", &fleet.agents[host].host, "--json"]).expect(0).last()
}

fn state<'a>(done: &'a Value, host: &str) -> &'a Value {
    let hosts = done["hosts"].as_array().unwrap();
    &hosts.iter().find(|row| row["host"] == host).unwrap_or_else(|| panic!("{host} is not in {done}"))["state"]
}

/// A release for the hosts of zone a, which are the first and the third.
fn for_zone_a(version: &str, rollout: &str) -> Sample {
    Sample::new(version).rollout(rollout).more("[hosts]\nzone = \"a\"")
}

fn relabel(fleet: &Fleet, host: usize, label: &str) {
    fleet.cli().run(["hosts", "label", &fleet.agents[host].host, label]).expect(0);
}

#[test]
fn a_host_that_leaves_a_services_labels_while_it_is_deployed_to_keeps_its_place_in_the_plan_and_none_in_the_next()
 {
    let fleet = Fleet::of(3);
    let (first, third) = (fleet.agents[0].host.clone(), fleet.agents[2].host.clone());
    fleet.push(&for_zone_a("v1", "bake = \"100ms\""));
    fleet.deploy("v1").expect(0);
    fleet.push(&for_zone_a("v2", "batch = 1\nbake = \"2s\""));
    let addresses = [fleet.addresses()[0], fleet.addresses()[2]];
    let traffic = Traffic::at(&addresses);
    let deploying = fleet.begin("v2");
    fleet.until_version(0, "v2");
    // One whose turn has not come, and one that is in its bake.
    relabel(&fleet, 2, "zone=moved");
    relabel(&fleet, 0, "zone=moved");
    let done = deploying.end().expect(0).last();
    assert_eq!((state(&done, &first), state(&done, &third)), (&"done".into(), &"done".into()), "{done}");
    assert_eq!(addresses.map(http::version), ["v2", "v2"]);
    assert_eq!(shown(&fleet, 2)["labels"]["zone"], "moved");
    // The first one comes back; the next release is for it alone, and the other one goes on with what it has.
    relabel(&fleet, 0, "zone=a");
    fleet.push(&for_zone_a("v3", "bake = \"100ms\""));
    let next = fleet.deploy("v3").expect(0).last();
    assert_eq!(next["hosts"].as_array().unwrap().len(), 1, "{next}");
    assert_eq!(addresses.map(http::version), ["v3", "v2"]);
    let left = &shown(&fleet, 2)["assignments"][0];
    assert_eq!((&left["version"], &left["outdated"]), (&"v2".into(), &"v3".into()), "{left}");
    // And once it has the label again it is brought to the current release by itself.
    relabel(&fleet, 2, "zone=a");
    wait_until(UP, "the current release", || http::version(addresses[1]) == "v3");
    traffic.stop().assert_no_failures();
}

#[test]
fn a_host_that_left_the_services_labels_goes_back_with_the_others_where_the_deployment_fails() {
    let fleet = Fleet::of(3);
    fleet.push(&for_zone_a("v1", "bake = \"100ms\""));
    fleet.deploy("v1").expect(0);
    fleet.push(&for_zone_a("v2", "batch = 1\nbake = \"60s\""));
    let addresses = [fleet.addresses()[0], fleet.addresses()[2]];
    let traffic = Traffic::at(&addresses);
    let deploying = fleet.begin("v2");
    fleet.until_version(0, "v2");
    relabel(&fleet, 0, "zone=moved");
    fleet.cli().run(["abort", "web"]).expect(3);
    let done = deploying.end().expect(3).last();
    traffic.stop().assert_no_failures();
    assert_eq!(state(&done, &fleet.agents[0].host), &Value::from("returned"), "{done}");
    assert_eq!(addresses.map(http::version), ["v1", "v1"]);
}

#[test]
fn a_host_that_is_offline_fails_a_deployment_at_once_and_untouched_where_the_manifest_says_so() {
    let mut fleet = Fleet::of(2);
    let release = |version: &str, more: &str| {
        Sample::new(version).rollout(&format!("bake = \"100ms\"\noffline = \"fail\"\n{more}"))
    };
    fleet.push(&release("v1", ""));
    fleet.deploy("v1").expect(0);
    let away = fleet.agents[1].host.clone();
    fleet.agents[1].kill();
    fleet.offline(1);
    let traffic = Traffic::on(&fleet);
    fleet.push(&release("v2", ""));
    let done = fleet.deploy("v2").expect(3).last();
    let reason = done["reason"].as_str().unwrap();
    assert!(reason.contains(&away) && reason.contains("offline"), "{reason}");
    assert_eq!(fleet.versions(), ["v1", "v1"]);
    // Where one may fail the others get it; the absent one is brought up to date when it is back.
    fleet.push(&release("v3", "failures_allowed = 1"));
    let done = fleet.deploy("v3").expect(0).last();
    assert_eq!(done["state"], "succeeded", "{done}");
    assert_ne!(state(&done, &away), &Value::from("done"), "{done}");
    assert_eq!(fleet.versions(), ["v3", "v1"], "it was touched");
    fleet.agents[1].start();
    fleet.until_versions(&["v3", "v3"]);
    traffic.stop().assert_no_failures();
}

#[test]
fn an_agents_clock_that_is_set_while_it_works_ends_no_drain_and_no_bake_and_is_told() {
    let mut fleet = Fleet::of(1);
    let clock = fleet.path("clock");
    let set = |by: &str| fs::write(&clock, format!("{by}\n")).unwrap();
    set("+0");
    fleet.push(&Sample::new("v1").drain("deadline = \"60s\""));
    fleet.deploy("v1").expect(0);
    fleet.agents[0].start_with_clock_of(&clock);
    fleet.online(1);
    let address = fleet.addresses()[0];
    let slow = thread::spawn(move || http::get_within(address, "/sleep?ms=10000", Duration::from_secs(40)));
    fleet.until_requests(0, 1);
    fleet.push(&Sample::new("v2").rollout("bake = \"2s\""));
    let traffic = Traffic::one_connection_each(&fleet);
    let deploying = fleet.begin("v2");
    fleet.until_version(0, "v2");
    // In the bake, and again in the drain: a day is longer than each of their deadlines.
    set("+1d");
    let is_draining = || {
        let instances = shown(&fleet, 0)["instances"].as_array().unwrap().clone();
        instances.iter().any(|instance| instance["phase"] == "draining")
    };
    wait_until(UP, "the drain", is_draining);
    set("+2d");
    traffic.go_on_for(1_000);
    assert!(is_draining(), "the drain ended with the clock");
    set("-1d");
    let answer = slow.join().unwrap().expect("the drain was cut");
    assert_eq!((answer.status, answer.headers["x-version"].as_str()), (200, "v1"));
    let done = deploying.end().expect(0).last();
    assert_eq!(done["hosts"][0]["ledger"]["force_closed"], 0, "{done}");
    assert_eq!(done["hosts"][0]["ledger"]["killed"], false, "{done}");
    let note = format!("host {}: its clock is 1 d 0 h behind", fleet.agents[0].host);
    wait_until(FACTS, &note, || fleet.cli().run(["hosts"]).expect(0).stdout.contains(&note));
    traffic.stop().assert_no_failures();
    assert_eq!(fleet.server.log().matches("session begins").count(), 2, "its session was lost");
}

#[test]
fn a_host_that_reboots_runs_what_it_ran_again_and_raises_no_alarm() {
    let mut fleet = Fleet::of(2);
    fleet.push(&Sample::new("v1"));
    fleet.deploy("v1").expect(0);
    let before = (shown(&fleet, 0)["boot_id"].clone(), fleet.agents[0].pids());
    let other = Traffic::at(&fleet.addresses()[1..]);
    // Its power: everything at once, and nobody says goodbye.
    fleet.agents[0].lose_power();
    let boot_id = "b0071d00-0000-4000-8000-000000000002";
    fleet.agents[0].start_after_boot(boot_id);
    wait_until(UP, "the host to be back", || {
        let host = shown(&fleet, 0);
        host["online"] == true && host["boot_id"] == boot_id
    });
    fleet.until_versions(&["v1", "v1"]);
    let host = shown(&fleet, 0);
    assert!(host["clone"].is_null(), "{host}");
    assert_ne!(host["boot_id"], before.0);
    assert_eq!(fleet.agents[0].pids().len(), 1);
    assert_ne!(fleet.agents[0].pids(), before.1);
    // It takes part in the next deployment as ever.
    fleet.push(&Sample::new("v2"));
    fleet.deploy("v2").expect(0);
    assert_eq!(fleet.versions(), ["v2", "v2"]);
    other.stop().assert_no_failures();
}
