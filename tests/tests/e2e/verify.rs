//! Releases that a smoke test of their own has to pass, hidden, before any client sees them.

use handover_tests::fleet::{Fleet, Sample, Traffic};
use std::{fs, path::Path};

const GREEN: &str = "strategy = \"blue-green\"\nbake = \"200ms\"";

/// A blue-green release that must pass this script on each host; `$ADDRESS` is the host's.
fn verified(version: &str, script: &str) -> Sample {
    let environment = "[environment]\nADDRESS = \"{host.address}\"";
    let verify = format!("[verify]\ncommands = [[\"/bin/sh\", \"-c\", {script:?}]]");
    Sample::new(version).rollout(GREEN).more(&format!("{environment}\n{verify}"))
}

/// A fleet at release v1.
fn at_v1(hosts: usize) -> Fleet {
    let fleet = Fleet::of(hosts);
    fleet.push(&Sample::new("v1").rollout(GREEN));
    fleet.deploy("v1").expect(0);
    fleet
}

/// When each host's command ran, in milliseconds.
fn runs(file: &Path) -> Vec<u64> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().map(|line| line.parse().unwrap()).collect()
}

#[test]
fn a_smoke_test_that_fails_on_one_host_takes_the_release_back_before_anybody_saw_it() {
    let fleet = at_v1(3);
    let traffic = Traffic::on(&fleet);
    let broken = fleet.agents[1].address;
    let script = format!("echo \"asked from $HANDOVER_PIN\"; [ \"$ADDRESS\" != {broken} ] || exit 9");
    fleet.push(&verified("v2", &script));
    let done = fleet.deploy("v2").expect(3);
    let reason = done.last()["reason"].as_str().unwrap().to_owned();
    for part in
        [&fleet.agents[1].host, "verify failed: /bin/sh", "exited with code 9", "asked from 127.77.0."]
    {
        assert!(reason.contains(part), "{part} is not in {reason}");
    }
    assert_eq!(fleet.versions(), ["v1"; 3]);
    let seen = traffic.stop();
    seen.assert_no_failures();
    assert!(seen.first_answer_of("v2").is_none(), "somebody saw the release");
    fleet.one_instance_each(0);
}

#[test]
fn one_that_passes_has_run_once_on_every_host_before_any_of_them_flips() {
    let fleet = at_v1(3);
    let traffic = Traffic::on(&fleet);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("runs");
    let script = format!("date +%s%3N >> {}", file.display());
    fleet.push(&verified("v2", &script));
    let done = fleet.deploy("v2").expect(0);
    // Readiness, the fetching of the bundle, and the command with what is around it.
    let deadline = &done.last()["plan"]["policy"]["ready_deadline_millis"];
    assert_eq!(deadline, 20_000 + 300_000 + 75_000);
    assert_eq!(fleet.versions(), ["v2"; 3]);
    let seen = traffic.stop();
    seen.assert_no_failures();
    let first = seen.first_answer_of("v2").unwrap().unix_millis();
    let runs = runs(&file);
    assert_eq!(runs.len(), 3, "{runs:?}");
    assert!(runs.iter().all(|run| *run <= first), "{runs:?} and the first answer at {first}");
}
