//! Stages are general: shares that grow over several stages need no other engine.

use crate::{
    agent::Program,
    fleet::{Fleet, Settings},
    names::{host, old_placement, secs, share},
};
use handover_rollout::{Outcome, Plan, PlanError, PlannedHost, Stage};

/// Every host in each stage, with these shares; the last one retires.
pub(crate) fn staged(settings: &Settings, shares: &[u32]) -> Plan {
    let from = settings.replaces.then(old_placement);
    let hosts: Vec<_> =
        (1..=settings.hosts).map(|number| PlannedHost::new(host(number), from.clone())).collect();
    let last = shares.len() - 1;
    let stage = |(number, points): (usize, &u32)| {
        Stage::plain(hosts.clone(), share(*points), settings.bake, number == last)
    };
    let stages = shares.iter().enumerate().map(stage).collect();
    Plan { stages, ..settings.rolling() }
}

fn settings() -> Settings {
    Settings { hosts: 2, in_flight: 2, ..Settings::default() }
}

#[test]
fn a_share_grows_from_stage_to_stage_on_the_same_hosts() {
    let mut world = Fleet::of(settings()).run(&staged(&settings(), &[500, 5_000, 10_000]));
    for points in [500, 5_000, 10_000] {
        let wanted = [("web-d1".to_owned(), 10_000 - points), ("web-d2".to_owned(), points)];
        world.run_until("the share", |world| world.ordered(1) == wanted && world.ordered(2) == wanted);
        world.run_until("the bake", |world| [1, 2].map(|number| world.state(number)) == ["baking"; 2]);
        assert_eq!(world.serving(), if points == 10_000 { ["2", "2"] } else { ["1+2", "1+2"] });
    }
    assert_eq!(world.run_to_the_end(), Outcome::Succeeded { hosts: 2, failed: 0 });
}

#[test]
fn nothing_flips_before_all_are_ready_where_the_first_stage_is_hidden() {
    let mut fleet = Fleet::of(settings());
    fleet.agent(2).new_program = Program { ready_after: Some(secs(30)), ..Program::GOOD };
    let mut world = fleet.run(&staged(&settings(), &[0, 10_000]));
    world.run_for(secs(29));
    assert_eq!(world.serving(), ["1", "1"]);
    let flipped = [("web-d1".to_owned(), 0), ("web-d2".to_owned(), 10_000)];
    world.run_until("one flips", |world| [1, 2].iter().any(|number| world.ordered(*number) == flipped));
    assert_eq!(
        (world.ordered(1), world.ordered(2)),
        (flipped.to_vec(), flipped.to_vec()),
        "all flip in one step"
    );
    assert_eq!(world.run_to_the_end(), Outcome::Succeeded { hosts: 2, failed: 0 });
}

#[test]
fn a_failure_with_a_small_share_is_one_flip_back() {
    let mut fleet = Fleet::of(settings());
    fleet.agent(1).new_program = Program::dying_after(secs(10));
    let mut world = fleet.run(&staged(&settings(), &[500, 10_000]));
    let outcome = world.run_to_the_end();
    assert!(matches!(outcome, Outcome::RolledBack { .. }), "{outcome:?}");
    assert_eq!(
        world.ordered(2),
        [("web-d1".to_owned(), 10_000)],
        "the old instance was kept, not started again"
    );
    assert_eq!(world.serving(), ["1", "1"]);
}

#[test]
fn a_first_instance_gets_everything_as_soon_as_it_gets_something() {
    let settings = Settings { replaces: false, ..settings() };
    let mut world = Fleet::of(settings.clone()).run(&staged(&settings, &[0, 500, 10_000]));
    world.run_until("it stands hidden", |world| world.state(1) == "baking");
    assert_eq!(world.ordered(1), [("web-d2".to_owned(), 0)]);
    world.run_until("it gets something", |world| world.ordered(1) == [("web-d2".to_owned(), 10_000)]);
    assert_eq!(world.run_to_the_end(), Outcome::Succeeded { hosts: 2, failed: 0 });
}

#[test]
fn a_plan_that_leaves_two_releases_on_a_host_is_refused() {
    let mut plan = staged(&settings(), &[500, 10_000]);
    plan.stages[1].retire = false;
    assert_eq!(plan.check(), Err(PlanError::Unfinished { host: host(1) }));
    plan.stages[1].retire = true;
    plan.stages[0].retire = true;
    assert_eq!(plan.check(), Err(PlanError::RetiresTooEarly { stage: 0, share: share(500) }));
    plan.stages[0].share = share(10_000);
    assert!(matches!(plan.check(), Err(PlanError::Unfinished { .. })));
    plan.stages.remove(0);
    assert_eq!(plan.check(), Ok(()));
    let again = plan.stages[0].hosts[0].clone();
    plan.stages[0].hosts.push(again);
    assert_eq!(plan.check(), Err(PlanError::Twice { host: host(1) }));
}
