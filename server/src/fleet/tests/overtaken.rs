//! Backfills that are done, and that code has overtaken which does not know of them.

use super::{
    Fixture, name, request, rollback,
    schemas::{at, deploy, fleet, migrate, push, why},
};
use crate::fleet::{DeploymentRequest, ReleaseSchema, State};
use handover_model::{Duration, ReleaseRef, SchemaPhase, SchemaVersion};

/// 1 writes the old shape; 2 writes both, and fills the new one with 3; 3 needs what is filled; 4 takes the old shape away.
fn rename(fleet: &mut Fixture) {
    push(fleet, "1", "1..=9", &[]);
    push(fleet, "2", "1..=9", &[(SchemaPhase::Expand, 2), (SchemaPhase::Backfill, 3)]);
    push(fleet, "3", "3..=19", &[]);
    push(fleet, "4", "3..=20", &[(SchemaPhase::Contract, 20)]);
}

fn name_of(version: &str) -> ReleaseRef {
    ReleaseRef { service: name("shop"), version: name(version) }
}

fn overtaken(fleet: &Fixture) -> Option<u32> {
    fleet.state.overtaken("shop").map(|(version, _)| version.number())
}

#[test]
fn a_backfill_is_not_right_any_more_once_code_has_run_that_does_not_know_of_it_and_is_done_again() {
    let mut fleet = fleet();
    rename(&mut fleet);
    fleet.schema_at = SchemaVersion::new(1);
    for version in ["1", "2"] {
        deploy(&mut fleet, version);
    }
    assert_eq!((at(&fleet), overtaken(&fleet)), (Some(3), None));
    fleet.deploy(&rollback("shop")).unwrap();
    assert_eq!(overtaken(&fleet), None, "no client is on it yet");
    fleet.settle();
    assert_eq!(overtaken(&fleet), Some(3));
    fleet.crash_and_start_again();
    fleet.report_all();
    assert_eq!(overtaken(&fleet), Some(3), "it is written down");

    let needs = why(fleet.deploy(&request("shop", "3")));
    assert_eq!(
        needs,
        "backfill 3 of database shop is not right any more: shop 1 has run since, which does not know of it; shop 3 reads 3..=19"
    );
    let (plan, _) = fleet.state.plan_deployment(&request("shop", "2"), fleet.now).unwrap();
    let again = plan.stages.last().unwrap().migration.as_ref().unwrap();
    assert_eq!(
        (again.phase, again.resolve.unwrap().to_string()),
        (SchemaPhase::Backfill, "3=again".to_owned())
    );
    deploy(&mut fleet, "2");
    assert_eq!((at(&fleet), overtaken(&fleet)), (Some(3), None));
    deploy(&mut fleet, "3");
    assert_eq!(fleet.current("shop").as_deref(), Some("3"));
}

#[test]
fn nothing_takes_the_old_shape_away_while_only_that_has_what_was_written() {
    let mut fleet = fleet();
    rename(&mut fleet);
    fleet.schema_at = SchemaVersion::new(1);
    for version in ["1", "2", "3", "4"] {
        deploy(&mut fleet, version);
    }
    deploy(&mut fleet, "1");
    assert_eq!(overtaken(&fleet), Some(3));
    let back = fleet.deploy(&rollback("shop")).unwrap_err().to_string();
    assert!(back.contains("backfill 3 of database shop is not right any more"), "{back}");
    let contract = DeploymentRequest {
        version: Some(name("4")),
        force: Some("now".to_owned()),
        ..migrate(SchemaPhase::Contract)
    };
    let lost = why(fleet.deploy(&contract));
    assert!(lost.ends_with("what it wrote would be lost with the old shape"), "{lost}");
    let again = DeploymentRequest { version: Some(name("2")), ..migrate(SchemaPhase::Backfill) };
    fleet.deploy(&again).unwrap();
    fleet.settle();
    assert_eq!(overtaken(&fleet), Some(3), "1 runs still, and writes the old shape alone");
    deploy(&mut fleet, "2");
    assert_eq!(overtaken(&fleet), None);
}

#[test]
fn a_host_that_has_nothing_new_to_say_counts_with_what_it_runs() {
    let mut fleet = fleet();
    rename(&mut fleet);
    fleet.schema_at = SchemaVersion::new(1);
    deploy(&mut fleet, "1");
    let of_two = |phase| DeploymentRequest { version: Some(name("2")), ..migrate(phase) };
    for phase in [SchemaPhase::Expand, SchemaPhase::Backfill] {
        fleet.deploy(&of_two(phase)).unwrap();
        // Only the host that migrates says anything.
        for _ in 0..20 {
            fleet.report("db");
            fleet.now = fleet.now + Duration::from_secs(1);
            fleet.act(State::tick).unwrap();
        }
    }
    assert_eq!((at(&fleet), overtaken(&fleet)), (Some(3), Some(3)), "1 was there all the time");
}

#[test]
fn a_person_says_that_it_is_right() {
    let mut fleet = fleet();
    rename(&mut fleet);
    fleet.schema_at = SchemaVersion::new(1);
    for version in ["1", "2"] {
        deploy(&mut fleet, version);
    }
    fleet.deploy(&rollback("shop")).unwrap();
    fleet.settle();
    let two = fleet.state.schema_of(&name_of("2")).unwrap().clone();
    let schema = ReleaseSchema { by_hand: vec![SchemaVersion::new(3)], ..two };
    let manifest = "[schema]\ndatabase = \"shop\"\nreads = \"1..=9\"\nhosts = { role = \"db\" }\nexpand = \"m/expand\"\nbackfill = \"m/backfill\"\n";
    fleet.push_with("shop", "2b", manifest, Some(schema));
    deploy(&mut fleet, "2b");
    assert_eq!(overtaken(&fleet), Some(3), "nothing can do it again by itself");
    let right = DeploymentRequest {
        version: Some(name("2b")),
        resolve: Some(("3=took-effect".parse().unwrap(), "copied by hand".to_owned())),
        ..migrate(SchemaPhase::Backfill)
    };
    fleet.deploy(&right).unwrap();
    fleet.settle();
    assert_eq!(overtaken(&fleet), None);
}
