//! Hosts that come late.

use super::{Fixture, name, request};
use crate::fleet::{CATCH_UP, HostChange};
use handover_model::Labels;

#[test]
fn a_host_that_was_skipped_gets_the_current_release_when_it_comes_back() {
    let mut fleet = Fixture::with_hosts(&["a", "b"]);
    fleet.push("web", "1", "");
    fleet.disconnect("b");
    fleet.deploy(&request("web", "1")).unwrap();
    fleet.settle();
    assert_eq!(fleet.runs("b", "web"), None);
    fleet.connect("b");
    let (id, record, _) = fleet.state.deployments(Some(name("web"))).next().unwrap();
    assert_eq!((id.number(), record.created_by.as_str()), (2, CATCH_UP));
    fleet.settle();
    assert_eq!(fleet.runs("b", "web").as_deref(), Some("1"));
    let live = fleet.state.finals.get(&id).unwrap();
    assert_eq!(live.engine.hosts().count(), 1, "only the late host is touched");
}

#[test]
fn a_host_that_comes_during_a_deployment_waits_for_its_end() {
    let mut fleet = Fixture::with_hosts(&["a"]);
    fleet.push("web", "1", "");
    fleet.push("web", "2", "");
    fleet.deploy(&request("web", "1")).unwrap();
    fleet.settle();
    let deployment = fleet.deploy(&request("web", "2")).unwrap();
    fleet.enrol("b", &[]);
    fleet.connect("b");
    assert_eq!(fleet.state.active_deployment(&name("web")), Some(deployment));
    fleet.settle();
    assert_eq!(fleet.runs("b", "web").as_deref(), Some("2"));
}

#[test]
fn a_catch_up_that_fails_changes_nothing_and_is_tried_again_in_the_next_session() {
    let mut fleet = Fixture::with_hosts(&["a"]);
    fleet.push("web", "1", "");
    fleet.deploy(&request("web", "1")).unwrap();
    fleet.settle();
    fleet.broken.insert("1".into());
    fleet.enrol("b", &[]);
    fleet.connect("b");
    fleet.settle();
    assert_eq!((fleet.current("web").as_deref(), fleet.runs("b", "web")), (Some("1"), None));
    assert_eq!(fleet.state.deployments(None).count(), 2, "it was tried again at once");
    fleet.broken.clear();
    fleet.disconnect("b");
    fleet.connect("b");
    fleet.settle();
    assert_eq!(fleet.runs("b", "web").as_deref(), Some("1"));
}

#[test]
fn a_new_label_or_the_end_of_a_cordon_brings_a_host_up_to_date() {
    let mut fleet = Fixture::with_hosts(&["a", "b"]);
    let role = |value: &str| HostChange {
        set: Labels::from([("role".into(), value.into())]),
        ..HostChange::default()
    };
    let change = |fleet: &mut Fixture, host: &str, change: HostChange| {
        fleet.act(|state, now, effects| state.update_host(&name(host), &change, now, effects)).unwrap();
    };
    change(&mut fleet, "a", role("web"));
    fleet.push("web", "1", "hosts = { role = \"web\" }\n");
    fleet.deploy(&request("web", "1")).unwrap();
    fleet.settle();
    assert_eq!(fleet.runs("b", "web"), None);
    change(&mut fleet, "b", HostChange { cordoned: Some(true), ..role("web") });
    assert!(fleet.state.live.is_empty(), "a cordoned host gets nothing new");
    change(&mut fleet, "b", HostChange { cordoned: Some(false), ..HostChange::default() });
    fleet.settle();
    assert_eq!(fleet.runs("b", "web").as_deref(), Some("1"));
}
