//! There and back: plans that take every host back at their end.

use crate::{
    agent::Program,
    fleet::{Fleet, Settings},
    names::{host, old_placement, release, secs},
    world::World,
};
use handover_model::Share;
use handover_rollout::{HostState, Outcome, Placement, Plan, PlanError, PlanRequest, rehearsal};
use std::collections::BTreeSet;

fn settings() -> Settings {
    Settings { hosts: 3, ..Settings::default() }
}

fn plan(request: &PlanRequest) -> Plan {
    rehearsal(request, secs(10)).unwrap()
}

fn planned(plan: &Plan) -> Vec<&str> {
    plan.stages.iter().flat_map(|stage| &stage.hosts).map(|planned| planned.host.as_str()).collect()
}

/// The states that a host went through, as far as something was ordered in them.
fn ordered_in(world: &World) -> Vec<&'static str> {
    world.commands.iter().map(|(_, _, state)| state.name()).collect()
}

#[test]
fn one_host_flips_forth_stays_for_the_time_and_flips_back() {
    let plan = plan(&settings().request());
    assert_eq!(planned(&plan), ["h1"], "one host is enough");
    let mut world = Fleet::of(settings()).run(&plan);
    world.run_until("it has everything", |world| world.serving() == ["2", "1", "1"]);
    world.run_for(secs(8));
    assert_eq!(world.serving(), ["2", "1", "1"], "before its time was over");
    assert_eq!(world.run_to_the_end(), Outcome::Returned { hosts: 1, failed: 0 });
    assert_eq!(world.serving(), ["1", "1", "1"]);
    assert_eq!(world.ordered(1), [("web-d1".to_owned(), 10_000)], "the other one is ended");
    assert_eq!(ordered_in(&world), ["starting", "shifting", "returning", "returning"]);
    let HostState::Returned { ledger, .. } = world.deployment.host(&host(1)).unwrap().state.clone() else {
        panic!("it is not back");
    };
    assert!(ledger.is_some(), "what became of its connections is not known");
}

#[test]
fn a_release_that_is_not_well_ends_it_as_rolled_back() {
    for program in [Program::NEVER_READY, Program::EXITS_AT_ONCE, Program::dying_after(secs(5))] {
        let mut fleet = Fleet::of(settings());
        fleet.agent(1).new_program = program;
        let mut world = fleet.run(&plan(&settings().request()));
        assert!(matches!(world.run_to_the_end(), Outcome::RolledBack { .. }), "{program:?}");
        assert_eq!(world.serving(), ["1", "1", "1"]);
    }
}

#[test]
fn a_crash_of_the_server_at_any_moment_ends_with_the_host_on_its_former_release() {
    for moment in 0..40 {
        let mut world = Fleet::of(settings()).run(&plan(&settings().request()));
        for _ in 0..moment {
            world.beat();
        }
        world.crash();
        assert_eq!(world.run_to_the_end(), Outcome::Returned { hosts: 1, failed: 0 }, "after {moment} beats");
        assert_eq!(world.serving(), ["1", "1", "1"]);
    }
}

#[test]
fn what_stands_by_is_flipped_to_and_stands_by_again() {
    let warm = Settings { keep_warm: secs(600), ..settings() };
    let mut world = Fleet::of(warm).deploy();
    assert_eq!(world.run_to_the_end(), Outcome::Succeeded { hosts: 3, failed: 0 });
    let runs = Placement { release: release("2"), instance: "web-d2".parse().unwrap(), share: Share::ALL };
    let mut request = PlanRequest { release: release("1"), ..settings().request() };
    for host in &mut request.hosts {
        host.runs = Some(runs.clone());
    }
    request.hosts[1].standby = Some(old_placement().with(Share::HIDDEN));
    let plan = plan(&request);
    assert_eq!(planned(&plan), ["h2"], "where nothing has to be started");
    let mut world = world.next(&plan);
    world.run_until("the host has flipped", |world| world.serving() == ["2", "1", "2"]);
    assert_eq!(world.run_to_the_end(), Outcome::Returned { hosts: 1, failed: 0 });
    assert_eq!(world.serving(), ["2", "2", "2"]);
    assert_eq!(world.ordered(2), [("web-d2".to_owned(), 10_000), ("web-d1".to_owned(), 0)]);
    assert_eq!(ordered_in(&world), ["shifting", "returning"], "nothing was started or ended");
}

#[test]
fn an_operators_abort_takes_the_host_back_and_is_no_success() {
    let mut world = Fleet::of(settings()).run(&plan(&settings().request()));
    world.run_until("it has everything", |world| world.state(1) == "baking");
    world.abort();
    assert!(matches!(world.run_to_the_end(), Outcome::RolledBack { .. }));
    assert_eq!(world.serving(), ["1", "1", "1"]);
}

#[test]
fn a_host_that_is_back_as_planned_is_not_tried_again() {
    let mut plan = plan(&settings().request());
    let mut second = plan.stages[0].clone();
    second.hosts[0].host = host(2);
    plan.stages.push(second);
    let mut world = Fleet::of(settings()).run(&plan);
    world.run_until("the first one is back", |world| world.state(1) == "returned");
    assert!(world.deployment.no_retry(&host(1)).unwrap().contains("is back already"));
    assert_eq!(world.deployment.retryable().count(), 0);
    assert_eq!(world.run_to_the_end(), Outcome::Returned { hosts: 2, failed: 0 });
}

#[test]
fn there_must_be_a_host_that_is_online_and_has_something_to_go_back_to() {
    let mut request = settings().request();
    request.hosts[0].runs = None;
    request.hosts[1].online = false;
    assert_eq!(planned(&plan(&request)), ["h3"]);
    let only = PlanRequest { only: BTreeSet::from([host(1)]), ..request.clone() };
    let error = rehearsal(&only, secs(1)).unwrap_err();
    assert!(error.to_string().contains("nothing that it could go back to"), "{error}");
    request.hosts[2].gave_up = true;
    assert!(matches!(rehearsal(&request, secs(1)), Err(PlanError::NothingToDo { .. })));
}

#[test]
fn a_plan_takes_all_of_its_hosts_back_or_none() {
    let settings = settings();
    let mut plan = settings.rolling();
    (plan.stages[0].returns, plan.stages[0].retire) = (true, false);
    assert_eq!(plan.check(), Err(PlanError::ReturnsInPart { stage: 1 }));
}
