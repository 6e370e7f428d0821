//! Releases that are broken: the deployment fails, names host and reason, and no client notices.

use handover_tests::fleet::{Fleet, Sample, Traffic};

#[test]
fn a_release_that_gets_ready_late_answers_nobody_before() {
    let fleet = Fleet::of(1);
    fleet.push(&Sample::new("v1"));
    fleet.deploy("v1").expect(0);
    let traffic = Traffic::on(&fleet);
    fleet.push(&Sample::new("v2").flag("--ready-after 3s"));
    let done = fleet.deploy("v2").expect(0);
    let seen = traffic.stop();
    seen.assert_no_failures();
    let new = &done.last()["hosts"][0]["new_instance"];
    let ready_after = new["ready_millis"].as_u64().unwrap();
    assert!(ready_after >= 3_000, "it was ready after {ready_after} ms");
    let flipped = fleet.ready_since(&fleet.agents[0].host, "v2");
    let first = seen.first_answer_of("v2").expect("v2 answered nobody at all");
    assert!(first >= flipped, "the first answer came at {first:?}, it was ready at {flipped:?}");
}

/// What a broken release does, and a part of the reason that must be told.
fn rolls_back(broken: &Sample, reason: &str) {
    let fleet = Fleet::of(2);
    fleet.push(&Sample::new("v1"));
    fleet.deploy("v1").expect(0);
    let before: Vec<Vec<i32>> = fleet.agents.iter().map(handover_tests::fleet::Agent::pids).collect();
    let traffic = Traffic::on(&fleet);
    fleet.push(broken);
    let done = fleet.deploy(&broken.version).expect(3);
    let seen = traffic.stop();
    seen.assert_no_failures();
    assert_eq!(seen.first_answer_of(&broken.version), None, "a client was answered by the broken release");
    let last = done.last();
    assert_eq!(last["state"], "rolled back");
    let told = last["reason"].as_str().unwrap();
    assert!(told.contains(reason), "{told:?} does not say {reason:?}");
    assert!(fleet.agents.iter().any(|agent| told.contains(&agent.host)), "{told:?} names no host");
    assert_eq!(fleet.versions(), ["v1", "v1"]);
    let after: Vec<Vec<i32>> = fleet.agents.iter().map(handover_tests::fleet::Agent::pids).collect();
    assert_eq!(before, after, "an old instance was started again, or something of the broken one is left");
}

const SOON: &str = "kind = \"http\"\npath = \"/ready\"\ninterval = \"20ms\"\ndeadline = \"1s\"";

#[test]
fn a_release_that_never_gets_ready_is_rolled_back() {
    rolls_back(&Sample::new("v2").flag("--never-ready").readiness(SOON), "503");
}

#[test]
fn a_release_that_exits_at_once_is_rolled_back() {
    rolls_back(&Sample::new("v2").flag("--exit-at-once 3"), "exited with code 3");
}

#[test]
fn a_release_that_answers_500_on_its_readiness_path_is_rolled_back() {
    rolls_back(&Sample::new("v2").flag("--ready-status 500").readiness(SOON), "500");
}

#[test]
fn a_release_whose_program_is_missing_is_rolled_back() {
    rolls_back(&Sample::new("v2").command("bin/nothing-here"), "bin/nothing-here");
}

#[test]
fn a_release_that_fails_while_it_bakes_is_rolled_back_to_the_process_that_never_died() {
    let fleet = Fleet::of(2);
    fleet.push(&Sample::new("v1"));
    fleet.deploy("v1").expect(0);
    let before: Vec<Vec<i32>> = fleet.agents.iter().map(handover_tests::fleet::Agent::pids).collect();
    // It becomes ready, gets the share, and loses its liveness: the old instance is on standby.
    fleet.push(
        &Sample::new("v2")
            .rollout("bake = \"20s\"")
            .more("[liveness]\nkind = \"http\"\npath = \"/live\"\ninterval = \"50ms\"\nfailures = 2"),
    );
    let deploying = fleet.begin("v2");
    fleet.until_version(0, "v2");
    handover_tests::http::get(fleet.addresses()[0], "/fail-live").unwrap();
    let done = deploying.end().expect(3);
    assert_eq!(done.last()["state"], "rolled back");
    assert_eq!(fleet.versions(), ["v1", "v1"]);
    let after: Vec<Vec<i32>> = fleet.agents.iter().map(handover_tests::fleet::Agent::pids).collect();
    assert_eq!(before, after, "the rollback is a flip to a process that never died");
}

#[test]
fn a_deployment_that_is_to_pause_waits_for_a_person_and_can_be_aborted() {
    let fleet = Fleet::of(2);
    fleet.push(&Sample::new("v1"));
    fleet.deploy("v1").expect(0);
    fleet.push(
        &Sample::new("v2").flag("--exit-at-once 3").rollout("on_failure = \"pause\"\nbake = \"100ms\""),
    );
    let done = fleet.deploy("v2").expect(4);
    assert_eq!(done.last()["state"], "paused");
    assert_eq!(fleet.versions(), ["v1", "v1"]);
    // Another deployment of the service is refused while it waits, and says which.
    fleet.push(&Sample::new("v3"));
    let refused = fleet.deploy("v3");
    assert!(refused.code != 0 && refused.stderr.contains("d2"), "{}", refused.stderr);
    fleet.cli().run(["abort", "web", "--reason", "not today", "--json"]).expect(3);
    fleet.deploy("v3").expect(0);
}

#[test]
fn one_failing_host_may_be_allowed() {
    let mut fleet = Fleet::of(2);
    // Something else sits on the second host's address.
    let taken = std::net::TcpListener::bind(fleet.addresses()[1]).unwrap();
    fleet.push(&Sample::new("v1").rollout("failures_allowed = 1\nbake = \"100ms\""));
    let done = fleet.deploy("v1").expect(0);
    let second = &done.last()["hosts"][1];
    assert!(second["reason"].as_str().unwrap().contains("is in use"), "{second}");
    assert_eq!(handover_tests::http::version(fleet.addresses()[0]), "v1");
    drop(taken);
    fleet.agents[1].start();
}
