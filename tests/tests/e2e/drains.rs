//! Draining: requests in flight finish, the deadline cuts, and only the deadline.

use handover_tests::{
    fleet::{Fleet, Sample, Traffic},
    http,
    process::wait_until,
};
use std::{thread, time::Duration};

#[test]
fn requests_that_run_at_the_flip_finish() {
    let fleet = Fleet::of(1);
    let slow = Sample::new("v1").drain("deadline = \"30s\"");
    fleet.push(&slow);
    fleet.deploy("v1").expect(0);
    fleet.push(&Sample::new("v2"));
    let address = fleet.addresses()[0];
    let requests: Vec<_> = (0..20)
        .map(|_| thread::spawn(move || http::get_within(address, "/sleep?ms=10000", Duration::from_secs(30))))
        .collect();
    fleet.until_requests(0, 20);
    let traffic = Traffic::on(&fleet);
    let done = fleet.deploy("v2").expect(0);
    traffic.stop().assert_no_failures();
    for request in requests {
        let answer = request.join().unwrap().expect("a request that ran at the flip failed");
        assert_eq!((answer.status, answer.headers["x-version"].as_str()), (200, "v1"));
    }
    let ledger = &done.last()["hosts"][0]["ledger"];
    assert_eq!(ledger["force_closed"], 0, "{ledger}");
    assert_eq!(ledger["killed"], false, "{ledger}");
    assert!(ledger["connections"].as_u64().unwrap() >= 20, "{ledger}");
}

#[test]
fn the_drain_deadline_cuts_what_passes_it_and_says_how_many() {
    let fleet = Fleet::of(1);
    fleet.push(&Sample::new("v1").drain("deadline = \"2s\""));
    fleet.deploy("v1").expect(0);
    fleet.push(&Sample::new("v2"));
    let address = fleet.addresses()[0];
    let requests: Vec<_> = (0..7)
        .map(|_| thread::spawn(move || http::get_within(address, "/sleep?ms=20000", Duration::from_secs(30))))
        .collect();
    fleet.until_requests(0, 7);
    let done = fleet.deploy("v2").expect(0);
    let cut = requests.into_iter().map(|request| request.join().unwrap()).filter(Result::is_err).count();
    assert_eq!(cut, 7);
    let ledger = &done.last()["hosts"][0]["ledger"];
    assert_eq!(ledger["force_closed"], 7, "{ledger}");
    assert_eq!(ledger["killed"], true, "{ledger}");
}

#[test]
fn an_instance_that_ignores_the_signal_is_killed_at_the_deadline_and_only_then() {
    let fleet = Fleet::of(1);
    fleet.push(&Sample::new("v1").flag("--ignore-term --fork-child").drain("deadline = \"2s\""));
    fleet.deploy("v1").expect(0);
    let old = fleet.agents[0].processes();
    assert!(old.len() >= 2, "a program with a child: {old:?}");
    fleet.push(&Sample::new("v2"));
    // Whoever keeps a connection to a program that does not let go is cut with it: the ledger says so.
    let traffic = Traffic::one_connection_each(&fleet);
    let done = fleet.deploy("v2").expect(0);
    traffic.stop().assert_no_failures();
    let ledger = &done.last()["hosts"][0]["ledger"];
    assert_eq!(ledger["killed"], true, "{ledger}");
    let drained = ledger["drain_millis"].as_u64().unwrap();
    assert!((2_000..5_000).contains(&drained), "it was killed after {drained} ms");
    for pid in old {
        wait_until(Duration::from_secs(10), &format!("process {pid} to be gone"), || is_gone(pid));
    }
}

/// Gone, or dead and not yet reaped by init.
fn is_gone(pid: i32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
    stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
}
