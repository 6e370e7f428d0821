//! The judge on a service's own traffic: a release is compared with itself.

use handover_tests::{
    fleet::{Fleet, Sample, Traffic, UP},
    process::wait_until,
};
use serde_json::Value;

const MEASURED: &str =
    "[metrics]\ninterval = \"1s\"\ntimeout = \"1s\"\n[judge]\nblock = \"1s\"\nwithin = \"60s\"\n";

/// What the command finds, of these few canaries.
fn found(fleet: &Fleet, more: &[&str]) -> Value {
    let args = [&["judge", "aa", "web", "--runs", "40", "--seed", "5", "--json"][..], more].concat();
    fleet.cli().run(args).expect(0).last()
}

#[test]
fn canaries_of_a_release_against_itself_are_made_of_what_it_did() {
    let fleet = Fleet::of(2);
    fleet.push(&Sample::new("v1").more(MEASURED).flag("--error-rate 0.02"));
    let nothing = fleet.cli().run(["judge", "aa", "web"]).expect(1).stderr;
    assert!(nothing.contains("no deployment of web ended well yet"), "{nothing}");
    fleet.deploy("v1").expect(0);
    let traffic = Traffic::one_connection_each(&fleet);
    wait_until(UP, "ten blocks with requests", || {
        let known = fleet.cli().run(["judge", "aa", "web", "--runs", "1", "--json"]);
        known.code == 0 && known.last()["blocks"].as_u64() >= Some(10)
    });
    let shown = found(&fleet, &[]);
    assert_eq!(
        (&shown["hosts"], &shown["block_millis"], &shown["of"]),
        (&2.into(), &1000.into(), &"web v1".into())
    );
    let (requests, bad) = (shown["requests"].as_u64().unwrap(), shown["bad"].as_u64().unwrap());
    assert!(requests > 1_000 && (bad * 40..bad * 60).contains(&requests), "{bad} of {requests} at 2 %");
    let split = &shown["splits"][0];
    let count = |name: &str| split[name].as_u64().unwrap();
    assert_eq!(count("alarms") + count("passed") + count("no_verdict"), 40, "{split}");
    assert!(count("alarms") <= 2 && count("passed") >= 30, "{split}");
    // The same release by a manifest that asks for what it cannot keep.
    let strict = Sample::new("v2").more(&format!("{MEASURED}max_errors = \"0.5%\"\n"));
    strict.write(&fleet.path("strict"));
    let shown = found(&fleet, &["--manifest", fleet.path("strict").to_str().unwrap()]);
    let split = &shown["splits"][0];
    assert!(
        split["alarms"].as_u64() >= Some(36) && split["alarms_by"]["max_errors"] == split["alarms"],
        "{split}"
    );
    let told = fleet.cli().run(["judge", "aa", "web", "--runs", "40"]).expect(0).stdout;
    assert!(told.contains("40 canaries of it against itself, in steps of 5 %, 25 %, 50 %, seed "), "{told}");
    println!("{told}");
    assert!(traffic.stop().bad_answers() > 0, "the release answered everything well");
}
