//! Rehearsals under load: there and back on one host, measured, and deployments that are refused without one.

use handover_tests::{
    fleet::{Fleet, Sample, Traffic, UP},
    process::wait_until,
};
use serde_json::Value;

const MEASURED: &str = "[metrics]\ninterval = \"1s\"\ntimeout = \"1s\"";

/// A fleet at v1, which came after v0.
fn at_v1(hosts: usize) -> Fleet {
    let fleet = Fleet::of(hosts);
    for version in ["v0", "v1"] {
        fleet.push(&Sample::new(version).more(MEASURED));
        fleet.deploy(version).expect(0);
    }
    fleet
}

/// What the last rehearsal showed.
fn last(fleet: &Fleet) -> Value {
    let shown = fleet.cli().run(["rehearse", "web", "--list", "--json"]).expect(0).json();
    shown.first().cloned().expect("no rehearsal is recorded")
}

/// What the service runs, and what a rollback goes back to.
fn releases(fleet: &Fleet) -> [Value; 2] {
    let status = fleet.cli().run(["status", "web", "--json"]).expect(0).last();
    [status["version"].clone(), status["previous_version"].clone()]
}

#[test]
fn a_good_release_goes_there_and_back_under_load_and_nothing_stays_of_it() {
    let fleet = at_v1(2);
    let (before, ran) = (releases(&fleet), fleet.pids());
    let status = |fleet: &Fleet| fleet.cli().run(["status", "web"]).expect(0).stdout;
    assert!(status(&fleet).contains("never rehearsed: `handover rehearse web`"), "{}", status(&fleet));
    fleet.push(&Sample::new("v2").more(MEASURED));
    let traffic = Traffic::on(&fleet);
    let done = fleet.cli().run(["rehearse", "web", "--for", "4s", "--yes", "--json"]).expect(0);
    let shown = done.last()["rehearsal"].clone();
    assert_eq!(shown, last(&fleet), "what the command shows is what is recorded");
    let seen = traffic.stop();
    seen.assert_no_failures();
    assert!(seen.first_answer_of("v2").is_some(), "nobody saw the release");
    assert_eq!(fleet.versions(), ["v1"; 2]);
    assert_eq!((releases(&fleet), fleet.pids()), (before, ran));
    assert_eq!(
        (&shown["succeeded"], &shown["from"], &shown["to"]),
        (&true.into(), &"v1".into(), &"v2".into())
    );
    assert_eq!(shown["host"], fleet.agents[0].host);
    for flip in ["forward", "back"] {
        let figures = [&shown[flip]["nanos"], &shown[flip]["reported_millis"]].map(Value::as_u64);
        assert!(figures[0].is_some_and(|nanos| nanos > 0) && figures[1].is_some(), "{flip}: {shown}");
    }
    assert_eq!((&shown["ledger"]["force_closed"], &shown["ledger"]["reset"]), (&0.into(), &0.into()));
    assert!(shown["requests"].as_u64().is_some_and(|requests| requests > 0), "{shown}");
    assert_eq!(shown["bad"], 0);
    let told = fleet.cli().run(["rehearse", "web", "--list"]).expect(0).stdout;
    assert!(told.contains("v1 -> v2 -> v1 on") && told.contains("s on the host, reported "), "{told}");
    let told = status(&fleet);
    assert!(told.contains("last rehearsal d") && told.contains("v1 -> v2 -> v1 on "), "{told}");
    assert!(told.contains(": succeeded, ") && told.contains(" ago"), "{told}");
    let as_json = fleet.cli().run(["status", "web", "--json"]).expect(0).last();
    assert_eq!(as_json["last_rehearsal"], shown);
    let history = fleet.cli().run(["history", "web"]).expect(0).stdout;
    assert!(history.contains("rehearsal succeeded"), "{history}");
}

#[test]
fn a_broken_release_ends_it_with_exit_code_3_and_nobody_saw_it() {
    let fleet = at_v1(1);
    let before = releases(&fleet);
    fleet.push(
        &Sample::new("v2")
            .flag("--never-ready")
            .readiness("kind = \"http\"\npath = \"/ready\"\ninterval = \"20ms\"\ndeadline = \"1s\""),
    );
    let traffic = Traffic::on(&fleet);
    let done = fleet.cli().run(["rehearse", "web", "--release", "v2", "--yes", "--json"]).expect(3);
    assert_eq!(done.last()["state"], "rolled back");
    let seen = traffic.stop();
    seen.assert_no_failures();
    assert!(seen.first_answer_of("v2").is_none());
    let shown = last(&fleet);
    assert_eq!((&shown["succeeded"], &shown["forward"]), (&false.into(), &Value::Null));
    assert!(shown["reason"].as_str().unwrap().contains("not ready within"), "{shown}");
    assert_eq!((releases(&fleet), fleet.versions()), (before, vec!["v1".to_owned()]));
}

#[test]
fn where_it_is_required_a_deployment_is_refused_until_it_was_rehearsed() {
    let fleet = at_v1(1);
    let required = "bake = \"200ms\"\nrehearsal = \"required\"\nrehearsal_max_age = \"1h\"";
    fleet.push(&Sample::new("v2").rollout(required));
    let refused = fleet.deploy("v2").expect(6).stderr;
    assert!(refused.contains("`handover rehearse web --release v2`"), "{refused}");
    assert!(refused.contains("--override-rehearsal --reason WHY"), "{refused}");
    fleet.cli().run(["rehearse", "web", "--release", "v2", "--for", "1s", "--yes"]).expect(0);
    fleet.deploy("v2").expect(0);
    assert_eq!(fleet.versions(), ["v2"]);
    fleet.push(&Sample::new("v3").rollout(required));
    fleet.deploy("v3").expect(6);
    fleet.cli().run(["rollback", "web", "--yes"]).expect(0);
    assert_eq!(fleet.versions(), ["v1"], "a rollback always goes");
    let override_it =
        ["deploy", "web", "--version", "v3", "--override-rehearsal", "--reason", "the fire", "--yes"];
    fleet.cli().run(override_it).expect(0);
    let audit = fleet.cli().run(["audit", "--json"]).expect(0).json();
    let told = |entry: &Value| {
        entry["reason"] == "the fire"
            && entry["detail"].as_str().unwrap().ends_with("; with --override-rehearsal")
    };
    assert!(audit.iter().any(told), "the override is not in the audit");
}

#[test]
fn server_and_agent_killed_in_every_state_of_it_leave_the_host_on_its_former_release() {
    let mut fleet = at_v1(1);
    let before = releases(&fleet);
    fleet.push(&Sample::new("v2").flag("--ready-after 2s"));
    let traffic = Traffic::on(&fleet);
    // `baking` comes twice, so that the agent is not gone for the whole of the release's time.
    for (killed, state) in ["starting", "baking", "baking", "returning"].into_iter().enumerate() {
        let begun = ["rehearse", "web", "--release", "v2", "--for", "6s", "--yes", "--detach", "--json"];
        let id = fleet.cli().run(begun).expect(0).last()["id"].as_str().unwrap().to_owned();
        wait_until(UP, &format!("the host to be {state}"), || {
            let status = fleet.cli().run(["status", "web", "--json"]).expect(0).last();
            let at = status["course"]["hosts"][0]["state"].clone();
            at == state || (state == "returning" && status["course"].is_null())
        });
        fleet.server.kill();
        if killed % 2 == 1 {
            fleet.agents[0].kill();
            fleet.agents[0].start();
        }
        fleet.server.restart();
        fleet.online(1);
        let done = fleet.cli().run(["watch", &id, "--json"]).expect(0);
        assert_eq!(done.last()["rehearsal"]["succeeded"], true, "killed while {state}");
        assert_eq!((releases(&fleet), fleet.versions()), (before.clone(), vec!["v1".to_owned()]));
        fleet.one_instance_each(killed);
    }
    traffic.stop().assert_no_failures();
}
