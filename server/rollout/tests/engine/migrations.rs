//! Stages that migrate, before and after those that change hosts.

use crate::{
    agent::Program,
    fleet::{Fleet, Settings},
    names::{host, release, secs},
    world::World,
};
use handover_model::{Duration, MigrationState, SchemaPhase, SchemaVersion};
use handover_rollout::{
    Deployment, Event, Migration, OnFailure, Outcome, Plan, PlanError, Record, StagePhase, sentence,
};

fn migration(phase: SchemaPhase, on_failure: OnFailure) -> Migration {
    Migration { host: host(9), phase, within: secs(60), on_failure, resolve: None }
}

/// Expand, the hosts, backfill.
fn migrated(settings: &Settings) -> Plan {
    settings.rolling().with_migrations(
        Some(migration(SchemaPhase::Expand, OnFailure::RollBack)),
        Some(migration(SchemaPhase::Backfill, OnFailure::Pause)),
    )
}

fn settings() -> Settings {
    Settings { hosts: 2, in_flight: 2, ..Settings::default() }
}

fn world() -> World {
    Fleet::of(settings()).run(&migrated(&settings()))
}

fn migrates(world: &World) -> bool {
    matches!(world.phase(), Some(StagePhase::Migrating { .. }))
}

#[test]
fn no_host_is_touched_before_the_schema_is_expanded() {
    let mut world = world();
    world.run_for(secs(2));
    assert_eq!(world.deployment.migration_order().unwrap().phase, SchemaPhase::Expand);
    assert_eq!(world.deployment.assignments().len(), 0);
    let waits = world.deployment.waiting_on().unwrap().what;
    assert_eq!(waits, "batch 1 of 4: the expand migrations on h9 (file 42)");
    assert_eq!(world.run_to_the_end(), Outcome::Succeeded { hosts: 2, failed: 0 });
    assert_eq!(world.migrator.applied, [SchemaPhase::Expand, SchemaPhase::Backfill]);
    assert_eq!(world.serving(), ["2", "2"]);
    assert_eq!(world.deployment.migration_order(), None);
}

#[test]
fn only_the_host_that_migrates_says_how_that_ends() {
    let mut world = world();
    world.run_for(secs(1));
    let migration = world.deployment.migration_order().unwrap().id;
    let state = MigrationState::Done { version: SchemaVersion::new(42) };
    let said = |from| Event::MigrationReported { host: host(from), migration, state: state.clone() };
    world.event(said(0));
    assert!(migrates(&world), "another host's word counts for nothing");
    world.event(said(9));
    assert!(!migrates(&world));
}

#[test]
fn where_the_schema_cannot_be_expanded_nothing_changes() {
    let mut fleet = Fleet::of(settings());
    fleet.migrator.failures = 1;
    let mut world = fleet.run(&migrated(&settings()));
    let reason = "the expand migrations failed on h9: 42 cannot be applied".to_owned();
    assert_eq!(world.run_to_the_end(), Outcome::RolledBack { reason });
    assert_eq!(world.serving(), ["1", "1"]);
    assert_eq!(world.deployment.assignments().len(), 0);
}

#[test]
fn a_backfill_that_fails_waits_for_a_person_and_is_begun_anew() {
    let mut fleet = Fleet::of(settings());
    fleet.migrator.failures = 0;
    let mut world = fleet.run(&migrated(&settings()));
    world.run_until("the backfill", |world| migrates(world) && world.deployment.stage() == 3);
    world.migrator.failures = 1;
    world.run_until("a person is asked", World::is_paused);
    assert_eq!(world.serving(), ["2", "2"]);
    assert_eq!(world.deployment.migration_order(), None);
    let then = world.deployment.waiting_on().unwrap().then;
    assert!(then.contains("`handover resume web` runs the migrations again"), "{then}");
    world.resume();
    assert_eq!(world.deployment.migration_order().unwrap().id.to_string(), "d2.3.2");
    assert_eq!(world.run_to_the_end(), Outcome::Succeeded { hosts: 2, failed: 0 });
}

#[test]
fn a_person_who_pauses_lets_it_stand_still_under_its_id() {
    let mut world = world();
    world.run_for(secs(1));
    let order = world.deployment.migration_order().unwrap();
    world.pause();
    let held = world.deployment.migration_order().unwrap();
    assert_eq!((held.id, held.paused), (order.id, true));
    world.run_for(secs(120));
    assert!(world.is_paused(), "its time stands still");
    world.resume();
    assert_eq!(world.deployment.migration_order(), Some(order));
    assert_eq!(world.run_to_the_end(), Outcome::Succeeded { hosts: 2, failed: 0 });
}

#[test]
fn what_is_said_of_another_attempt_does_not_count() {
    let mut world = world();
    world.migrator.online = false;
    let id = world.deployment.migration_order().unwrap().id;
    for migration in [
        handover_model::MigrationId { attempt: id.attempt + 1, ..id },
        handover_model::MigrationId { stage: id.stage + 1, ..id },
    ] {
        let state = MigrationState::Done { version: SchemaVersion::new(42) };
        world.event(Event::MigrationReported { host: host(9), migration, state });
        assert!(migrates(&world));
    }
}

#[test]
fn migrations_that_do_not_end_have_failed_at_their_deadline() {
    let mut world = world();
    world.migrator.online = false;
    world.event(Event::HostDisconnected { host: host(9) });
    assert!(world.deployment.waiting_on().unwrap().what.ends_with("on h9 (the host is offline)"));
    let Outcome::RolledBack { reason } = world.run_to_the_end() else { panic!("it went on") };
    assert_eq!(
        reason,
        "the expand migrations failed on h9: they did not end within 60s; the host is offline"
    );
}

#[test]
fn a_host_that_leaves_the_fleet_cannot_migrate() {
    let mut world = world();
    world.event(Event::HostRemoved { host: host(9) });
    let outcome = world.run_to_the_end();
    let reason = "the expand migrations failed on h9: it was removed from the fleet".to_owned();
    assert_eq!(outcome, Outcome::RolledBack { reason });
}

#[test]
fn an_abort_ends_what_migrates() {
    let mut world = world();
    world.run_for(secs(1));
    assert!(world.migrator.order.is_some());
    world.abort();
    assert_eq!(world.migrator.order, None);
    assert!(matches!(world.run_to_the_end(), Outcome::RolledBack { .. }));
    assert_eq!(world.migrator.applied, []);
}

#[test]
fn a_release_that_fails_after_the_expand_goes_back_and_the_schema_stays() {
    let mut fleet = Fleet::of(settings());
    fleet.agent(1).new_program = Program::NEVER_READY;
    let mut world = fleet.run(&migrated(&settings()));
    assert!(matches!(world.run_to_the_end(), Outcome::RolledBack { .. }));
    assert_eq!(world.migrator.applied, [SchemaPhase::Expand]);
    assert_eq!(world.serving(), ["1", "1"]);
}

#[test]
fn migrations_alone_are_a_plan() {
    let plan = Plan { stages: Vec::new(), ..settings().rolling() };
    let plan = plan.with_migrations(Some(migration(SchemaPhase::Contract, OnFailure::Pause)), None);
    let mut world = Fleet::of(settings()).run(&plan);
    assert_eq!(world.run_to_the_end(), Outcome::Succeeded { hosts: 0, failed: 0 });
    let told: Vec<_> = world.records.iter().map(sentence).collect();
    assert!(
        told.contains(
            &"planned for stage 1: the contract migrations, run by h9 within 60s; if they fail, it pauses"
                .to_owned()
        ),
        "{told:#?}"
    );
    assert_eq!(told.last().unwrap(), "succeeded: the migrations are applied");
}

#[test]
fn a_stage_migrates_or_changes_hosts() {
    let mut plan = migrated(&settings());
    plan.stages[0].hosts = plan.stages[1].hosts.clone();
    assert_eq!(plan.check(), Err(PlanError::Mixed { stage: 0 }));
    plan.stages[0].hosts.clear();
    assert_eq!(plan.check(), Ok(()));
    plan.stages[0].bake = Duration::from_secs(1);
    assert_eq!(plan.check(), Err(PlanError::Mixed { stage: 0 }));
    plan.stages[0].migration = None;
    assert_eq!(plan.check(), Err(PlanError::Empty { stage: 0 }));
}

#[test]
fn the_journal_may_be_cut_after_any_record() {
    let mut whole = world();
    whole.run_to_the_end();
    assert_eq!(whole.deployment.release(), &release("2"));
    let started = whole.records.iter().position(|record| matches!(record, Record::Started { .. })).unwrap();
    for kept in started + 1..=whole.records.len() {
        let mut deployment = Deployment::replay(whole.records[..kept].iter().cloned()).unwrap();
        let order = deployment.migration_order();
        let step = deployment.on_event(Event::Tick, whole.now);
        let again =
            Deployment::replay(whole.records[..kept].iter().cloned().chain(step.records.iter().cloned()))
                .unwrap();
        assert_eq!(again, deployment, "after {kept} records");
        if let Some(order) = order {
            let after = deployment.migration_order();
            assert!(after.is_none() || after == Some(order), "one attempt has one id");
        }
    }
}
