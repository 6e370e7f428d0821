//! Schemas: migrations in plans, and what is refused because of what the fleet runs.

use super::{Fixture, name, request, rollback};
use crate::fleet::{DeploymentRequest, Ending, Purpose, Refusal, ReleaseColumns, ReleaseSchema};
use handover_model::{DeploymentId, Duration, SchemaPhase, SchemaVersion, ServiceName};
use handover_proto::status::Reason;

/// A fleet with two hosts; `db` has the label that migrations ask for.
pub(super) fn fleet() -> Fixture {
    let mut fleet = Fixture::with_hosts(&["web-1", "web-2"]);
    fleet.enrol("db", &[("role", "db")]);
    fleet.connect("db");
    fleet
}

/// Said of a release, its contract comes by itself after a day.
pub(super) const BY_ITSELF: &str = "# by itself\n";

/// Pushes a release that reads these versions, and makes these.
pub(super) fn push(fleet: &mut Fixture, version: &str, reads: &str, phases: &[(SchemaPhase, u32)]) {
    push_of(fleet, "shop", version, reads, phases, "");
}

pub(super) fn push_of(
    fleet: &mut Fixture,
    service: &str,
    version: &str,
    reads: &str,
    phases: &[(SchemaPhase, u32)],
    rollout: &str,
) {
    push_with(fleet, (service, version, reads), phases, rollout, ReleaseColumns::default());
}

/// The same, with columns that it uses and takes away.
pub(super) fn push_with(
    fleet: &mut Fixture,
    (service, version, reads): (&str, &str, &str),
    phases: &[(SchemaPhase, u32)],
    rollout: &str,
    columns: ReleaseColumns,
) {
    let after = |wanted| {
        phases.iter().find(|(phase, _)| *phase == wanted).map(|(_, number)| SchemaVersion::new(*number))
    };
    let schema = ReleaseSchema {
        database: "shop".to_owned(),
        reads: reads.parse().unwrap(),
        expand: after(SchemaPhase::Expand),
        backfill: after(SchemaPhase::Backfill),
        backfills: Vec::new(),
        by_hand: Vec::new(),
        programs: 0,
        contract: after(SchemaPhase::Contract),
        contract_after: rollout.contains(BY_ITSELF).then_some(24 * 3_600_000),
        lint: None,
        columns,
    };
    let folders: String = phases.iter().map(|(phase, _)| format!("{phase} = \"m/{phase}\"\n")).collect();
    let manifest = format!(
        "{rollout}[schema]\ndatabase = \"shop\"\nreads = \"{reads}\"\nhosts = {{ role = \"db\" }}\n{folders}"
    );
    fleet.push_with(service, version, &manifest, Some(schema));
}

pub(super) fn deploy(fleet: &mut Fixture, version: &str) -> DeploymentId {
    let id = fleet.deploy(&request("shop", version)).unwrap();
    fleet.settle();
    id
}

pub(super) fn migrate(phase: SchemaPhase) -> DeploymentRequest {
    DeploymentRequest { version: None, migrate: Some(phase), ..request("shop", "0") }
}

pub(super) fn at(fleet: &Fixture) -> Option<u32> {
    fleet.state.schema_version("shop").map(SchemaVersion::number)
}

/// 1 reads 41 and 42; 2 adds 42, carries over to 43, and reads both; 3 takes the old away with 44.
fn three_releases(fleet: &mut Fixture) {
    push(fleet, "1", "41..=43", &[]);
    push(fleet, "2", "42..=43", &[(SchemaPhase::Expand, 42), (SchemaPhase::Backfill, 43)]);
    push(fleet, "3", "43..=44", &[(SchemaPhase::Contract, 44)]);
    push(fleet, "4", "44", &[]);
}

#[track_caller]
pub(super) fn why(refused: Result<DeploymentId, Refusal>) -> String {
    let refusal = refused.unwrap_err();
    assert_eq!(refusal.reason(), Reason::SchemaRefused, "{refusal}");
    refusal.to_string()
}

#[test]
fn a_deployment_expands_before_it_and_carries_over_behind_it() {
    let mut fleet = fleet();
    three_releases(&mut fleet);
    deploy(&mut fleet, "1");
    assert_eq!(at(&fleet), Some(41), "a schema that was never seen is looked at first");
    let (plan, _) = fleet.state.plan_deployment(&request("shop", "2"), fleet.now).unwrap();
    let phases: Vec<_> = plan
        .stages
        .iter()
        .map(|stage| stage.migration.as_ref().map(|m| (m.phase, m.host.as_str())))
        .collect();
    let expected = [Some((SchemaPhase::Expand, "db")), None, None, None, Some((SchemaPhase::Backfill, "db"))];
    assert_eq!(phases, expected);
    let id = deploy(&mut fleet, "2");
    assert_eq!(fleet.state.deployments[&id].ended.unwrap().1, Ending::Succeeded);
    assert_eq!((at(&fleet), fleet.current("shop").as_deref()), (Some(43), Some("2")));
    assert!(fleet.state.hosts.values().all(|host| host.migrations.is_empty()));
}

#[test]
fn a_release_is_refused_where_it_does_not_read_what_the_schema_is_or_becomes() {
    let mut fleet = fleet();
    three_releases(&mut fleet);
    deploy(&mut fleet, "1");
    let refused = fleet.deploy(&request("shop", "3"));
    assert!(
        matches!(&refused, Err(Refusal::Schema { hint, .. }) if hint.contains("in between")),
        "{refused:?}"
    );
    assert!(why(refused).contains("shop 3 reads 43..=44"));
    push(&mut fleet, "2a", "41", &[(SchemaPhase::Expand, 42)]);
    let own = why(fleet.deploy(&request("shop", "2a")));
    assert!(own.contains("its own expand makes it 42"), "{own}");
    let rehearsal = DeploymentRequest { rehearse: Some(Duration::from_secs(1)), ..request("shop", "2") };
    let refused = fleet.deploy(&rehearsal);
    assert!(
        matches!(&refused, Err(Refusal::Schema { hint, .. }) if hint.contains("handover migrate expand shop --release 2")),
        "{refused:?}"
    );
}

#[test]
fn an_expand_is_refused_where_something_that_runs_does_not_read_the_result() {
    let mut fleet = fleet();
    push(&mut fleet, "1", "41", &[]);
    push(&mut fleet, "2", "41..=42", &[(SchemaPhase::Expand, 42)]);
    deploy(&mut fleet, "1");
    let running = why(fleet.deploy(&request("shop", "2")));
    assert_eq!(
        running,
        "the expand of shop 2 makes the schema of database shop 42, and shop 1 (runs on db, web-1, web-2) reads 41"
    );
    let forced = DeploymentRequest {
        version: Some(name("2")),
        force: Some("now".to_owned()),
        ..migrate(SchemaPhase::Expand)
    };
    assert_eq!(why(fleet.deploy(&forced)), running, "what runs is never broken");
    assert_eq!(at(&fleet), Some(41));
    for host in ["db", "web-1", "web-2"] {
        fleet.disconnect(host);
    }
    fleet.now = fleet.now + Duration::from_secs(60);
    let offline = why(fleet.deploy(&DeploymentRequest { force: None, ..forced }));
    assert!(offline.contains("shop 1 (on offline db, web-1, web-2) reads 41"), "{offline}");
}

#[test]
fn another_services_release_that_reads_the_database_counts_as_well() {
    let mut fleet = fleet();
    push(&mut fleet, "1", "41..=42", &[]);
    push(&mut fleet, "2", "41..=42", &[(SchemaPhase::Expand, 42)]);
    push_of(&mut fleet, "billing", "7", "41", &[], "");
    deploy(&mut fleet, "1");
    fleet.deploy(&request("billing", "7")).unwrap();
    let busy = why(fleet.deploy(&request("shop", "2")));
    assert!(busy.contains("of billing 7 goes on, which uses database shop too"), "{busy}");
    fleet.settle();
    assert!(why(fleet.deploy(&request("shop", "2"))).contains("billing 7 (runs on"));
}

#[test]
fn a_contract_waits_until_nothing_could_be_gone_back_to_that_needs_the_old_shape() {
    let mut fleet = fleet();
    three_releases(&mut fleet);
    for version in ["1", "2", "3"] {
        deploy(&mut fleet, version);
    }
    let no_return = fleet.state.no_return(&name::<ServiceName>("shop"), fleet.now).unwrap();
    assert!(
        no_return.contains("to schema 44 waits") && no_return.contains("shop 2 (rollback target)"),
        "{no_return}"
    );
    let target = why(fleet.deploy(&migrate(SchemaPhase::Contract)));
    assert!(target.contains("shop 2 (rollback target) reads 42..=43"), "{target}");

    let without_reason = DeploymentRequest { force: Some(" ".to_owned()), ..migrate(SchemaPhase::Contract) };
    assert!(matches!(fleet.deploy(&without_reason), Err(Refusal::Invalid(_))));
    let forced = DeploymentRequest { force: Some("2 is history".to_owned()), ..without_reason };
    let id = fleet.deploy(&forced).unwrap();
    fleet.settle();
    assert_eq!(fleet.state.deployments[&id].purpose, Purpose::Migration);
    assert_eq!((at(&fleet), fleet.current("shop").as_deref()), (Some(44), Some("3")));
    let lost = fleet.deploy(&rollback("shop")).unwrap_err();
    assert!(
        matches!(&lost, Refusal::NoPreviousRelease { why, .. } if why.contains("the schema of database shop is at 44 since the contract of d4, and shop 2 reads 42..=43")),
        "{lost}"
    );
    assert!(why(fleet.deploy(&request("shop", "2"))).contains("shop 2 reads 42..=43"));
    assert_eq!(fleet.state.no_return(&name::<ServiceName>("shop"), fleet.now), None);
    deploy(&mut fleet, "4");
    assert_eq!(fleet.current("shop").as_deref(), Some("4"));
}

#[test]
fn a_standby_holds_a_contract_up() {
    let mut fleet = fleet();
    push(&mut fleet, "1", "41..=42", &[]);
    push_of(
        &mut fleet,
        "shop",
        "2",
        "42..=43",
        &[(SchemaPhase::Expand, 42), (SchemaPhase::Contract, 43)],
        "[rollout]\nkeep_warm = \"1h\"\n",
    );
    push(&mut fleet, "3", "42..=43", &[]);
    for version in ["1", "2"] {
        deploy(&mut fleet, version);
    }
    let warm = why(fleet.deploy(&migrate(SchemaPhase::Contract)));
    assert!(warm.contains("shop 1 (stands by on db, web-1, web-2; rollback target) reads 41..=42"), "{warm}");
    deploy(&mut fleet, "3");
    let of_two = DeploymentRequest { version: Some(name("2")), ..migrate(SchemaPhase::Contract) };
    fleet.deploy(&of_two).unwrap();
    fleet.settle();
    assert_eq!(at(&fleet), Some(43), "nothing is left that needs the old shape");
}

#[test]
fn a_contract_that_is_forced_takes_out_what_stands_by_and_does_not_read_the_result() {
    let mut fleet = fleet();
    let warm = "[rollout]\nkeep_warm = \"1h\"\n";
    push(&mut fleet, "1", "41..=42", &[]);
    push_of(&mut fleet, "shop", "2", "41..=43", &[(SchemaPhase::Contract, 43)], warm);
    push_of(&mut fleet, "billing", "1", "41..=43", &[], "");
    push_of(&mut fleet, "billing", "2", "41..=43", &[], warm);
    for (service, version) in [("shop", "1"), ("shop", "2"), ("billing", "1"), ("billing", "2")] {
        fleet.deploy(&request(service, version)).unwrap();
        fleet.settle();
    }
    let ordered = |fleet: &Fixture, service: &str| {
        let record = &fleet.state.hosts["web-1"].assignments[service];
        let mut versions: Vec<String> =
            record.assignment.0.iter().map(|placement| placement.release.version.to_string()).collect();
        versions.sort();
        versions
    };
    assert_eq!(ordered(&fleet, "shop"), ["1", "2"]);
    let forced =
        DeploymentRequest { force: Some("1 is history".to_owned()), ..migrate(SchemaPhase::Contract) };
    fleet.deploy(&forced).unwrap();
    assert_eq!(ordered(&fleet, "shop"), ["2"], "before anything is taken away");
    assert_eq!(ordered(&fleet, "billing"), ["1", "2"], "what reads the result stands by as before");
    fleet.settle();
    assert_eq!(at(&fleet), Some(43));
}

#[test]
fn an_expand_that_fails_leaves_everything_as_it_was() {
    let mut fleet = fleet();
    three_releases(&mut fleet);
    deploy(&mut fleet, "1");
    fleet.migrations_fail = true;
    let id = deploy(&mut fleet, "2");
    let record = &fleet.state.deployments[&id];
    assert_eq!(record.ended.unwrap().1, Ending::RolledBack);
    assert_eq!(record.reason, "the expand migrations failed on db: 42 cannot be applied");
    assert_eq!((at(&fleet), fleet.runs("web-1", "shop").as_deref()), (Some(41), Some("1")));
}

#[test]
fn a_server_that_is_killed_goes_on_with_the_same_attempt() {
    let mut fleet = fleet();
    three_releases(&mut fleet);
    deploy(&mut fleet, "1");
    let id = fleet.deploy(&request("shop", "2")).unwrap();
    let target = fleet.state.target(&name("db")).unwrap();
    assert_eq!(target.migrations[&name::<ServiceName>("shop")].id.to_string(), format!("{id}.0.1"));
    fleet.crash_and_start_again();
    assert_eq!(fleet.state.target(&name("db")).unwrap(), target, "the same under the same revision");
    fleet.settle();
    assert_eq!((at(&fleet), fleet.current("shop").as_deref()), (Some(43), Some("2")));
    fleet.crash_and_start_again();
    assert_eq!(at(&fleet), Some(43));
}

#[test]
fn nobody_who_could_migrate_is_a_clear_refusal() {
    let mut fleet = fleet();
    three_releases(&mut fleet);
    fleet.disconnect("db");
    fleet.now = fleet.now + Duration::from_secs(60);
    let nobody = why(fleet.deploy(&request("shop", "1")));
    assert_eq!(nobody, "no host is online that could migrate database shop for shop 1: 1 have the labels");
    let nothing =
        why(fleet.deploy(&DeploymentRequest { version: Some(name("1")), ..migrate(SchemaPhase::Expand) }));
    assert_eq!(nothing, "shop 1 has no expand migrations");
}

#[test]
fn migrations_that_do_not_make_what_was_promised_are_no_success() {
    let mut fleet = fleet();
    three_releases(&mut fleet);
    fleet.migrates_to = Some(SchemaVersion::new(20));
    let id = deploy(&mut fleet, "1");
    let record = &fleet.state.deployments[&id];
    assert_eq!(record.ended.unwrap().1, Ending::RolledBack);
    assert!(record.reason.contains("the schema is at 20, and shop 1 reads 41..=43"), "{}", record.reason);
    assert_eq!(fleet.runs("web-1", "shop"), None);

    fleet.migrates_to = None;
    deploy(&mut fleet, "1");
    fleet.migrates_to = Some(SchemaVersion::new(41));
    let id = deploy(&mut fleet, "2");
    let record = &fleet.state.deployments[&id];
    assert!(record.reason.contains("files of another phase come first"), "{}", record.reason);
    assert_eq!((at(&fleet), fleet.runs("web-1", "shop").as_deref()), (Some(41), Some("1")));
}

pub(super) fn abort(fleet: &mut Fixture, id: DeploymentId) {
    let abort = handover_rollout::Event::Abort { by: "ada".into(), reason: String::new() };
    fleet.act(|state, now, effects| state.drive(id, abort, now, effects)).unwrap();
}

/// 2 may be gone back to until a contract is forced; what became of that nobody has said.
fn with_a_contract_under_way(fleet: &mut Fixture) -> DeploymentId {
    three_releases(fleet);
    for version in ["1", "2", "3"] {
        deploy(fleet, version);
    }
    push_of(fleet, "billing", "1", "41..=43", &[], "");
    push_of(fleet, "billing", "2", "41..=44", &[], "");
    for version in ["1", "2"] {
        fleet.deploy(&request("billing", version)).unwrap();
        fleet.settle();
    }
    let reason = Some("nobody goes back".to_owned());
    fleet.deploy(&DeploymentRequest { force: reason, ..migrate(SchemaPhase::Contract) }).unwrap()
}

#[test]
fn while_a_contract_goes_on_nothing_goes_back_to_what_does_not_read_its_result() {
    let mut fleet = fleet();
    let id = with_a_contract_under_way(&mut fleet);
    let rehearsal = DeploymentRequest {
        rehearse: Some(Duration::from_secs(1)),
        version: Some(name("1")),
        ..request("billing", "1")
    };
    let begun =
        "the contract of d6 was begun, and nobody has said what the schema of database shop is now, up to 44";
    assert_eq!(id.to_string(), "d6");
    assert!(why(fleet.deploy(&rehearsal)).contains(begun));
    let lost = fleet.deploy(&rollback("billing")).unwrap_err();
    assert!(matches!(&lost, Refusal::NoPreviousRelease { why, .. } if why.contains(begun)), "{lost}");
}

#[test]
fn a_contract_whose_end_nobody_told_may_have_taken_away_what_it_should_until_somebody_looks() {
    let mut fleet = fleet();
    let id = with_a_contract_under_way(&mut fleet);
    abort(&mut fleet, id);
    fleet.settle();
    fleet.crash_and_start_again();
    fleet.report_all();
    assert_eq!(at(&fleet), Some(43), "as it was seen last");
    let lost = fleet.deploy(&rollback("shop")).unwrap_err();
    assert!(matches!(&lost, Refusal::NoPreviousRelease { why, .. } if why.contains("was begun")), "{lost}");
    fleet.deploy(&migrate(SchemaPhase::Expand)).unwrap();
    fleet.settle();
    assert_eq!(at(&fleet), Some(43), "nothing of it was applied");
    fleet.deploy(&rollback("shop")).unwrap();
    fleet.settle();
    assert_eq!(fleet.current("shop").as_deref(), Some("2"));
}

#[test]
fn what_hosts_that_come_to_the_service_get_holds_a_contract_up() {
    let mut fleet = fleet();
    push(&mut fleet, "1", "41..=42", &[]);
    push(&mut fleet, "2", "41..=43", &[(SchemaPhase::Contract, 43)]);
    deploy(&mut fleet, "1");
    // It keeps a deployment to the others from becoming the current one.
    fleet.enrol("web-3", &[]);
    let hosts = ["db", "web-1", "web-2"].map(name).into();
    fleet.deploy(&DeploymentRequest { hosts, ..request("shop", "2") }).unwrap();
    fleet.settle();
    let of_two = DeploymentRequest { version: Some(name("2")), ..migrate(SchemaPhase::Contract) };
    assert_eq!(fleet.current("shop").as_deref(), Some("1"));
    let held = why(fleet.deploy(&of_two));
    assert!(held.contains("shop 1 (for hosts that come to the service) reads 41..=42"), "{held}");
}

#[test]
fn a_request_that_began_a_deployment_answers_no_migration() {
    let mut fleet = fleet();
    three_releases(&mut fleet);
    deploy(&mut fleet, "1");
    let deployed = DeploymentRequest { request: "r1".to_owned(), ..request("shop", "2") };
    fleet.deploy(&deployed).unwrap();
    fleet.settle();
    let migrates = DeploymentRequest {
        request: "r1".to_owned(),
        version: Some(name("2")),
        ..migrate(SchemaPhase::Backfill)
    };
    let reused = fleet.deploy(&migrates).unwrap_err();
    assert!(matches!(reused, Refusal::RequestReused { .. }), "{reused}");
}

#[test]
fn a_host_that_has_not_said_what_it_runs_since_the_start_holds_a_migration_up() {
    let mut fleet = fleet();
    three_releases(&mut fleet);
    deploy(&mut fleet, "1");
    fleet.crash_and_start_again();
    assert!(why(fleet.deploy(&request("shop", "2"))).contains("has not said yet what it runs"));
    fleet.report_all();
    fleet.deploy(&request("shop", "2")).unwrap();
    fleet.settle();
    assert_eq!(at(&fleet), Some(43));
}

#[test]
fn what_a_person_found_of_a_migration_goes_to_the_host_with_the_migrations() {
    let mut fleet = fleet();
    three_releases(&mut fleet);
    deploy(&mut fleet, "1");
    let found = "42=took-effect".parse().unwrap();
    let resolving = |reason: &str| DeploymentRequest {
        version: Some(name("2")),
        resolve: Some((found, reason.to_owned())),
        ..migrate(SchemaPhase::Expand)
    };
    assert!(matches!(fleet.deploy(&resolving(" ")), Err(Refusal::Invalid(why)) if why.contains("--reason")));
    let deployment = DeploymentRequest { migrate: None, ..resolving("looked") };
    assert!(
        matches!(fleet.deploy(&deployment), Err(Refusal::Invalid(why)) if why.contains("handover migrate"))
    );
    let id = fleet.deploy(&resolving("the table is there")).unwrap();
    let told = |fleet: &Fixture| fleet.state.target(&name("db")).unwrap().migrations["shop"].resolve;
    assert_eq!(told(&fleet), Some(found));
    fleet.crash_and_start_again();
    assert_eq!(told(&fleet), Some(found), "{id} after a start of the server");
    fleet.settle();
    assert_eq!(at(&fleet), Some(42));
}
