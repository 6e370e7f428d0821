//! What happens, told as stories.

use crate::{
    agent::Program,
    fleet::{Fleet, Settings},
    names::{host, instance, secs},
    world::World,
};
use handover_model::{InstancePhase, InstanceReport, Share};
use handover_rollout::{DeploymentState, Event, FlipSeen, OnFailure, Outcome, StagePhase};
use std::collections::BTreeMap;

pub(crate) fn replacing(hosts: usize) -> Fleet {
    Fleet::of(Settings { hosts, ..Settings::default() })
}

pub(crate) fn placed(pairs: &[(&str, u16)]) -> Vec<(String, u16)> {
    pairs.iter().map(|(name, share)| ((*name).to_owned(), *share)).collect()
}

#[track_caller]
pub(crate) fn assert_rolled_back(outcome: &Outcome, with: &str) {
    match outcome {
        Outcome::RolledBack { reason } => {
            assert!(reason.contains(with), "{reason:?} says nothing of {with:?}");
        }
        Outcome::Succeeded { .. } | Outcome::Returned { .. } | Outcome::NeedsPerson { .. } => {
            panic!("it ended as {outcome:?}")
        }
    }
}

/// A report of a host that runs nothing.
fn nothing(number: usize, current: bool) -> Event {
    let flip = FlipSeen::default();
    Event::HostReported { host: host(number), current, instances: BTreeMap::new(), flip }
}

pub(crate) fn baking(world: &World) -> bool {
    matches!(world.deployment.state(), DeploymentState::Running { phase: StagePhase::Baking { .. }, .. })
}

#[test]
fn a_host_is_ordered_through_the_phases_one_after_another() {
    let mut world = replacing(1).deploy();
    assert_eq!(
        (world.state(1), world.ordered(1)),
        ("starting", placed(&[("web-d1", 10_000), ("web-d2", 0)]))
    );
    world.run_until("shifting", |world| world.state(1) == "shifting");
    assert_eq!(world.ordered(1), placed(&[("web-d1", 0), ("web-d2", 10_000)]));
    world.run_until("baking", |world| world.state(1) == "baking");
    assert_eq!(world.ordered(1), placed(&[("web-d1", 0), ("web-d2", 10_000)]));
    world.run_until("retiring", |world| world.state(1) == "retiring");
    assert_eq!(world.ordered(1), placed(&[("web-d2", 10_000)]));
    assert_eq!(world.run_to_the_end(), Outcome::Succeeded { hosts: 1, failed: 0 });
    assert_eq!(world.state(1), "done");
}

#[test]
fn the_ledger_of_the_retired_instance_is_kept() {
    let mut world = replacing(1).deploy();
    world.run_to_the_end();
    let ledger = world.deployment.host(&host(1)).unwrap().state.ledger();
    assert_eq!(ledger.map(|ledger| ledger.connections), Some(3));
}

#[test]
fn a_good_release_replaces_the_old_one_batch_after_batch() {
    let mut world = Fleet::of(Settings { hosts: 5, batch: 2, in_flight: 2, ..Settings::default() }).deploy();
    world.run_until("the second batch starts", |world| world.state(3) == "starting");
    assert_eq!([1, 2, 4, 5].map(|number| world.state(number)), ["done", "done", "starting", "pending"]);
    assert_eq!(world.run_to_the_end(), Outcome::Succeeded { hosts: 5, failed: 0 });
    assert_eq!(world.serving(), ["2"; 5]);
}

#[test]
fn a_batch_must_stay_healthy_for_its_bake_time_from_its_last_host_on() {
    let mut world =
        Fleet::of(Settings { hosts: 2, batch: 2, bake: secs(30), ..Settings::default() }).deploy();
    world.run_until("the bake", baking);
    let began = world.now;
    world.run_until("its end", |world| world.state(1) == "retiring");
    assert!(world.now.since(began) >= secs(30));
    assert_eq!(world.state(2), "retiring");
}

#[test]
fn a_first_deployment_has_nothing_beside_it() {
    let mut world = Fleet::of(Settings { hosts: 1, replaces: false, ..Settings::default() }).deploy();
    assert_eq!(world.ordered(1), placed(&[("web-d2", 0)]));
    world.run_until("shifting", |world| world.state(1) == "shifting");
    assert_eq!(world.ordered(1), placed(&[("web-d2", 10_000)]));
    assert_eq!(world.run_to_the_end(), Outcome::Succeeded { hosts: 1, failed: 0 });
}

#[test]
fn a_failed_first_deployment_takes_the_service_away_again() {
    let mut fleet = Fleet::of(Settings { hosts: 2, replaces: false, ..Settings::default() });
    fleet.agent(2).new_program = Program::EXITS_AT_ONCE;
    let mut world = fleet.deploy();
    assert_rolled_back(&world.run_to_the_end(), "h2: web-d2 cannot be kept running: exit code 1");
    assert_eq!((world.ordered(1), world.ordered(2)), (vec![], vec![]));
    assert_eq!(world.serving(), ["", ""]);
}

#[test]
fn a_candidate_that_is_never_ready_fails_at_its_deadline_and_gets_no_connection() {
    let mut fleet = replacing(2);
    fleet.agent(1).new_program = Program::NEVER_READY;
    let mut world = fleet.deploy();
    world.run_for(secs(59));
    assert_eq!(world.state(1), "starting");
    assert_rolled_back(&world.run_to_the_end(), "h1: web-d2 was not ready within 60s: it is starting");
    assert_eq!(world.serving(), ["1", "1"]);
    assert_eq!(world.state(2), "pending");
    let hidden = |placed: &handover_rollout::Placement| placed.release == crate::names::release("2");
    for (_, assignment, _) in &world.commands {
        assert!(assignment.0.iter().filter(|placed| hidden(placed)).all(|placed| placed.share.is_hidden()));
    }
}

#[test]
fn a_candidate_that_exits_fails_at_once() {
    let mut fleet = replacing(1);
    fleet.agent(1).new_program = Program::EXITS_AT_ONCE;
    let mut world = fleet.deploy();
    world.beat();
    assert_eq!(world.state(1), "returning");
    assert!(world.failure(1).contains("exit code 1"), "{}", world.failure(1));
    assert_rolled_back(&world.run_to_the_end(), "exit code 1");
}

#[test]
fn one_restart_is_a_failure_even_if_the_instance_looks_well_now() {
    let mut world = replacing(1).deploy();
    world.run_until("the bake", baking);
    let Some(Event::HostReported { host, current, mut instances, flip }) = world.report_of(&host(1)) else {
        panic!()
    };
    instances.get_mut(&instance("web-d2")).unwrap().restarts = 1;
    world.event(Event::HostReported { host, current, instances, flip });
    assert!(world.failure(1).contains("was started again"), "{}", world.failure(1));
}

#[test]
fn a_release_that_dies_in_the_bake_is_rolled_back_on_every_touched_host() {
    let mut fleet = Fleet::of(Settings { hosts: 4, batch: 2, in_flight: 2, ..Settings::default() });
    fleet.agent(4).new_program = Program::dying_after(secs(4));
    let mut world = fleet.deploy();
    assert_rolled_back(&world.run_to_the_end(), "h4: web-d2 cannot be kept running");
    assert_eq!(world.serving(), ["1"; 4]);
    // The first batch was done: its old instances are gone, so the release was started again.
    assert_eq!(
        [1, 2].map(|number| world.ordered(number)),
        [placed(&[("web-d2-r", 10_000)]), placed(&[("web-d2-r", 10_000)])]
    );
    assert_eq!(
        [3, 4].map(|number| world.ordered(number)),
        [placed(&[("web-d1", 10_000)]), placed(&[("web-d1", 10_000)])]
    );
}

#[test]
fn a_rollback_keeps_the_connections_on_the_new_release_until_the_former_one_is_ready_again() {
    let mut fleet = replacing(2);
    fleet.agent(2).new_program = Program::EXITS_AT_ONCE;
    let mut world = fleet.deploy();
    world.run_until("the first host goes back", |world| world.state(1) == "returning");
    assert_eq!(world.ordered(1), placed(&[("web-d2", 10_000), ("web-d2-r", 0)]));
    world.run_until("it shifts", |world| world.ordered(1) == placed(&[("web-d2", 0), ("web-d2-r", 10_000)]));
    assert!(world.seen_ready.contains(&(host(1), instance("web-d2-r"))));
    world.run_until("it is back", |world| world.state(1) == "returned");
    assert_eq!(world.ordered(1), placed(&[("web-d2-r", 10_000)]));
}

#[test]
fn the_new_release_dying_on_a_finished_host_counts_while_the_deployment_runs() {
    let mut fleet = replacing(3);
    fleet.agent(1).new_program = Program::dying_after(secs(12));
    let mut world = fleet.deploy();
    world.run_until("the first host is done", |world| world.state(1) == "done");
    assert_rolled_back(&world.run_to_the_end(), "h1: web-d2 cannot be kept running");
    assert_eq!(world.serving(), ["1"; 3]);
}

#[test]
fn an_allowed_failure_goes_back_alone_and_is_reported() {
    let mut fleet = Fleet::of(Settings { failures_allowed: 1, ..Settings::default() });
    fleet.agent(2).new_program = Program::EXITS_AT_ONCE;
    let mut world = fleet.deploy();
    assert_eq!(world.run_to_the_end(), Outcome::Succeeded { hosts: 2, failed: 1 });
    assert_eq!(world.serving(), ["2", "1", "2"]);
    assert_eq!(world.state(2), "returned");
    assert!(world.failure(2).contains("exit code 1"));
}

#[test]
fn one_failure_more_than_allowed_takes_everything_back() {
    let mut fleet = Fleet::of(Settings { hosts: 4, failures_allowed: 1, ..Settings::default() });
    fleet.agent(2).new_program = Program::EXITS_AT_ONCE;
    fleet.agent(4).new_program = Program::EXITS_AT_ONCE;
    let mut world = fleet.deploy();
    assert_rolled_back(&world.run_to_the_end(), "2 hosts failed, 1 allowed; the last: h4");
    assert_eq!(world.serving(), ["1"; 4]);
}

#[test]
fn a_paused_deployment_waits_for_a_person_and_an_abort_takes_it_back() {
    let mut fleet = Fleet::of(Settings {
        hosts: 4,
        batch: 2,
        in_flight: 2,
        on_failure: OnFailure::Pause,
        ..Settings::default()
    });
    fleet.agent(3).new_program = Program::EXITS_AT_ONCE;
    let mut world = fleet.deploy();
    world.run_until("it pauses", World::is_paused);
    world.run_for(secs(300));
    assert!(world.is_paused());
    assert_eq!([1, 2, 3, 4].map(|number| world.state(number)), ["done", "done", "returned", "baking"]);
    assert_eq!(world.serving(), ["2", "2", "1", "1"], "a candidate gets no share while a person is asked");
    assert_eq!(world.deployment.waiting_on().unwrap().until, None);
    world.abort();
    assert_rolled_back(&world.run_to_the_end(), "aborted by ada: second thoughts");
    assert_eq!(world.serving(), ["1"; 4]);
}

#[test]
fn an_abort_takes_back_what_was_touched_and_leaves_the_rest() {
    let mut world = replacing(3).deploy();
    world.run_until("the second host bakes", |world| world.state(2) == "baking");
    world.abort();
    assert_rolled_back(&world.run_to_the_end(), "aborted by ada: second thoughts");
    assert_eq!([1, 2, 3].map(|number| world.state(number)), ["returned", "returned", "pending"]);
    assert_eq!(world.serving(), ["1"; 3]);
}

#[test]
fn an_abort_of_an_ended_deployment_changes_nothing() {
    let mut world = replacing(1).deploy();
    world.run_to_the_end();
    let records = world.records.len();
    world.abort();
    assert_eq!(world.records.len(), records);
}

#[test]
fn a_former_release_that_does_not_start_again_leaves_the_host_stuck_and_the_new_one_serving() {
    let mut fleet = replacing(2);
    fleet.agent(1).former_program = Program::EXITS_AT_ONCE;
    fleet.agent(2).new_program = Program::EXITS_AT_ONCE;
    let mut world = fleet.deploy();
    let outcome = world.run_to_the_end();
    assert!(matches!(outcome, Outcome::NeedsPerson { hosts: 1, .. }), "{outcome:?}");
    assert!(world.deployment.reason().contains("h1 is stuck: web-d2-r cannot be kept running"));
    world.run_for(secs(60));
    assert_eq!(world.serving(), ["2", "1"]);
}

#[test]
fn an_old_instance_that_drains_too_long_is_noted_and_is_no_failure() {
    let mut world = replacing(1).deploy();
    world.run_until("retiring", |world| world.state(1) == "retiring");
    let stuck_report = |world: &mut World| {
        let Some(Event::HostReported { host, current, mut instances, flip }) = world.report_of(&host(1))
        else {
            panic!()
        };
        let old: &mut InstanceReport = instances.get_mut(&instance("web-d1")).unwrap();
        old.phase = InstancePhase::Draining;
        Event::HostReported { host, current, instances, flip }
    };
    let report = stuck_report(&mut world);
    world.event(report);
    world.now = world.now + secs(40);
    world.event(Event::Tick);
    assert_eq!(world.deployment.outcome(), Some(&Outcome::Succeeded { hosts: 1, failed: 0 }));
    let note = world.deployment.host(&host(1)).unwrap().state.reason().to_owned();
    assert!(note.contains("web-d1 was not seen to end within its deadline: it is draining"), "{note}");
}

#[test]
fn a_report_about_an_older_order_says_nothing_of_shares_readiness_or_absence() {
    let mut world = replacing(1).deploy();
    world.run_until("retiring", |world| world.state(1) == "retiring");
    world.event(nothing(1, false));
    assert_eq!(world.state(1), "retiring");
    world.event(nothing(1, true));
    assert_eq!(world.state(1), "done");
}

#[test]
fn a_report_that_was_given_before_the_order_changed_is_not_read_as_one_about_it() {
    let mut world = replacing(1).deploy();
    world.run_until("the bake", baking);
    // From here on only time passes: what was reported is about the shares, not about the retirement.
    world.now = world.now + secs(6);
    world.event(Event::Tick);
    assert_eq!(world.state(1), "retiring");
    world.event(Event::Tick);
    assert_eq!(world.state(1), "retiring");
}

#[test]
fn a_server_that_was_away_gives_the_hosts_time_to_report_before_any_deadline_passes() {
    let mut world = replacing(1).deploy();
    world.run_until("shifting", |world| world.state(1) == "shifting");
    world.now = world.now + secs(3_600);
    world.crash();
    world.event(Event::Tick);
    assert_eq!(world.state(1), "shifting");
    assert!(world.deployment.next_deadline().unwrap() > world.now);
    assert_eq!(world.run_to_the_end(), Outcome::Succeeded { hosts: 1, failed: 0 });
}

#[test]
fn a_bake_does_not_end_before_each_host_reported_after_a_restart() {
    let mut world = Fleet::of(Settings { hosts: 2, batch: 2, in_flight: 2, ..Settings::default() }).deploy();
    world.run_until("the bake", baking);
    world.crash();
    world.now = world.now + secs(10);
    world.event(Event::Tick);
    world.report(&host(1));
    assert!(baking(&world));
    world.report(&host(2));
    assert_eq!([1, 2].map(|number| world.state(number)), ["retiring"; 2]);
}

#[test]
fn a_plan_of_which_only_a_part_was_written_ends_untouched() {
    let world = replacing(3).deploy();
    let planned: Vec<_> = world.records.iter().take(2).cloned().collect();
    let mut cut = handover_rollout::Deployment::replay(planned).unwrap();
    let step = cut.on_event(Event::Tick, world.now);
    assert!(step.commands.is_empty());
    assert_rolled_back(cut.outcome().unwrap(), "nothing was touched");
}

#[test]
fn unknown_hosts_and_foreign_instances_are_ignored() {
    let mut world = replacing(1).deploy();
    let records = world.records.len();
    world.event(nothing(99, true));
    world.event(Event::HostDisconnected { host: host(99) });
    world.event(Event::HostRemoved { host: host(99) });
    assert_eq!(world.records.len(), records);
}

#[test]
fn waits_read_like_sentences() {
    let mut world = replacing(2).deploy();
    world.beat();
    let wait = world.deployment.host(&host(1)).unwrap().waiting.unwrap();
    assert_eq!(wait.what, "web-d2 to become ready (starting)");
    assert_eq!(wait.then, "it counts as failed and goes back");
    assert_eq!(wait.until, Some(wait.since + secs(60)));
    assert_eq!(world.deployment.waiting_on().unwrap().what, "batch 1 of 2: 1 starting");
    let pending = world.deployment.host(&host(2)).unwrap().waiting.unwrap();
    assert_eq!(pending.what, "its turn in batch 2 of 2; now batch 1 of 2");
    world.run_until("the bake", baking);
    assert_eq!(world.deployment.waiting_on().unwrap().what, "batch 1 of 2 to stay healthy for 5s");
}

#[test]
fn a_share_is_only_believed_when_the_kernel_has_it() {
    let mut world = replacing(1).deploy();
    world.run_until("shifting", |world| world.state(1) == "shifting");
    let Some(Event::HostReported { host, current, mut instances, flip }) = world.report_of(&host(1)) else {
        panic!()
    };
    instances.get_mut(&instance("web-d2")).unwrap().share = Share::HIDDEN;
    world.event(Event::HostReported { host, current, instances, flip });
    assert_eq!(world.state(1), "shifting");
}

#[test]
fn readiness_and_shares_reported_under_an_older_order_are_not_believed() {
    let mut world = replacing(1).deploy();
    let outdated = |world: &mut World| {
        world.now = world.now + secs(2);
        world.report_of(&host(1));
        world.now = world.now + secs(2);
        match world.report_of(&host(1)) {
            Some(Event::HostReported { host, instances, flip, .. }) => {
                world.event(Event::HostReported { host, current: false, instances, flip });
            }
            _other => panic!("the host is connected"),
        }
    };
    outdated(&mut world);
    assert_eq!(world.state(1), "starting");
    world.run_until("shifting", |world| world.state(1) == "shifting");
    outdated(&mut world);
    assert_eq!(world.state(1), "shifting");
}

#[test]
fn a_drain_that_was_reported_before_it_was_ordered_does_not_show_that_the_service_is_gone() {
    let mut world = Fleet::of(Settings { hosts: 1, replaces: false, ..Settings::default() }).deploy();
    world.run_until("the bake", baking);
    let Some(Event::HostReported { host: name, current, mut instances, flip }) = world.report_of(&host(1))
    else {
        panic!()
    };
    instances.get_mut(&instance("web-d2")).unwrap().phase = InstancePhase::Draining;
    world.event(Event::HostReported { host: name, current, instances, flip });
    world.abort();
    world.now = world.now + secs(40);
    world.event(Event::Tick);
    assert_eq!(world.state(1), "stuck");
}
