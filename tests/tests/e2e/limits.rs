//! Canaries that take more of a host than they may: found and taken back by themselves, whatever they answer.

use handover_tests::fleet::{Fleet, Sample, Traffic};

/// Without its limit the canary would bake far longer than it takes to be found.
const STEPS: &str =
    "strategy = \"canary\"\nsteps = [{ share = \"5%\", bake = \"60s\" }, \"100%\"]\nbake = \"200ms\"";
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
