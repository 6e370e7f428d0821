//! Flips that hosts must have confirmed, or undo by themselves.

use crate::{
    fleet::{Fleet, Settings},
    names::{host, secs, share},
    scenarios::assert_rolled_back,
    world::World,
};
use handover_model::ConfirmationState;
use handover_rollout::{
    BlueGreen, CanaryStep, Event, Outcome, PlanRequest, Record, blue_green, canary, flip_back, rehearsal,
};

fn settings() -> Settings {
    Settings { hosts: 2, batch: 2, in_flight: 2, confirm: secs(30), ..Settings::default() }
}

/// A fleet that is about to be confirmed: everybody's flip is made.
fn flipped(fleet: Fleet) -> World {
    let mut world = fleet.deploy();
    world.run_until("the flip", |world| world.serving()[0] == "2");
    world
}

fn deaf(number: usize) -> Fleet {
    let mut fleet = Fleet::of(settings());
    fleet.agent(number).deaf = true;
    fleet
}

#[test]
fn a_host_stands_once_it_has_told_that_its_flip_is_confirmed() {
    let mut world = Fleet::of(settings()).deploy();
    world.run_until("the flip", |world| world.state(1) == "shifting");
    assert_eq!(world.deployment.confirmation(&host(1)), Some(secs(30)));
    let Some(event @ Event::HostReported { .. }) = world.report_of(&host(1)) else { panic!("it is online") };
    let Event::HostReported { flip, .. } = &event else { panic!("it is no report") };
    assert!(matches!(flip.confirmation, Some(ConfirmationState::Awaited { .. })), "{flip:?}");
    world.event(event);
    assert_eq!(world.state(1), "shifting", "it went on although the flip may still be undone");
    world.report(&host(1));
    assert_eq!(world.state(1), "baking");
    assert_eq!(world.run_to_the_end(), Outcome::Succeeded { hosts: 2, failed: 0 });
}

#[test]
fn a_host_that_undid_its_flip_has_failed_and_the_deployment_goes_back_with_its_reason() {
    let mut world = deaf(2).deploy();
    let outcome = world.run_to_the_end();
    assert_rolled_back(&outcome, "h2: undone: the flip was not confirmed within 30s");
    assert_eq!(world.serving(), ["1", "1"]);
    assert!(world.commands.iter().all(|(_, _, state)| state.name() != "retiring"), "something was retired");
}

#[test]
fn a_host_that_undid_its_flip_goes_back_alone_where_that_is_borne() {
    let mut fleet = Fleet::of(Settings { failures_allowed: 1, ..settings() });
    fleet.agent(1).deaf = true;
    let mut world = fleet.deploy();
    assert_eq!(world.run_to_the_end(), Outcome::Succeeded { hosts: 1, failed: 1 });
    assert_eq!(world.serving(), ["1", "2"]);
    assert_eq!(world.failure(1), "h1: undone: the flip was not confirmed within 30s");
}

#[test]
fn of_a_host_that_was_lost_after_its_flip_it_is_said_that_it_undoes_it_and_by_when() {
    let mut world = deaf(1).deploy();
    world.run_until("the flip", |world| world.serving()[0] == "2");
    let flipped = world.now;
    world.disconnect(&host(1));
    let waiting = world.deployment.waiting_on_host(&host(1)).unwrap();
    assert_eq!(waiting.what, "word from h1, which was not heard since its flip");
    assert_eq!(waiting.until, Some(flipped + secs(30)));
    assert!(waiting.then.contains("undone it by itself"), "{waiting:?}");
    world.run_for(secs(35));
    assert_eq!((world.state(1), world.serving()[0].as_str()), ("shifting", "1"));
    world.connect(&host(1));
    assert_rolled_back(&world.run_to_the_end(), "h1: undone: the flip was not confirmed within 30s");
    assert_eq!(world.serving(), ["1", "1"]);
}

#[test]
fn a_host_whose_order_went_out_and_that_told_nothing_undoes_it_in_time_after_it_was_lost() {
    let mut world = Fleet::of(settings()).deploy();
    world.run_until("the order", |world| world.state(1) == "shifting");
    world.disconnect(&host(1));
    let lost = world.now;
    world.run_for(secs(3));
    let waiting = world.deployment.waiting_on_host(&host(1)).unwrap();
    assert_eq!(waiting.until, Some(lost + secs(30)));
}

#[test]
fn a_server_that_starts_again_confirms_what_the_reports_show() {
    let mut world = flipped(deaf(1));
    world.crash();
    world.agents.get_mut(&host(1)).unwrap().deaf = false;
    assert_eq!(world.run_to_the_end(), Outcome::Succeeded { hosts: 2, failed: 0 });
    assert_eq!(world.serving(), ["2", "2"]);
}

#[test]
fn a_host_has_the_time_for_its_confirmation_besides_that_for_its_flip() {
    // Longer than the time for a flip, which is 20 s.
    let mut world = flipped(deaf(2));
    world.run_for(secs(25));
    assert_eq!(world.state(2), "shifting");
    world.agents.get_mut(&host(2)).unwrap().deaf = false;
    assert_eq!(world.run_to_the_end(), Outcome::Succeeded { hosts: 2, failed: 0 });
}

#[test]
fn each_step_of_a_canary_is_confirmed_and_undone_to_the_step_before() {
    let step = |points, bake| CanaryStep {
        hosts: handover_rollout::BatchSize::Percent(100),
        share: share(points),
        bake: secs(bake),
        judged: None,
        approval: false,
    };
    let plan = canary(&settings().request(), &[step(500, 5), step(5_000, 5)]).unwrap();
    let mut world = Fleet::of(settings()).run(&plan);
    world.run_until("the first step bakes", |world| world.state(1) == "baking");
    world.agents.get_mut(&host(1)).unwrap().deaf = true;
    world.run_until("it has failed", |world| !world.failure(1).is_empty());
    assert!(world.failure(1).contains("not confirmed within 30s"), "{}", world.failure(1));
    assert!(matches!(world.run_to_the_end(), Outcome::RolledBack { .. }));
    assert_eq!(world.serving(), ["1", "1"]);
}

#[test]
fn what_was_confirmed_and_is_told_of_as_undone_later_has_failed_all_the_same() {
    let mut world = Fleet::of(Settings { bake: secs(600), ..settings() }).deploy();
    world.run_until("the bake", |world| world.state(1) == "baking" && world.state(2) == "baking");
    let Some(Event::HostReported { host: name, current, instances, mut flip }) = world.report_of(&host(1))
    else {
        panic!("it is online")
    };
    let reason = "undone: the machine was started again before the flip was confirmed".to_owned();
    flip.confirmation = Some(ConfirmationState::Missed { reason });
    world.event(Event::HostReported { host: name, current, instances, flip });
    assert_rolled_back(&world.run_to_the_end(), "the machine was started again");
}

#[test]
fn where_there_was_nothing_before_nothing_is_confirmed() {
    let mut world = Fleet::of(Settings { replaces: false, ..settings() }).deploy();
    world.run_until("the flip", |world| world.state(1) == "shifting");
    assert_eq!(world.deployment.confirmation(&host(1)), None);
    assert_eq!(world.run_to_the_end(), Outcome::Succeeded { hosts: 2, failed: 0 });
}

#[test]
fn no_flip_back_is_confirmed() {
    // Neither of a deployment that goes back,
    let mut world = flipped(Fleet::of(settings()));
    world.abort();
    assert_eq!(world.state(1), "returning");
    assert_eq!(world.deployment.confirmation(&host(1)), None);
    assert_rolled_back(&world.run_to_the_end(), "aborted");
    // nor of a rehearsal, whose way there is.
    let plan = rehearsal(&settings().request(), secs(5)).unwrap();
    let mut world = Fleet::of(settings()).run(&plan);
    world.run_until("there", |world| world.state(1) == "shifting");
    assert_eq!(world.deployment.confirmation(&host(1)), Some(secs(30)));
    world.run_until("back", |world| world.state(1) == "returning");
    assert_eq!(world.deployment.confirmation(&host(1)), None);
    assert_eq!(world.run_to_the_end(), Outcome::Returned { hosts: 1, failed: 0 });
}

/// The skews that stand in the journal.
fn measured(world: &World) -> Vec<(u32, u32)> {
    let skew = |record: &Record| match record {
        Record::FlipsMeasured { stage, skew, .. } => Some((*stage, skew.hosts)),
        _another => None,
    };
    world.records.iter().filter_map(skew).collect()
}

#[test]
fn where_all_hosts_flip_in_one_step_it_is_written_down_how_far_apart_they_did() {
    let settings = Settings { hosts: 3, in_flight: 3, confirm: secs(5), ..Settings::default() };
    let plan = blue_green(&settings.request(), BlueGreen { bake: secs(5), approval: false }).unwrap();
    let mut world = Fleet::of(settings).run(&plan);
    assert_eq!(world.run_to_the_end(), Outcome::Succeeded { hosts: 3, failed: 0 });
    assert_eq!(measured(&world), [(1, 3)]);
    let [(1, skew)] = world.deployment.skews().collect::<Vec<_>>()[..] else { panic!("no skew") };
    assert!(skew.first_to_last <= secs(1) && skew.give_or_take >= handover_model::Duration::from_millis(1));
}

#[test]
fn batches_that_flip_one_after_the_other_have_no_skew() {
    let mut world = Fleet::of(settings()).deploy();
    world.run_to_the_end();
    assert_eq!(measured(&world), []);
}

#[test]
fn of_a_rollback_those_hosts_are_measured_that_flip_in_one_step() {
    let settings = Settings { hosts: 3, batch: 3, in_flight: 3, keep_warm: secs(600), ..Settings::default() };
    let mut world = Fleet::of(settings.clone()).deploy();
    assert!(matches!(world.run_to_the_end(), Outcome::Succeeded { .. }));
    let mut request = PlanRequest { release: crate::names::release("1"), ..settings.request() };
    for host in &mut request.hosts {
        let order = world.deployment.assignment(&host.host).unwrap();
        host.runs = order.main().cloned();
        host.standby = order.standby().cloned();
    }
    // One of them has to be started first, and flips later than the others.
    request.hosts[2].standby = None;
    let plan = flip_back(&PlanRequest { keep_warm: secs(0), ..request }).unwrap();
    let mut world = world.next(&plan);
    assert!(matches!(world.run_to_the_end(), Outcome::Succeeded { hosts: 3, .. }));
    assert_eq!(measured(&world), [(0, 2)]);
}

#[test]
fn a_server_that_is_killed_between_two_flips_tells_of_no_skew_that_it_does_not_know() {
    let settings = Settings { hosts: 2, in_flight: 2, ..Settings::default() };
    let plan = blue_green(&settings.request(), BlueGreen { bake: secs(5), approval: false }).unwrap();
    let mut world = Fleet::of(settings).run(&plan);
    world.run_until("the flip", |world| world.state(1) == "shifting");
    world.report(&host(1));
    world.crash();
    assert!(matches!(world.run_to_the_end(), Outcome::Succeeded { hosts: 2, .. }));
    assert_eq!(measured(&world), []);
}
