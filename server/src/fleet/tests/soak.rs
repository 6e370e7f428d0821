//! Contracts that come by themselves.

use super::{
    Fixture, name,
    schemas::{BY_ITSELF, abort, at, deploy, fleet, migrate, push, push_of},
};
use crate::fleet::{
    State,
    freezes::FreezeRequest,
    locks::{Asker, LockScope},
    schemas::SOAK,
};
use handover_model::{Duration, SchemaPhase, ServiceName};

/// 1 reads the old shape, 2 both, 3 takes it away by itself after a day, 4 as well and reads the new one alone.
fn contract_by_itself(fleet: &mut Fixture) {
    push(fleet, "1", "41..=42", &[]);
    push(fleet, "2", "41..=43", &[]);
    for version in ["3", "4"] {
        push_of(fleet, "shop", version, "41..=43", &[(SchemaPhase::Contract, 43)], BY_ITSELF);
    }
}

fn pass(fleet: &mut Fixture, time: Duration) {
    fleet.now = fleet.now + time;
    fleet.report_all();
    fleet.act(State::tick).unwrap();
}

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn a_contract_comes_by_itself_once_its_release_has_run_for_its_time() {
    let mut fleet = fleet();
    contract_by_itself(&mut fleet);
    for version in ["1", "2", "3"] {
        deploy(&mut fleet, version);
    }
    let shop = name::<ServiceName>("shop");
    let soak = fleet.state.soak(&shop).unwrap();
    assert_eq!(fleet.state.next_soak(), Some(soak.due));
    pass(&mut fleet, HOUR * 23);
    assert!(fleet.state.live.is_empty(), "it is not time");
    fleet.crash_and_start_again();
    fleet.report_all();
    assert_eq!(fleet.state.soak(&shop), Some(soak), "a new server knows it too");
    pass(&mut fleet, HOUR * 2);
    let (id, _) = fleet.state.live_of(&shop).expect("a contract that was begun by itself");
    assert_eq!(fleet.state.deployments[&id].created_by, SOAK);
    assert_eq!(fleet.state.next_soak(), None);
    fleet.settle();
    assert_eq!((at(&fleet), fleet.state.soak(&shop)), (Some(43), None));
}

#[test]
fn a_contract_that_would_come_by_itself_waits_for_what_would_refuse_a_persons() {
    let mut fleet = fleet();
    contract_by_itself(&mut fleet);
    for version in ["1", "3"] {
        deploy(&mut fleet, version);
    }
    let shop = name::<ServiceName>("shop");
    pass(&mut fleet, HOUR * 25);
    let waits = |fleet: &Fixture| fleet.state.soak(&shop).unwrap().waits_for.unwrap();
    assert!(waits(&fleet).contains("shop 1 (rollback target) reads 41..=42"), "{}", waits(&fleet));
    assert!(fleet.state.live.is_empty() && at(&fleet) == Some(41), "{:?}", at(&fleet));
    let again = fleet.state.next_soak().unwrap();
    assert!(
        again > fleet.now && again <= fleet.now + Duration::from_secs(60),
        "asked again, but not at once"
    );

    deploy(&mut fleet, "4");
    assert_eq!(fleet.state.soak(&shop).unwrap().waits_for, None, "another release's time begins anew");
    pass(&mut fleet, HOUR * 23);
    assert!(fleet.state.live.is_empty());
    let scope = LockScope::Service(shop.clone());
    let until = Some(fleet.now + HOUR * 2);
    let freeze = FreezeRequest { scope, reason: "sales".into(), from: fleet.now, until };
    let ada = Asker { by: "ada".to_owned(), ..Asker::default() };
    fleet.act(|state, now, effects| state.freeze(&freeze, &ada, now, effects)).unwrap();
    pass(&mut fleet, HOUR + Duration::from_secs(60));
    assert!(waits(&fleet).contains("frozen"), "{}", waits(&fleet));
    pass(&mut fleet, HOUR * 2);
    fleet.settle();
    assert_eq!(at(&fleet), Some(43));
}

#[test]
fn a_contract_that_failed_by_itself_is_a_persons_from_then_on() {
    let mut fleet = fleet();
    contract_by_itself(&mut fleet);
    for version in ["1", "2", "3"] {
        deploy(&mut fleet, version);
    }
    fleet.migrations_fail = true;
    pass(&mut fleet, HOUR * 25);
    let shop = name::<ServiceName>("shop");
    let (id, _) = fleet.state.live_of(&shop).unwrap();
    fleet.report_all();
    abort(&mut fleet, id);
    fleet.settle();
    pass(&mut fleet, HOUR * 48);
    assert!(fleet.state.live.is_empty());
    let waits = fleet.state.soak(&shop).unwrap().waits_for.unwrap();
    assert_eq!(
        waits,
        format!("{id} began it and has not applied it: go on with `handover migrate contract shop`")
    );
}

#[test]
fn a_contract_that_a_person_began_and_ended_does_not_come_back_by_itself() {
    let mut fleet = fleet();
    contract_by_itself(&mut fleet);
    for version in ["1", "2", "3"] {
        deploy(&mut fleet, version);
    }
    fleet.migrations_fail = true;
    let id = fleet.deploy(&migrate(SchemaPhase::Contract)).unwrap();
    fleet.report_all();
    abort(&mut fleet, id);
    fleet.settle();
    fleet.crash_and_start_again();
    pass(&mut fleet, HOUR * 48);
    assert!(fleet.state.live.is_empty());
    let waits = fleet.state.soak(&name::<ServiceName>("shop")).unwrap().waits_for.unwrap();
    assert!(waits.starts_with(&format!("{id} began it")), "{waits}");
}
