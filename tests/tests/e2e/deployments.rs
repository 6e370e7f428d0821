//! Rolling deployments under load.

use handover_tests::fleet::{Fleet, Sample, Traffic};

/// Requests over all deployments: what issue and README promise.
const AT_LEAST: u64 = 200_000;

#[test]
fn twenty_deployments_in_a_row_fail_no_request() {
    let fleet = Fleet::of(3);
    fleet.push(&Sample::new("v0"));
    fleet.deploy("v0").expect(0);
    let traffic = Traffic::on(&fleet);
    for number in 1..=20 {
        let version = format!("v{number}");
        fleet.push(&Sample::new(&version));
        let done = fleet.deploy(&version).expect(0);
        assert_eq!(done.last()["state"], "succeeded");
        assert_eq!(fleet.versions(), vec![version; 3]);
    }
    traffic.go_on_until(AT_LEAST);
    let seen = traffic.stop();
    seen.assert_no_failures();
    println!("{seen}");
    assert!(seen.requests() >= AT_LEAST, "only {} requests", seen.requests());
}

#[test]
fn a_release_reaches_a_host_that_joins_later_and_one_that_was_offline() {
    let mut fleet = Fleet::of(2);
    fleet.push(&Sample::new("v1"));
    fleet.deploy("v1").expect(0);
    fleet.agents[1].kill();
    fleet.offline(1);
    fleet.push(&Sample::new("v2"));
    fleet.deploy("v2").expect(0);
    assert_eq!(fleet.versions(), ["v2", "v1"], "the offline host is left out and its service goes on");

    fleet.agents[1].start();
    fleet.add_host();
    fleet.until_versions(&["v2", "v2", "v2"]);
    let history = fleet.cli().run(["history", "web", "--json"]).expect(0);
    let by_itself = history
        .json()
        .iter()
        .filter(|d| d["created_by"].as_str().is_some_and(|by| by.contains("catch-up")))
        .count();
    assert!(by_itself >= 1, "{}", history.stdout);
}

#[test]
fn a_rollback_brings_the_previous_release_back_everywhere() {
    let fleet = Fleet::of(2);
    for version in ["v1", "v2"] {
        fleet.push(&Sample::new(version));
        fleet.deploy(version).expect(0);
    }
    let traffic = Traffic::on(&fleet);
    fleet.cli().run(["rollback", "web", "--yes", "--json"]).expect(0);
    assert_eq!(fleet.versions(), ["v1", "v1"]);
    traffic.stop().assert_no_failures();
}

#[test]
fn a_plan_is_printed_and_changes_nothing() {
    let fleet = Fleet::of(3);
    fleet.push(&Sample::new("v1").rollout("batch = \"50%\"\norder_by = \"zone\""));
    let plan = fleet.cli().run(["deploy", "web", "--version", "v1", "--plan", "--json"]).expect(0).last();
    // Zone a has two hosts, zone b one: two batches, never a mixed one.
    let sizes: Vec<usize> = plan["stages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|stage| stage["hosts"].as_array().unwrap().len())
        .collect();
    assert_eq!(sizes, [2, 1]);
    assert!(fleet.cli().run(["history", "--json"]).expect(0).json().is_empty());
    // Where nobody can be asked, nothing is done.
    fleet.cli().run(["deploy", "web", "--version", "v1"]).expect(2);
    assert!(fleet.cli().run(["history", "--json"]).expect(0).json().is_empty());
}

#[test]
fn two_listeners_ipv4_and_ipv6_are_flipped_together() {
    let fleet = Fleet::of(1);
    let address = fleet.agents[0].address;
    let port = fleet.free_port();
    let listeners = format!("admin = \"{{host.address}}:{port}\"\nsix = \"[::1]:{port}\"");
    for version in ["v1", "v2"] {
        fleet.push(&Sample::new(version).listeners(&listeners).readiness(
            "kind = \"http\"\nlistener = \"six\"\npath = \"/ready\"\ninterval = \"20ms\"\ndeadline = \"20s\"",
        ));
    }
    fleet.deploy("v1").expect(0);
    let six: std::net::SocketAddr = format!("[::1]:{port}").parse().unwrap();
    let admin: std::net::SocketAddr = (address, port).into();
    let traffic = Traffic::at(&[fleet.addresses()[0], admin, six]);
    fleet.deploy("v2").expect(0);
    for at in [fleet.addresses()[0], admin, six] {
        assert_eq!(handover_tests::http::version(at), "v2");
    }
    traffic.stop().assert_no_failures();
}
