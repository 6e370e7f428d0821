//! What stands by after a deployment, and the way back to it.

use super::{Fixture, name, request, rollback};
use crate::fleet::State;
use handover_model::{Duration, HostName, InstanceId, InstancePhase, ServiceName};

const WARM: &str = "[rollout]\nstrategy = \"blue-green\"\nkeep_warm = \"10m\"";

/// A fleet at release 2, with release 1 standing by on every host.
fn warm() -> Fixture {
    let mut fleet = Fixture::with_hosts(&["a", "b"]);
    for version in ["1", "2"] {
        fleet.push("web", version, WARM);
        fleet.deploy(&request("web", version)).unwrap();
        fleet.settle();
    }
    fleet.report_all();
    fleet
}

/// What a host is ordered to run, with the shares.
fn ordered(fleet: &Fixture, host: &str) -> Vec<(String, u16)> {
    let record = &fleet.state.hosts[&name::<HostName>(host)].assignments[&name::<ServiceName>("web")];
    let placed =
        |placed: &handover_rollout::Placement| (placed.instance.to_string(), placed.share.basis_points());
    record.assignment.0.iter().map(placed).collect()
}

#[test]
fn a_rollback_goes_to_what_stands_by_ready_and_starts_anew_where_it_is_not() {
    let mut fleet = warm();
    assert_eq!(ordered(&fleet, "a"), [("web-d1".to_owned(), 0), ("web-d2".to_owned(), 10_000)]);
    let host = fleet.state.hosts.get_mut(&name::<HostName>("b")).unwrap();
    let report = host.report.as_mut().unwrap().instances.get_mut(&name::<InstanceId>("web-d1")).unwrap();
    report.phase = InstancePhase::BackingOff;
    fleet.deploy(&rollback("web")).unwrap();
    assert_eq!(ordered(&fleet, "a"), [("web-d2".to_owned(), 0), ("web-d1".to_owned(), 10_000)], "one order");
    assert_eq!(
        ordered(&fleet, "b"),
        [("web-d2".to_owned(), 10_000), ("web-d3".to_owned(), 0)],
        "started anew"
    );
    fleet.settle();
    assert_eq!(fleet.current("web").as_deref(), Some("1"));
    assert_eq!(ordered(&fleet, "b"), [("web-d3".to_owned(), 10_000)]);
}

#[test]
fn what_stands_by_ends_in_its_time_over_a_restart_of_the_server() {
    let mut fleet = warm();
    fleet.now = fleet.now + Duration::from_secs(300);
    fleet.crash_and_start_again();
    fleet.act(State::tick).unwrap();
    assert_eq!(ordered(&fleet, "a").len(), 2);
    assert!(fleet.state.next_tick().is_some(), "nobody wakes the server for its end");
    fleet.now = fleet.now + Duration::from_secs(301);
    fleet.act(State::tick).unwrap();
    for host in ["a", "b"] {
        assert_eq!(ordered(&fleet, host), [("web-d2".to_owned(), 10_000)]);
    }
    fleet.crash_and_start_again();
    assert_eq!(ordered(&fleet, "a").len(), 1);
}

#[test]
fn a_deployment_that_goes_on_is_not_disturbed_by_the_end_of_a_standby() {
    let mut fleet = warm();
    fleet.push("web", "3", "");
    fleet.now = fleet.now + Duration::from_secs(580);
    fleet.deploy(&request("web", "3")).unwrap();
    let before = ordered(&fleet, "b");
    assert_eq!(before.len(), 2);
    fleet.now = fleet.now + Duration::from_secs(30);
    fleet.act(State::tick).unwrap();
    assert_eq!(ordered(&fleet, "b"), before, "the second host's turn has not come");
    fleet.settle();
    assert_eq!(ordered(&fleet, "b"), [("web-d3".to_owned(), 10_000)]);
}
