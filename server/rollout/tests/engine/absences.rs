//! Hosts that are offline, go offline, come back, or leave the fleet.

use crate::{
    agent::Program,
    fleet::{Fleet, Settings},
    names::{host, secs},
    scenarios::{assert_rolled_back, baking, placed, replacing},
};
use handover_rollout::{OfflinePolicy, Outcome};

#[test]
fn an_offline_host_is_left_out_where_the_policy_says_skip() {
    let mut fleet = replacing(3);
    fleet.agent(2).online = false;
    let mut world = fleet.deploy();
    assert_eq!(world.run_to_the_end(), Outcome::Succeeded { hosts: 2, failed: 0 });
    assert_eq!(world.state(2), "skipped");
    assert_eq!(world.deployment.assignment(&host(2)), None);
}

#[test]
fn an_offline_host_counts_as_failed_where_the_policy_says_fail() {
    let mut fleet = Fleet::of(Settings { offline: OfflinePolicy::Fail, ..Settings::default() });
    fleet.agent(2).online = false;
    let mut world = fleet.deploy();
    assert_rolled_back(&world.run_to_the_end(), "h2: offline when its turn came");
    assert_eq!(world.deployment.assignment(&host(2)), None);
}

#[test]
fn an_offline_host_is_waited_for_while_the_others_of_its_batch_go_on() {
    let offline = OfflinePolicy::Wait { deadline: secs(120) };
    let mut fleet = Fleet::of(Settings { hosts: 3, batch: 3, offline, ..Settings::default() });
    fleet.agent(1).online = false;
    let mut world = fleet.deploy();
    world.run_until("the others have their share", |world| {
        [2, 3].map(|number| world.state(number)) == ["baking"; 2]
    });
    assert_eq!(world.state(1), "offline");
    world.connect(&host(1));
    assert_eq!(world.state(1), "starting");
    assert_eq!(world.run_to_the_end(), Outcome::Succeeded { hosts: 3, failed: 0 });
}

#[test]
fn an_offline_host_that_does_not_come_back_in_time_counts_as_failed() {
    let offline = OfflinePolicy::Wait { deadline: secs(120) };
    let mut fleet = Fleet::of(Settings { offline, failures_allowed: 1, ..Settings::default() });
    fleet.agent(1).online = false;
    let mut world = fleet.deploy();
    world.run_for(secs(119));
    assert_eq!(world.state(1), "offline");
    assert_eq!(world.run_to_the_end(), Outcome::Succeeded { hosts: 2, failed: 1 });
    assert!(world.failure(1).contains("still offline after 2m"), "{}", world.failure(1));
}

#[test]
fn a_host_that_goes_offline_while_starting_fails_at_its_deadline() {
    let mut world = replacing(2).deploy();
    world.disconnect(&host(1));
    assert_rolled_back(&world.run_to_the_end(), "h1: web-d2 was not ready within 60s: the host is offline");
}

#[test]
fn a_host_that_is_silent_at_the_end_of_its_bake_fails_a_flip_deadline_later() {
    let mut world = Fleet::of(Settings { failures_allowed: 1, ..Settings::default() }).deploy();
    world.run_until("the bake", baking);
    world.disconnect(&host(1));
    world.run_for(secs(24));
    assert_eq!(world.state(1), "baking");
    world.run_until("it fails", |world| world.state(1) == "returning");
    assert!(world.failure(1).contains("the host is offline"), "{}", world.failure(1));
    world.connect(&host(1));
    assert_eq!(world.run_to_the_end(), Outcome::Succeeded { hosts: 2, failed: 1 });
}

#[test]
fn a_host_that_cannot_be_reached_in_a_rollback_needs_a_person_and_stays_ordered_back() {
    let mut world = replacing(2).deploy();
    world.run_until("the second host bakes", |world| world.state(2) == "baking");
    world.disconnect(&host(2));
    world.abort();
    let outcome = world.run_to_the_end();
    assert!(matches!(outcome, Outcome::NeedsPerson { hosts: 1, .. }), "{outcome:?}");
    assert_eq!(world.deployment.stuck().map(|(host, _)| host.as_str()).collect::<Vec<_>>(), ["h2"]);
    assert_eq!(world.ordered(2), placed(&[("web-d1", 10_000)]));
    world.connect(&host(2));
    world.run_for(secs(10));
    assert_eq!(world.serving(), ["1", "1"], "it heals by itself");
}

#[test]
fn a_stuck_host_that_comes_back_before_the_end_is_back() {
    let mut fleet =
        Fleet::of(Settings { hosts: 2, batch: 2, in_flight: 2, bake: secs(60), ..Settings::default() });
    fleet.agent(2).former_program = Program::NEVER_READY;
    let mut world = fleet.deploy();
    world.run_until("both retire", |world| [1, 2].map(|number| world.state(number)) == ["retiring"; 2]);
    world.disconnect(&host(1));
    world.abort();
    world.run_for(secs(30));
    assert_eq!([1, 2].map(|number| world.state(number)), ["returning"; 2]);
    world.connect(&host(1));
    world.run_until("the first is back", |world| world.state(1) == "returned");
    let outcome = world.run_to_the_end();
    assert!(matches!(outcome, Outcome::NeedsPerson { hosts: 1, .. }), "{outcome:?}");
}

#[test]
fn a_host_that_is_removed_while_it_changes_is_left_out_and_the_others_go_on() {
    let mut world = replacing(3).deploy();
    world.run_until("the second host starts", |world| world.state(2) == "starting");
    world.remove(&host(2));
    assert_eq!(world.run_to_the_end(), Outcome::Succeeded { hosts: 2, failed: 0 });
    assert_eq!(world.serving(), ["2", "2"]);
    assert_eq!(world.deployment.assignment(&host(2)), None);
}

#[test]
fn a_host_that_is_removed_before_its_turn_is_just_left_out() {
    let mut world = replacing(3).deploy();
    world.remove(&host(3));
    assert_eq!(world.run_to_the_end(), Outcome::Succeeded { hosts: 2, failed: 0 });
}

#[test]
fn a_deployment_where_every_host_is_left_out_does_not_claim_success() {
    let mut fleet = replacing(2);
    fleet.agent(1).online = false;
    fleet.agent(2).online = false;
    let world = fleet.deploy();
    assert_rolled_back(world.deployment.outcome().unwrap(), "no host took the release; h1: offline");
}
