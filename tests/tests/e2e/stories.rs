//! `handover explain`: a deployment's story with its times, and what a person is told who is needed.

use handover_tests::{
    fleet::{Fleet, Sample, Traffic, UP},
    http,
    process::{Running, wait_until},
};
use serde_json::Value;
use std::{fs, path::Path, time::Duration};

/// A length of time as the command line writes it.
fn length(text: &str) -> Duration {
    let number = |text: &str| text.parse::<f64>().unwrap_or_else(|_| panic!("{text:?} is no length"));
    if let Some(millis) = text.strip_suffix("ms") {
        return Duration::from_secs_f64(number(millis) / 1000.0);
    }
    Duration::from_secs_f64(number(text.strip_suffix('s').unwrap_or_else(|| panic!("{text:?}"))))
}

/// Whether it is a time of day, as 13:05:59.
fn is_time_of_day(text: &str) -> bool {
    let parts: Vec<&str> = text.split(':').collect();
    parts.len() == 3 && parts.iter().all(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit()))
}

#[test]
fn every_line_of_a_story_has_its_time_and_the_time_since_its_beginning() {
    let fleet = Fleet::of(2);
    fleet.push(&Sample::new("v1").rollout("bake = \"1s\""));
    let deployment = fleet.deploy("v1").expect(0).last();
    let moment = |name: &str| deployment[name].as_u64().unwrap();
    let (created, ended) = (moment("created"), moment("ended"));

    let records = fleet.cli().run(["explain", "d1", "--json"]).expect(0).json();
    let times: Vec<u64> = records.iter().map(|record| record["at"].as_u64().unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");
    assert_eq!((times.first(), times.last()), (Some(&created), Some(&ended)));
    assert!(ended - created >= 2_000, "two batches bake for a second each: {created} to {ended}");

    let told = fleet.cli().run(["explain", "d1"]).expect(0).stdout;
    let lines: Vec<&str> = told.lines().skip(1).filter(|line| !line.starts_with("stage ")).collect();
    assert_eq!(lines.len(), records.len(), "{told}");
    for (line, at) in lines.iter().zip(times) {
        let mut words = line.split_whitespace();
        assert!(is_time_of_day(words.next().unwrap()), "{line}");
        let since = length(words.next().unwrap().strip_prefix('+').unwrap_or_else(|| panic!("{line}")));
        let expected = Duration::from_millis(at - created);
        assert!(since.abs_diff(expected) < Duration::from_millis(100), "{line}: it was {expected:?}");
    }
}

/// A release that runs on a host as long as `mark` is there when it starts.
fn needs(version: &str, mark: &Path) -> Sample {
    let script = format!(
        "if ! test -e {}; then echo the licence is gone >&2; exit 9; fi; exec bin/web --version {version}",
        mark.display()
    );
    let mut sample = Sample::new(version).command("/bin/sh");
    sample.flags = vec!["-c".to_owned(), script];
    sample
}

#[test]
fn a_rollback_that_fails_on_a_host_ends_with_7_names_the_host_and_says_what_to_do() {
    let fleet = Fleet::of(2);
    let mark = fleet.path("licence");
    fs::write(&mark, "").unwrap();
    fleet.push(&needs("v1", &mark).more("[restart]\nattempts = 2\ninitial = \"100ms\""));
    fleet.deploy("v1").expect(0);
    let traffic = Traffic::on(&fleet);
    fleet.push(
        &Sample::new("v2")
            .rollout("bake = \"3s\"")
            .more("[liveness]\nkind = \"http\"\npath = \"/live\"\ninterval = \"50ms\"\nfailures = 2"),
    );
    let command = fleet.cli().command(["deploy", "web", "--version", "v2", "--yes"]);
    let mut deploying = Running::start_command(fleet.folder.path(), "deploying", command);
    // The first host is done with v2 and has retired v1, the second one bakes.
    fleet.until_version(1, "v2");
    fs::remove_file(&mark).unwrap();
    http::get(fleet.addresses()[1], "/fail-live").unwrap();
    let code = deploying.wait(Duration::from_secs(120)).code();
    let (told, host) = (deploying.stdout(), &fleet.agents[0].host);
    assert_eq!(code, Some(7), "{told}\n{}", deploying.stderr());
    for part in [
        "needs a person",
        &format!("{host} is stuck"),
        "the licence is gone",
        &format!("handover logs web --host {host}"),
        "handover explain d2",
    ] {
        assert!(told.contains(part), "{part:?} is not in {told}");
    }
    // The first host serves the new release as before, the other one is back.
    assert_eq!(fleet.versions(), ["v2", "v1"]);

    let deployment = fleet.cli().run(["history", "web", "--json"]).expect(0).json().remove(0);
    assert_eq!(deployment["state"], "needs a person");
    let watched = fleet.cli().run(["watch", "d2", "--json"]).expect(7).last();
    let states: Vec<&Value> =
        watched["hosts"].as_array().unwrap().iter().map(|host| &host["state"]).collect();
    assert_eq!(states, ["stuck", "returned"]);

    // What was told to do works: with the cause mended, the host takes the former release again.
    fs::write(&mark, "").unwrap();
    let back = fleet.cli().run(["deploy", "web", "--version", "v1", "--yes", "--json"]).expect(0).last();
    assert_eq!(back["hosts"].as_array().unwrap().len(), 1, "the other host runs it already: {back}");
    assert_eq!(fleet.versions(), ["v1", "v1"]);
    wait_until(UP, "what is left of v2 to be gone", || fleet.agents[0].pids().len() == 1);
    // The second host's agent ends an instance that fails its liveness while it serves: what that is working on is lost, and
    // nothing else is, neither there nor on the host that is stuck.
    traffic.stop().assert_lost_only_what_was_being_worked_on(1);
}
