//! Canaries that take more of a host than they may, reset their connections or do not accept them: found and taken back by
//! themselves, whatever they answer.

use handover_tests::fleet::{Fleet, Sample, Seen, Traffic};
use serde_json::Value;

/// Without its limit the canary would bake far longer than it takes to be found.
const STEPS: &str =
    "strategy = \"canary\"\nsteps = [{ share = \"5%\", bake = \"60s\" }, \"100%\"]\nbake = \"200ms\"";
/// Half of the connections, so that a hundred of them end in a few seconds.
const HALF: &str =
    "strategy = \"canary\"\nsteps = [{ share = \"50%\", bake = \"BAKE\" }, \"100%\"]\nbake = \"200ms\"";
/// Looked at every second: three blocks are three seconds.
const JUDGE: &str =
    "[metrics]\ninterval = \"1s\"\ntimeout = \"1s\"\n[judge]\nblock = \"1s\"\nwithin = \"90s\"\n";

fn release(version: &str, limit: &str) -> Sample {
    Sample::new(version).rollout(STEPS).more(&format!("{JUDGE}{limit}"))
}

/// A canary that misbehaves by `flag` is taken back by `limit`, with a line that begins with `told` and ends with the limit.
fn is_taken_back(flag: &str, limit: &str, told: [&str; 2]) {
    let fleet = Fleet::of(2);
    fleet.push(&release("v1", limit));
    fleet.deploy("v1").expect(0);
    let traffic = Traffic::one_connection_each(&fleet);
    fleet.push(&release("v2", limit).flag(flag));
    let done = fleet.deploy("v2").expect(3);
    let reason = done.last()["reason"].as_str().unwrap().to_owned();
    assert!(reason.starts_with(told[0]) && reason.ends_with(told[1]), "{reason}");
    let hosts = fleet.agents.iter().map(|agent| format!(" on {} against baseline ", agent.host));
    assert!(hosts.into_iter().any(|host| reason.contains(&host)), "{reason}");
    assert!(!reason.contains("none there"), "the old release was not measured: {reason}");
    assert_eq!(fleet.versions(), ["v1"; 2]);
    fleet.one_instance_each(0);
    traffic.stop().assert_no_failures();
    let shown = done.last()["canary"]["limits"][0].clone();
    assert!(shown["canary"].as_u64() > shown["most"].as_u64(), "{shown}");
    let told = fleet.cli().run(["canary", "web"]).expect(3).stdout;
    assert!(told.contains(&reason), "{told}");
    println!("{reason}");
}

#[test]
fn one_that_hoards_memory_is_taken_back_and_no_request_fails() {
    let told = ["limit max_memory: canary ", ", more than 96.0 MiB in 3 blocks in a row"];
    is_taken_back("--hoard 160", "max_memory = \"96MiB\"", told);
}

#[test]
fn one_that_burns_processor_time_is_taken_back_and_no_request_fails() {
    // With one of two processors for itself; on a busy machine it gets less of it.
    let told = ["limit max_cpu: canary ", ", more than 25.0 % of a processor in 3 blocks in a row"];
    is_taken_back("--burn", "max_cpu = \"25%\"", told);
}

/// Connections live for a second and a half; `more` is how the new release differs. Ends with its exit code.
fn with_kept_connections(bake: &str, more: &str, code: i32) -> (Fleet, Value, Seen) {
    let fleet = Fleet::of(2);
    let rollout = HALF.replace("BAKE", bake);
    let release =
        |version| release(version, "max_resets = \"10%\"").rollout(&rollout).flag("--connection-age 1500ms");
    fleet.push(&release("v1"));
    fleet.deploy("v1").expect(0);
    let traffic = Traffic::kept(&fleet, 64);
    fleet.push(&release("v2").flag(more));
    let done = fleet.deploy("v2").expect(code).last();
    (fleet, done, traffic.stop())
}

/// A client that waits for the service's FIN for more than a second, as on a busy machine, ends with a reset itself.
#[track_caller]
fn hardly_any(reset: u64, ended: u64) {
    assert!(reset * 100 <= ended, "{reset} of {ended} are more than 1 %");
}

#[test]
fn one_that_resets_its_connections_is_taken_back_though_it_counts_no_error_itself() {
    let (fleet, done, _) = with_kept_connections("60s", "--reset-rate 0.4", 3);
    let reason = done["reason"].as_str().unwrap();
    assert!(reason.starts_with("limit max_resets: canary "), "{reason}");
    assert!(reason.contains(" connections reset against baseline "), "{reason}");
    assert!(reason.ends_with(", more than 10 %"), "{reason}");
    assert_eq!(done["canary"]["metrics"][0]["canary_bad"], 0);
    assert_eq!(fleet.versions(), ["v1"; 2]);
    fleet.one_instance_each(0);
    let shown = &done["canary"]["limits"][0];
    let figure = |name: &str| shown[name].as_u64().unwrap();
    let (ended, reset) = (figure("canary_ended"), figure("canary_reset"));
    assert!(ended >= 100 && (ended / 5..ended * 3 / 5).contains(&reset), "far from 40 %: {shown}");
    assert!(figure("baseline_ended") >= 50, "{shown}");
    hardly_any(figure("baseline_reset"), figure("baseline_ended"));
    let told = fleet.cli().run(["canary", "web"]).expect(3).stdout;
    assert!(told.contains(reason), "{told}");
    println!("{reason}");
}

#[test]
fn one_whose_connections_end_well_passes_the_same_limit_on_as_many() {
    let (fleet, done, seen) = with_kept_connections("20s", "", 0);
    seen.assert_no_failures();
    assert_eq!(fleet.versions(), ["v2"; 2]);
    let shown = &done["canary"]["limits"][0];
    let figure = |name: &str| shown[name].as_u64().unwrap();
    assert!(figure("canary_ended") >= 100, "{shown}");
    hardly_any(figure("canary_reset"), figure("canary_ended"));
    hardly_any(figure("baseline_reset"), figure("baseline_ended"));
}

#[test]
fn one_that_stops_accepting_is_taken_back_by_whom_the_kernel_turns_away() {
    // What the agent's own readings, one a second with two tries at most, are far from.
    let limit = "max_refused = 300";
    let rollout = HALF.replace("BAKE", "60s");
    let release = |version| release(version, limit).rollout(&rollout);
    let fleet = Fleet::of(2);
    fleet.push(&release("v1"));
    fleet.deploy("v1").expect(0);
    let traffic = Traffic::one_connection_each_of(&fleet, 64);
    // Whom its queue holds waits for an answer in vain: that is not many.
    fleet.push(&release("v2").flag("--stops-accepting --backlog 1"));
    let done = fleet.deploy("v2").expect(3).last();
    drop(traffic);
    let reason = done["reason"].as_str().unwrap();
    assert!(reason.starts_with("limit max_refused: canary "), "{reason}");
    assert!(reason.ends_with(", more than 300.0 refused a minute in 3 blocks in a row"), "{reason}");
    assert_eq!(fleet.versions(), ["v1"; 2]);
    fleet.one_instance_each(0);
    let shown = &done["canary"]["limits"][0];
    let figure = |name: &str| shown[name].as_u64().unwrap();
    assert!(figure("canary") > figure("most"), "{shown}");
    assert!(figure("baseline") * 10 < figure("most"), "the old release accepts them all: {shown}");
    println!("{reason}");
}
