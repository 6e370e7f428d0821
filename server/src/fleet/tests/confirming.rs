//! Flips that have to be confirmed: which order they belong to, and what confirms them.

use super::{Fixture, name, request, rollback};
use crate::fleet::{Effects, State};
use handover_model::{
    Confirmation, ConfirmationState, FlipReport, HostName, HostReport, ServiceName, Timestamp,
};
use handover_rollout::Outcome;
use std::collections::BTreeMap;

const CONFIRMED: &str = "[listeners]\nhttp = \"[::]:80\"\n[rollout]\nconfirm = \"30s\"\nbake = \"0s\"";

/// A host at release 1, on which the flip to release 2 is ordered. Gives the number of the order.
fn flipping() -> (Fixture, u64) {
    let mut fleet = Fixture::with_hosts(&["a"]);
    for version in ["1", "2"] {
        fleet.push("web", version, CONFIRMED);
    }
    fleet.deploy(&request("web", "1")).unwrap();
    fleet.settle();
    fleet.deploy(&request("web", "2")).unwrap();
    fleet.report_all();
    let order = ordered(&fleet).expect("the flip is not ordered");
    (fleet, order)
}

fn a() -> HostName {
    name("a")
}

/// The number of the order that has to be confirmed.
fn ordered(fleet: &Fixture) -> Option<u64> {
    let confirm = fleet.state.target(&a()).unwrap().services[&name::<ServiceName>("web")].confirm;
    confirm.map(|confirm| confirm.revision)
}

/// The host's report with this told of its flip.
fn report(fleet: &Fixture, revision: u64, state: ConfirmationState) -> HostReport {
    let confirmation = Some(Confirmation { revision, state });
    let flips = BTreeMap::from([(name("web"), FlipReport { at_nanos: None, confirmation })]);
    HostReport { flips, ..fleet.report_of(&a()) }
}

const AWAITED: ConfirmationState = ConfirmationState::Awaited { until: Timestamp::from_unix_millis(1) };

/// What is confirmed in answer to a report.
fn confirmed(fleet: &mut Fixture, report: HostReport) -> BTreeMap<ServiceName, u64> {
    let (session, now) = (fleet.sessions[&a()], fleet.now);
    let mut effects = Effects::default();
    fleet.state.report(&a(), session, report, now, &mut effects).unwrap();
    let confirmed = effects.confirms.remove(&a()).unwrap_or_default();
    super::write(&fleet.store, effects).unwrap();
    confirmed
}

fn state(fleet: &Fixture) -> String {
    let (_, live) = fleet.state.live_of(&name("web")).expect("the deployment has ended");
    live.engine.host(&a()).unwrap().state.name().to_owned()
}

#[test]
fn what_a_report_shows_is_confirmed_and_goes_on_once_the_host_has_told_that_it_heard() {
    let (mut fleet, order) = flipping();
    assert_eq!(order, fleet.state.hosts[&a()].record.revision);
    let flipped = report(&fleet, order, AWAITED);
    assert_eq!(confirmed(&mut fleet, flipped.clone()), [(name("web"), order)].into());
    assert_eq!(state(&fleet), "shifting");
    assert_eq!(confirmed(&mut fleet, flipped), [(name("web"), order)].into(), "asked again, told again");
    let heard = report(&fleet, order, ConfirmationState::Given);
    assert!(confirmed(&mut fleet, heard).is_empty());
    assert_eq!(state(&fleet), "retiring");
    assert_eq!(ordered(&fleet), None);
    fleet.settle();
    assert_eq!(fleet.current("web").as_deref(), Some("2"));
}

#[test]
fn an_order_keeps_its_number_over_a_restart_and_while_other_services_change() {
    let (mut fleet, order) = flipping();
    fleet.push("shop", "1", "");
    fleet.deploy(&request("shop", "1")).unwrap();
    assert!(fleet.state.hosts[&a()].record.revision > order);
    assert_eq!(ordered(&fleet), Some(order));
    fleet.crash_and_start_again();
    assert_eq!(ordered(&fleet), Some(order));
    let flipped = report(&fleet, order, AWAITED);
    assert_eq!(confirmed(&mut fleet, flipped), [(name("web"), order)].into());
}

#[test]
fn what_is_not_ordered_any_more_is_not_confirmed() {
    let (mut fleet, order) = flipping();
    let stranger = report(&fleet, order + 1, AWAITED);
    assert!(confirmed(&mut fleet, stranger).is_empty());
    let flipped = report(&fleet, order, AWAITED);
    let id = fleet.state.live_of(&name("web")).unwrap().0;
    let abort = handover_rollout::Event::Abort { by: "ada".into(), reason: String::new() };
    fleet.act(|state, now, effects| state.drive(id, abort, now, effects)).unwrap();
    assert_eq!(ordered(&fleet), None, "the way back needs no confirmation");
    assert!(confirmed(&mut fleet, flipped).is_empty());
}

#[test]
fn a_host_that_undid_its_flip_takes_the_deployment_back_with_its_reason() {
    let (mut fleet, order) = flipping();
    let id = fleet.state.live_of(&name("web")).unwrap().0;
    let reason = "undone: the flip was not confirmed within 30s".to_owned();
    // What is told of another order means nothing here.
    let other = report(&fleet, order + 1, ConfirmationState::Missed { reason: reason.clone() });
    confirmed(&mut fleet, HostReport { revision: 1, ..other });
    assert_eq!(state(&fleet), "shifting");
    let missed = report(&fleet, order, ConfirmationState::Missed { reason });
    confirmed(&mut fleet, missed);
    fleet.settle();
    let outcome = fleet.state.finals[&id].engine.outcome().cloned();
    let Some(Outcome::RolledBack { reason }) = outcome else { panic!("{outcome:?}") };
    assert_eq!(reason, "a: undone: the flip was not confirmed within 30s");
    assert_eq!(fleet.runs("a", "web").as_deref(), Some("1"));
}

#[test]
fn a_first_deployment_and_a_rollback_need_no_confirmation() {
    let mut fleet = Fixture::with_hosts(&["a"]);
    fleet.push("web", "1", CONFIRMED);
    fleet.deploy(&request("web", "1")).unwrap();
    fleet.report_all();
    assert_eq!((state(&fleet).as_str(), ordered(&fleet)), ("shifting", None));
    fleet.settle();
    fleet.push("web", "2", CONFIRMED);
    let plan = fleet.state.plan_deployment(&request("web", "2"), fleet.now).unwrap().0;
    assert_eq!(plan.policy.confirm, handover_model::Duration::from_secs(30));
    fleet.deploy(&request("web", "2")).unwrap();
    fleet.settle();
    let plan = fleet.state.plan_deployment(&rollback("web"), fleet.now).unwrap().0;
    assert!(plan.policy.confirm.is_zero());
    fleet.act(State::tick).unwrap();
}
