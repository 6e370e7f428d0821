//! Operators, and the audit in the same commit as what it tells of.

use super::{Fixture, name, request};
use crate::{
    audit::{AuditLog, Deed, Head, OK},
    fleet::{CertificateRecord, OperatorRequest, Refusal, Role, State, granted},
    store::{Batch, Keyspace, Store},
};
use handover_identity::OperatorName;
use handover_model::Duration;
use std::{collections::BTreeSet, sync::Arc};

fn certificate(fleet: &Fixture, serial: &str, days: u64) -> CertificateRecord {
    let expires = fleet.now + Duration::from_secs(days * 24 * 3600);
    CertificateRecord { serial: serial.into(), issued: fleet.now, expires }
}

fn sign(fleet: &mut Fixture, operator: &str, role: Role, serial: &str) -> Result<(), Refusal> {
    let certificate = certificate(fleet, serial, 30);
    let operator: OperatorName = name(operator);
    fleet
        .act(|state, now, effects| {
            let request = OperatorRequest { role: Some(role), services: BTreeSet::new(), certificate };
            state.sign_operator(&operator, request, "uid:0", now, effects)
        })
        .map(drop)
}

fn may(state: &State, operator: &str, serial: &str) -> Result<Role, Refusal> {
    granted(state.operators(), &name(operator), serial).map(|grant| grant.role)
}

#[test]
fn operators_and_their_end_survive_the_server() {
    let mut fleet = Fixture::with_hosts(&[]);
    sign(&mut fleet, "ada", Role::Deployer, "1").unwrap();
    sign(&mut fleet, "ada", Role::Deployer, "2").unwrap();
    sign(&mut fleet, "eve", Role::Admin, "3").unwrap();
    fleet
        .act(|state, now, effects| state.revoke_operator(&name("eve"), "ada", "left", now, effects))
        .unwrap();
    for state in [fleet.loaded(), std::mem::take(&mut fleet.state)] {
        assert_eq!(may(&state, "ada", "1"), Ok(Role::Deployer));
        assert_eq!(may(&state, "ada", "2"), Ok(Role::Deployer));
        assert_eq!(may(&state, "ada", "3"), Err(Refusal::CertificateUnknown(name("ada"))));
        assert_eq!(may(&state, "eve", "3"), Err(Refusal::Revoked { name: name("eve"), by: "ada".into() }));
    }
}

#[test]
fn an_operator_is_one_value_of_the_store_and_expired_certificates_make_room() {
    let mut fleet = Fixture::with_hosts(&[]);
    let services: BTreeSet<_> = (0..64).map(|n| name(&format!("{}{n:02}", "s".repeat(40)))).collect();
    for serial in 0..8 {
        let certificate = certificate(&fleet, &format!("{serial:032x}"), 30);
        let services = services.clone();
        fleet
            .act(|state, now, effects| {
                let request = OperatorRequest { role: Some(Role::Deployer), services, certificate };
                state.sign_operator(&name("ada"), request, "uid:0 (root)", now, effects)
            })
            .unwrap();
    }
    assert!(matches!(sign(&mut fleet, "ada", Role::Deployer, "9"), Err(Refusal::TooMany(_))));
    fleet.now = fleet.now + Duration::from_secs(31 * 24 * 3600);
    sign(&mut fleet, "ada", Role::Deployer, "9").unwrap();
    assert_eq!(may(&fleet.state, "ada", "9"), Ok(Role::Deployer));
    assert!(may(&fleet.state, "ada", &format!("{:032x}", 0)).is_err());
}

#[test]
fn who_was_revoked_long_ago_is_forgotten_and_stays_refused() {
    let mut fleet = Fixture::with_hosts(&[]);
    sign(&mut fleet, "eve", Role::Admin, "1").unwrap();
    fleet.act(|state, now, effects| state.revoke_operator(&name("eve"), "ada", "", now, effects)).unwrap();
    fleet.now = fleet.now + Duration::from_secs(59 * 24 * 3600);
    sign(&mut fleet, "ada", Role::Admin, "2").unwrap();
    assert_eq!(fleet.state.operators().len(), 2);
    fleet.now = fleet.now + Duration::from_secs(2 * 24 * 3600);
    sign(&mut fleet, "bob", Role::Admin, "3").unwrap();
    assert_eq!(fleet.loaded().operators().len(), 2);
    assert!(may(&fleet.state, "eve", "1").is_err());
}

fn verify(store: &Arc<dyn Store>, head: Head) -> Result<u64, crate::audit::Break> {
    AuditLog::new(Arc::clone(store)).verify(head, None)
}

#[test]
fn the_audit_goes_on_over_starts_of_the_server_and_what_was_removed_between_them_is_missed() {
    let mut fleet = Fixture::with_hosts(&["a"]);
    fleet.push("web", "1", "");
    fleet.deploy(&request("web", "1")).unwrap();
    fleet.settle();
    let tell = |fleet: &mut Fixture, who: &str| {
        let deed = Deed { who: who.into(), outcome: OK.into(), ..Deed::default() };
        fleet.act(|state, now, effects| state.record(deed, now, effects)).unwrap();
    };
    tell(&mut fleet, "ada");
    fleet.crash_and_start_again();
    tell(&mut fleet, "bob");
    let head = fleet.state.audit_head();
    assert_eq!(verify(&fleet.store, head), Ok(head.sequence));
    assert!(head.sequence >= 3, "the deployment's end, ada, bob");
    let mut batch = Batch::new();
    batch.delete(Keyspace::Audit, crate::audit::audit_key(head.sequence)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(fleet.store.commit(batch)).unwrap();
    fleet.crash_and_start_again();
    tell(&mut fleet, "eve");
    let broken = verify(&fleet.store, fleet.state.audit_head()).unwrap_err();
    assert_eq!(broken.sequence, head.sequence, "{}", broken.what);
}

#[test]
fn entries_whose_end_was_not_written_any_more_are_gone_on_from() {
    let mut fleet = Fixture::with_hosts(&[]);
    for _ in 0..3 {
        let deed = Deed { who: "ada".into(), outcome: OK.into(), ..Deed::default() };
        fleet.act(|state, now, effects| state.record(deed, now, effects)).unwrap();
    }
    let head = fleet.state.audit_head();
    let mut behind = head;
    behind.sequence = 1;
    let mut batch = Batch::new();
    batch.put_json(Keyspace::Fleet, crate::audit::HEAD_KEY, &behind).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(fleet.store.commit(batch)).unwrap();
    assert_eq!(fleet.loaded().audit_head(), head);
}

#[test]
fn a_change_and_its_entry_are_one_commit() {
    let mut fleet = Fixture::with_hosts(&["a"]);
    let deed = Deed { who: "ada".into(), outcome: OK.into(), ..Deed::default() };
    let mut effects = crate::fleet::Effects::default();
    let now = fleet.now;
    fleet.state.remove_host(&name("a"), true, now, &mut effects).unwrap();
    fleet.state.record(deed, now, &mut effects).unwrap();
    let batches = crate::fleet::persist::batches(effects.writes).unwrap();
    assert_eq!(batches.len(), 1);
    let keyspaces: BTreeSet<Keyspace> = batches[0].writes().map(|(keyspace, ..)| keyspace).collect();
    assert!(keyspaces.contains(&Keyspace::Audit) && keyspaces.contains(&Keyspace::Hosts));
}
