//! Columns that a release says it uses, held against migrations that take them away.

use super::{
    Fixture, name, request, rollback,
    schemas::{abort, at, deploy, fleet, migrate, push_with, why},
};
use crate::fleet::{DeploymentRequest, Refusal, ReleaseColumns};
use handover_model::{DeploymentId, Duration, ReleaseRef, SchemaPhase, SchemaVersion, ServiceName};

/// What a release says that it uses, and what its migrations take away from which version on.
fn columns(reads: &str, uses: &[&str], gone: &[(u32, &str)]) -> ReleaseColumns {
    let uses = uses.iter().map(|used| used.parse().unwrap()).collect();
    let gone = gone.iter().map(|(at, what)| (SchemaVersion::new(*at), what.parse().unwrap()));
    ReleaseColumns::new(reads.parse().unwrap(), uses, gone)
}

fn push(fleet: &mut Fixture, version: &str, reads: &str, uses: &[&str], contract: Option<(u32, &str)>) {
    let phases: Vec<_> = contract.iter().map(|(at, _)| (SchemaPhase::Contract, *at)).collect();
    let gone: Vec<(u32, &str)> = contract.into_iter().collect();
    push_with(fleet, ("shop", version, reads), &phases, "", columns(reads, uses, &gone));
}

/// Ranges that are too wide: 1 says that it works with 44, and uses what 3 takes away with it.
fn three_releases(fleet: &mut Fixture) {
    push(fleet, "1", "41..=49", &["customers.email", "customers.name"], None);
    push(fleet, "2", "41..=49", &["customers.*"], None);
    push(fleet, "3", "41..=49", &["customers.mail"], Some((44, "customers.email")));
    push(fleet, "4", "41..=49", &["customers.mail"], None);
}

fn contract_of(version: &str, force: Option<&str>) -> DeploymentRequest {
    let force = force.map(str::to_owned);
    DeploymentRequest { version: Some(name(version)), force, ..migrate(SchemaPhase::Contract) }
}

#[test]
fn a_contract_is_refused_while_something_that_runs_uses_what_it_takes_away_whatever_its_range() {
    let mut fleet = fleet();
    three_releases(&mut fleet);
    deploy(&mut fleet, "1");
    let runs = "the contract of shop 3 makes the schema of database shop 44, and shop 1 (runs on db, web-1, web-2) uses customers.email, which migration 44 of shop 3 takes away";
    assert_eq!(why(fleet.deploy(&contract_of("3", None))), runs);
    assert_eq!(why(fleet.deploy(&contract_of("3", Some("now")))), runs, "what runs is never broken");
    deploy(&mut fleet, "2");
    let all = why(fleet.deploy(&contract_of("3", None)));
    assert!(all.contains("shop 2 (runs on db, web-1, web-2) uses customers.*, and migration 44 of shop 3 takes customers.email away"), "{all}");
    assert!(
        all.contains("; shop 2") && all.contains("shop 1 (rollback target) uses customers.email"),
        "{all}"
    );
    assert_eq!(at(&fleet), Some(41));
}

#[test]
fn an_offline_host_and_a_standby_hold_it_up_as_well() {
    let mut fleet = fleet();
    three_releases(&mut fleet);
    deploy(&mut fleet, "1");
    fleet.disconnect("web-2");
    fleet.now = fleet.now + Duration::from_secs(60);
    let hosts = ["db", "web-1"].map(name).into();
    fleet.deploy(&DeploymentRequest { hosts, ..request("shop", "3") }).unwrap();
    fleet.settle();
    let offline = why(fleet.deploy(&contract_of("3", None)));
    assert!(offline.contains("shop 1 (on offline web-2) uses customers.email"), "{offline}");

    let mut fleet = super::schemas::fleet();
    let warm = "[rollout]\nkeep_warm = \"1h\"\n";
    push(&mut fleet, "1", "41..=49", &["customers.email"], None);
    let takes = columns("41..=49", &[], &[(44, "customers.*")]);
    push_with(&mut fleet, ("shop", "2", "41..=49"), &[(SchemaPhase::Contract, 44)], warm, takes);
    deploy(&mut fleet, "1");
    deploy(&mut fleet, "2");
    let warm = why(fleet.deploy(&contract_of("2", None)));
    assert!(
        warm.contains("shop 1 (stands by on db, web-1, web-2; rollback target) uses customers.email"),
        "{warm}"
    );
    fleet.deploy(&contract_of("2", Some("1 is history"))).unwrap();
    let placed = &fleet.state.hosts["web-1"].assignments["shop"].assignment.0;
    assert_eq!(placed.len(), 1, "what stands by is given up before anything is taken away");
    fleet.settle();
    assert_eq!(at(&fleet), Some(44));
}

#[test]
fn what_was_taken_away_is_not_gone_back_to_and_that_is_said_before() {
    let mut fleet = fleet();
    three_releases(&mut fleet);
    for version in ["1", "3"] {
        deploy(&mut fleet, version);
    }
    let shop = name::<ServiceName>("shop");
    let no_return = fleet.state.no_return(&shop, fleet.now).unwrap();
    let uses = "shop 1 (rollback target) uses customers.email, which migration 44 of shop 3 takes away";
    assert!(no_return.ends_with(uses), "{no_return}");
    assert!(why(fleet.deploy(&contract_of("3", None))).contains(uses));
    fleet.deploy(&contract_of("3", Some("1 is history"))).unwrap();
    fleet.settle();
    assert_eq!(at(&fleet), Some(44));
    fleet.crash_and_start_again();
    fleet.report_all();
    let lost = fleet.deploy(&rollback("shop")).unwrap_err();
    assert!(
        matches!(&lost, Refusal::NoPreviousRelease { why, .. } if why.ends_with("shop 1 uses customers.email, which migration 44 of shop 3 takes away")),
        "{lost}"
    );
    let lost = why(fleet.deploy(&request("shop", "1")));
    assert!(lost.contains("uses customers.email"), "{lost}");
    let lost = why(fleet.deploy(&request("shop", "2")));
    assert!(lost.contains("shop 2 uses customers.*"), "{lost}");
    deploy(&mut fleet, "4");
    assert_eq!(fleet.current("shop").as_deref(), Some("4"));
    let view = fleet.state.schema_view(&shop, fleet.now).unwrap();
    assert!(view.readers.iter().all(|reader| reader.works.lost.is_none()), "{view:?}");
}

#[test]
fn code_that_was_written_after_it_may_use_a_column_of_the_same_name() {
    let mut fleet = fleet();
    three_releases(&mut fleet);
    for version in ["3", "4"] {
        deploy(&mut fleet, version);
    }
    fleet.deploy(&contract_of("3", None)).unwrap();
    fleet.settle();
    assert_eq!(at(&fleet), Some(44));
    fleet.migrates_to = Some(SchemaVersion::new(45));
    let expands = columns("45..=49", &["customers.email"], &[]);
    push_with(&mut fleet, ("shop", "6", "45..=49"), &[(SchemaPhase::Expand, 45)], "", expands);
    deploy(&mut fleet, "6");
    assert_eq!(fleet.current("shop").as_deref(), Some("6"));
}

#[test]
fn what_an_expand_takes_away_is_held_against_it_as_well() {
    let mut fleet = fleet();
    push(&mut fleet, "1", "41..=49", &["customers.email"], None);
    let takes = columns("41..=49", &[], &[(42, "customers.*")]);
    push_with(&mut fleet, ("shop", "2", "41..=49"), &[(SchemaPhase::Expand, 42)], "", takes);
    deploy(&mut fleet, "1");
    let expands = why(fleet.deploy(&request("shop", "2")));
    assert!(
        expands.contains("uses customers.email, and migration 42 of shop 2 takes customers.* away"),
        "{expands}"
    );
    assert!(expands.contains("shop 1 (runs on"), "{expands}");
}

#[test]
fn a_release_whose_own_expand_takes_away_what_it_uses_is_refused() {
    let mut fleet = fleet();
    push(&mut fleet, "1", "41..=49", &["customers.name"], None);
    deploy(&mut fleet, "1");
    let own = columns("41..=49", &["customers.email"], &[(42, "customers.email")]);
    push_with(&mut fleet, ("shop", "2", "41..=49"), &[(SchemaPhase::Expand, 42)], "", own);
    let refused = fleet.deploy(&request("shop", "2"));
    assert!(
        matches!(&refused, Err(Refusal::Schema { hint, .. }) if hint.contains("a later contract takes it away")),
        "{refused:?}"
    );
    let own = why(refused);
    assert!(
        own.starts_with("shop 2 uses customers.email, which migration 42 of shop 2 takes away (database shop), and its own expand makes it 42"),
        "{own}"
    );
}

/// 1 may be gone back to until the contract of 3 is forced, which is begun.
fn with_a_contract_under_way(fleet: &mut Fixture) -> DeploymentId {
    three_releases(fleet);
    deploy(fleet, "1");
    deploy(fleet, "3");
    fleet.deploy(&contract_of("3", Some("1 is history"))).unwrap()
}

fn uses_what_is_lost(fleet: &Fixture) -> bool {
    let one = ReleaseRef { service: name("shop"), version: name("1") };
    fleet.state.works(fleet.state.schema_of(&one).unwrap(), None).lost.is_some()
}

#[test]
fn what_a_contract_has_taken_whose_end_nobody_told_is_known_whoever_sees_the_schema_next() {
    let mut fleet = fleet();
    let id = with_a_contract_under_way(&mut fleet);
    abort(&mut fleet, id);
    fleet.settle();
    assert!(uses_what_is_lost(&fleet), "it was begun");
    push_with(
        &mut fleet,
        ("shop", "5", "41..=60"),
        &[(SchemaPhase::Expand, 48)],
        "",
        ReleaseColumns::default(),
    );
    deploy(&mut fleet, "5");
    assert_eq!(at(&fleet), Some(48), "the files before it are applied, as always");
    fleet.crash_and_start_again();
    assert!(uses_what_is_lost(&fleet));
}

#[test]
fn what_a_contract_has_not_taken_is_there_as_soon_as_the_schema_is_seen() {
    let mut fleet = fleet();
    let id = with_a_contract_under_way(&mut fleet);
    abort(&mut fleet, id);
    fleet.settle();
    fleet.crash_and_start_again();
    fleet.report_all();
    assert!(uses_what_is_lost(&fleet), "it was begun");
    fleet.deploy(&migrate(SchemaPhase::Expand)).unwrap();
    fleet.settle();
    assert_eq!(at(&fleet), Some(41), "nothing of it was applied");
    assert!(!uses_what_is_lost(&fleet));
    fleet.crash_and_start_again();
    assert!(!uses_what_is_lost(&fleet));
    fleet.report_all();
    fleet.deploy(&rollback("shop")).unwrap();
    fleet.settle();
    assert_eq!(fleet.current("shop").as_deref(), Some("1"));
}

#[test]
fn a_release_that_was_pushed_before_anybody_looked_is_looked_at_when_it_is_pushed_again() {
    let mut fleet = fleet();
    push(&mut fleet, "1", "41..=49", &["customers.email"], None);
    let contract = &[(SchemaPhase::Contract, 44)];
    push_with(&mut fleet, ("shop", "3", "41..=49"), contract, "", ReleaseColumns::default());
    let takes = columns("41..=49", &[], &[(44, "customers.email")]);
    push_with(&mut fleet, ("shop", "3", "41..=49"), contract, "", takes);
    fleet.crash_and_start_again();
    deploy(&mut fleet, "1");
    assert!(why(fleet.deploy(&contract_of("3", None))).contains("uses customers.email"));
}

#[test]
fn another_services_release_that_uses_the_column_counts_as_well() {
    let mut fleet = fleet();
    three_releases(&mut fleet);
    let uses = columns("41..=49", &["customers.email"], &[]);
    push_with(&mut fleet, ("billing", "7", "41..=49"), &[], "", uses);
    fleet.deploy(&request("billing", "7")).unwrap();
    fleet.settle();
    for version in ["3", "4"] {
        deploy(&mut fleet, version);
    }
    let other = why(fleet.deploy(&contract_of("3", None)));
    assert!(other.contains("billing 7 (runs on db, web-1, web-2) uses customers.email"), "{other}");
}
