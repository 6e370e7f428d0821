//! Freezes: what they forbid, what goes all the same, and that they end.

use super::{Fixture, name, request, rollback};
use crate::fleet::{Asker, DeploymentRequest, FreezeRequest, LockScope, Refusal, State};
use handover_model::{Duration, Timestamp};

fn ada() -> Asker {
    Asker { by: "ada".to_owned(), ..Asker::default() }
}

fn freeze(
    fleet: &mut Fixture,
    scope: LockScope,
    from: Timestamp,
    until: Option<Timestamp>,
) -> Result<String, Refusal> {
    let request = FreezeRequest { scope, reason: "the sales".to_owned(), from, until };
    fleet.act(|state, now, effects| state.freeze(&request, &ada(), now, effects))
}

fn web() -> LockScope {
    LockScope::Service(name("web"))
}

fn fleet() -> Fixture {
    let mut fleet = Fixture::with_hosts(&["a"]);
    for version in ["1", "2", "3"] {
        fleet.push("web", version, "");
    }
    fleet.push("mail", "1", "");
    for version in ["1", "2"] {
        fleet.deploy(&request("web", version)).unwrap();
        fleet.settle();
    }
    fleet
}

fn in_hours(fleet: &Fixture, hours: u64) -> Timestamp {
    fleet.now + Duration::from_secs(hours * 3600)
}

#[test]
fn nothing_new_is_deployed_to_a_frozen_service_and_a_rollback_goes() {
    let mut fleet = fleet();
    let (now, later) = (fleet.now, in_hours(&fleet, 2));
    assert_eq!(freeze(&mut fleet, web(), now, Some(later)).unwrap(), "f1: service web is frozen");
    let refused = fleet.deploy(&request("web", "3")).unwrap_err();
    assert!(matches!(&refused, Refusal::Frozen { by, reason, .. } if by == "ada" && reason == "the sales"));
    assert!(refused.to_string().contains("frozen by ada: the sales"), "{refused}");
    fleet.deploy(&request("mail", "1")).unwrap();
    fleet.settle();
    fleet.deploy(&rollback("web")).unwrap();
    fleet.settle();
    assert_eq!(fleet.current("web").as_deref(), Some("1"));
}

#[test]
fn it_begins_and_ends_in_its_time_over_a_restart_of_the_server() {
    let mut fleet = fleet();
    let (from, until) = (in_hours(&fleet, 1), in_hours(&fleet, 3));
    freeze(&mut fleet, LockScope::Fleet, from, Some(until)).unwrap();
    fleet.deploy(&request("web", "3")).unwrap();
    fleet.settle();
    fleet.now = from;
    fleet.crash_and_start_again();
    assert!(matches!(fleet.deploy(&request("web", "1")), Err(Refusal::Frozen { .. })));
    fleet.now = until;
    fleet.act(State::tick).unwrap();
    assert_eq!(fleet.state.freezes(until).count(), 0);
    fleet.deploy(&request("web", "1")).unwrap();
    assert_eq!(fleet.loaded().freezes(from).count(), 0, "it is gone from the store");
}

#[test]
fn it_is_overridden_with_a_reason_only() {
    let mut fleet = fleet();
    let now = fleet.now;
    freeze(&mut fleet, web(), now, None).unwrap();
    let with =
        |reason: &str| DeploymentRequest { override_freeze: Some(reason.to_owned()), ..request("web", "3") };
    assert!(matches!(fleet.deploy(&with(" ")), Err(Refusal::Invalid(_))));
    freeze(&mut fleet, LockScope::Fleet, now, None).unwrap();
    let limited = DeploymentRequest { limited: true, ..with("the fire is larger") };
    assert!(matches!(fleet.deploy(&limited), Err(Refusal::NotAllowed { .. })), "the fleet's is not theirs");
    fleet.deploy(&with("the fire is larger")).unwrap();
}

#[test]
fn one_that_makes_no_sense_is_refused_and_a_request_is_answered_once() {
    let mut fleet = fleet();
    let (now, later) = (fleet.now, in_hours(&fleet, 1));
    let nobody = LockScope::Service(name("nobody"));
    assert!(matches!(freeze(&mut fleet, nobody, now, None), Err(Refusal::NoService(_))));
    assert!(matches!(freeze(&mut fleet, web(), later, Some(now)), Err(Refusal::Invalid(_))));
    let far = in_hours(&fleet, 24 * 500);
    assert!(matches!(freeze(&mut fleet, web(), now, Some(far)), Err(Refusal::Invalid(_))));
    let asker = Asker { request: "r1".to_owned(), ..ada() };
    let asked = FreezeRequest { scope: web(), reason: "x".to_owned(), from: now, until: Some(later) };
    for _ in 0..2 {
        let said = fleet.act(|state, now, effects| state.freeze(&asked, &asker, now, effects)).unwrap();
        assert_eq!(said, "f1: service web is frozen");
    }
    let ended = |fleet: &mut Fixture| fleet.act(|state, _, effects| state.unfreeze(1, &ada(), effects));
    assert!(ended(&mut fleet).unwrap().starts_with("f1 has ended"));
    assert!(matches!(ended(&mut fleet), Err(Refusal::NoFreeze(1))));
    fleet.deploy(&request("web", "3")).unwrap();
}

#[test]
fn a_number_is_not_used_again() {
    let mut fleet = fleet();
    let now = fleet.now;
    freeze(&mut fleet, web(), now, None).unwrap();
    freeze(&mut fleet, web(), now, None).unwrap();
    fleet.crash_and_start_again();
    assert!(freeze(&mut fleet, web(), now, None).unwrap().starts_with("f3"));
}
