//! What operators do while a deployment goes on: pause, resume, retry, in any order and twice.

use crate::{
    agent::Program,
    fleet::{Fleet, Settings},
    names::{host, secs},
    scenarios::{assert_rolled_back, baking, placed, replacing},
    stages::staged,
    world::World,
};
use handover_rollout::{
    Deployment, DeploymentState, Event, HostState, MAX_RETRIES, OfflinePolicy, OnFailure, Outcome,
    PauseCause, Record,
};

#[test]
fn a_pause_lets_a_candidate_get_ready_and_keeps_it_hidden() {
    let mut world = Fleet::of(Settings { hosts: 2, ..Settings::default() }).deploy();
    assert_eq!(world.state(1), "starting");
    world.pause();
    world.run_for(secs(600));
    assert_eq!((world.state(1), world.state(2)), ("baking", "pending"));
    assert_eq!(world.ordered(1), placed(&[("web-d1", 10_000), ("web-d2", 0)]));
    assert_eq!(world.serving(), ["1", "1"]);
    world.resume();
    assert_eq!(world.state(1), "shifting");
    assert_eq!(world.run_to_the_end(), Outcome::Succeeded { hosts: 2, failed: 0 });
}

#[test]
fn a_shift_under_way_comes_to_its_end_in_a_pause() {
    let mut world = replacing(2).deploy();
    world.run_until("shifting", |world| world.state(1) == "shifting");
    world.pause();
    world.run_for(secs(60));
    assert_eq!((world.state(1), world.state(2)), ("baking", "pending"));
    assert_eq!(world.ordered(1), placed(&[("web-d1", 0), ("web-d2", 10_000)]));
    assert!(world.is_paused());
    world.resume();
    assert_eq!(world.run_to_the_end(), Outcome::Succeeded { hosts: 2, failed: 0 });
}

#[test]
fn a_retirement_under_way_comes_to_its_end_in_a_pause_and_no_other_begins() {
    let mut world = replacing(2).deploy();
    world.run_until("retiring", |world| world.state(1) == "retiring");
    world.pause();
    world.run_for(secs(60));
    assert_eq!((world.state(1), world.state(2)), ("done", "pending"));
    world.resume();
    assert_eq!(world.run_to_the_end(), Outcome::Succeeded { hosts: 2, failed: 0 });
}

#[test]
fn the_time_of_a_bake_stands_still_in_a_pause() {
    let mut world = Fleet::of(Settings { hosts: 1, bake: secs(30), ..Settings::default() }).deploy();
    world.run_until("the bake", baking);
    world.run_for(secs(10));
    world.pause();
    world.run_for(secs(3_600));
    assert_eq!(world.state(1), "baking");
    world.resume();
    let resumed = world.now;
    let wait = world.deployment.waiting_on().unwrap();
    assert_eq!(wait.until, Some(resumed + secs(20)), "{wait:?}");
    world.run_until("retiring", |world| world.state(1) == "retiring");
    assert!(world.now.since(resumed) >= secs(20));
}

#[test]
fn a_bake_that_stood_still_over_a_crash_gives_the_hosts_time_to_report() {
    let mut world = Fleet::of(Settings { hosts: 1, bake: secs(5), ..Settings::default() }).deploy();
    world.run_until("the bake", baking);
    world.run_for(secs(4));
    world.pause();
    world.crash();
    world.event(Event::Tick);
    world.resume();
    // Its deadline was a flip deadline after the bake; the host is given the grace after a restart at least.
    world.now = world.now + secs(22);
    world.event(Event::Tick);
    assert_eq!(world.state(1), "baking");
    assert_eq!(world.run_to_the_end(), Outcome::Succeeded { hosts: 1, failed: 0 });
}

#[test]
fn a_host_that_is_waited_for_does_not_fail_because_a_person_paused() {
    let offline = OfflinePolicy::Wait { deadline: secs(60) };
    let mut fleet = Fleet::of(Settings { hosts: 2, batch: 2, in_flight: 2, offline, ..Settings::default() });
    fleet.agent(2).online = false;
    let mut world = fleet.deploy();
    world.run_for(secs(10));
    assert_eq!(world.state(2), "offline");
    world.pause();
    world.run_for(secs(600));
    assert_eq!(world.state(2), "offline");
    let wait = world.deployment.host(&host(2)).unwrap().waiting.unwrap();
    assert_eq!(wait.until, None, "{wait:?}");
    world.resume();
    let wait = world.deployment.host(&host(2)).unwrap().waiting.unwrap();
    assert_eq!(wait.until, Some(world.now + secs(50)), "{wait:?}");
    world.connect(&host(2));
    assert_eq!(world.run_to_the_end(), Outcome::Succeeded { hosts: 2, failed: 0 });
}

#[test]
fn a_host_that_fails_in_a_pause_goes_back_alone_and_the_policy_takes_its_course_after_it() {
    let mut fleet = Fleet::of(Settings { hosts: 2, batch: 2, in_flight: 2, ..Settings::default() });
    fleet.agent(1).new_program = Program::NEVER_READY;
    let mut world = fleet.deploy();
    world.pause();
    world.run_for(secs(120));
    assert_eq!((world.state(1), world.state(2)), ("returned", "baking"));
    assert!(world.is_paused(), "the operator decides");
    let wait = world.deployment.waiting_on().unwrap();
    assert!(
        wait.then.contains("`handover resume web` takes every touched host back, since 1 host failed"),
        "{wait:?}"
    );
    world.resume();
    assert_rolled_back(&world.run_to_the_end(), "h1: web-d2 was not ready within 60s");
}

#[test]
fn who_resumes_after_failures_bears_them_and_the_next_one_pauses_again() {
    let settings = Settings { hosts: 4, on_failure: OnFailure::Pause, ..Settings::default() };
    let mut fleet = Fleet::of(settings);
    fleet.agent(1).new_program = Program::EXITS_AT_ONCE;
    fleet.agent(3).new_program = Program::EXITS_AT_ONCE;
    let mut world = fleet.deploy();
    world.run_until("it pauses", World::is_paused);
    assert_eq!(world.deployment.paused().map(|(cause, _)| cause), Some(PauseCause::Failures));
    world.resume();
    world.run_until("the second host is done", |world| world.state(2) == "done");
    world.run_until("it pauses again", World::is_paused);
    assert!(
        world.deployment.reason().contains("2 hosts failed, 1 allowed; the last: h3"),
        "{}",
        world.deployment.reason()
    );
    world.resume();
    assert_eq!(world.run_to_the_end(), Outcome::Succeeded { hosts: 2, failed: 2 });
    assert_eq!(world.serving(), ["1", "2", "1", "2"]);
}

#[test]
fn the_same_command_twice_changes_nothing_the_second_time() {
    let mut world = replacing(2).deploy();
    let twice = |world: &mut World, command: fn(&mut World)| {
        command(world);
        let (records, state) = (world.records.len(), world.deployment.state().clone());
        command(world);
        assert_eq!((world.records.len(), world.deployment.state()), (records, &state));
    };
    twice(&mut world, World::pause);
    assert!(world.is_paused());
    twice(&mut world, World::resume);
    assert!(!world.is_paused());
    twice(&mut world, |world| world.retry(&[]));
    twice(&mut world, World::abort);
    for command in [World::pause, World::resume, |world: &mut World| world.retry(&[])] {
        let records = world.records.len();
        command(&mut world);
        assert_eq!(world.records.len(), records, "what goes back is neither held nor tried again");
    }
}

#[test]
fn a_host_that_failed_is_tried_again_with_an_instance_of_its_own_and_its_stage_bakes_anew() {
    let mut fleet = Fleet::of(Settings {
        hosts: 2,
        batch: 2,
        in_flight: 2,
        on_failure: OnFailure::Pause,
        ..Settings::default()
    });
    fleet.agent(2).new_program = Program::EXITS_AT_ONCE;
    let mut world = fleet.deploy();
    world.run_until("it pauses", World::is_paused);
    world.run_until("the host is back", |world| world.state(2) == "returned");
    world.agents.get_mut(&host(2)).unwrap().new_program = Program::GOOD;
    world.retry(&[2]);
    assert_eq!((world.state(2), world.deployment.failures()), ("pending", 0));
    assert!(world.is_paused(), "a retry does not resume");
    world.resume();
    world.run_until("it starts", |world| world.state(2) == "starting");
    assert_eq!(world.ordered(2), placed(&[("web-d1", 10_000), ("web-d2-t2", 0)]));
    assert_eq!(world.deployment.host(&host(2)).unwrap().attempt, 2);
    world.run_until("the bake", baking);
    assert_eq!([1, 2].map(|number| world.state(number)), ["baking"; 2]);
    assert_eq!(world.run_to_the_end(), Outcome::Succeeded { hosts: 2, failed: 0 });
    assert_eq!(world.serving(), ["2", "2"]);
}

#[test]
fn a_host_whose_batch_is_over_is_tried_again_behind_the_last_one() {
    let mut fleet = Fleet::of(Settings { hosts: 3, failures_allowed: 1, ..Settings::default() });
    fleet.agent(1).new_program = Program::EXITS_AT_ONCE;
    let mut world = fleet.deploy();
    world.run_until("the second host bakes", |world| world.state(2) == "baking");
    world.agents.get_mut(&host(1)).unwrap().new_program = Program::GOOD;
    world.retry(&[]);
    assert_eq!(world.deployment.plan().stages.len(), 4);
    let wait = world.deployment.host(&host(1)).unwrap().waiting.unwrap();
    assert_eq!(wait.what, "its turn in batch 4 of 4; now batch 2 of 4");
    world.crash();
    world.run_until("its turn", |world| world.state(1) == "starting");
    assert_eq!([2, 3].map(|number| world.state(number)), ["done", "done"]);
    assert_eq!(world.run_to_the_end(), Outcome::Succeeded { hosts: 3, failed: 0 });
}

#[test]
fn a_retried_host_goes_back_to_what_it_ran_before_the_attempt() {
    let mut fleet = Fleet::of(Settings { hosts: 3, failures_allowed: 2, ..Settings::default() });
    fleet.agent(1).new_program = Program::dying_after(secs(12));
    let mut world = fleet.deploy();
    // It was done, its old instance gone: the former release was started again.
    world.run_until("it is back", |world| world.state(1) == "returned");
    assert_eq!(world.ordered(1), placed(&[("web-d2-r", 10_000)]));
    world.agents.get_mut(&host(1)).unwrap().new_program = Program::NEVER_READY;
    world.retry(&[1]);
    world.run_until("its turn", |world| world.state(1) == "starting");
    assert_eq!(world.ordered(1), placed(&[("web-d2-r", 10_000), ("web-d2-t2", 0)]));
    assert_eq!(world.run_to_the_end(), Outcome::Succeeded { hosts: 2, failed: 1 });
    assert_eq!(world.ordered(1), placed(&[("web-d2-r", 10_000)]));
    assert_eq!(world.serving(), ["1", "2", "2"]);
}

#[test]
fn a_host_that_later_stages_name_is_tried_again_there() {
    let settings = Settings { hosts: 2, batch: 2, in_flight: 2, failures_allowed: 1, ..Settings::default() };
    let mut fleet = Fleet::of(settings.clone());
    fleet.agent(1).new_program = Program::EXITS_AT_ONCE;
    let mut world = fleet.run(&staged(&settings, &[500, 10_000]));
    world.run_until("it is back", |world| world.state(1) == "returned");
    world.agents.get_mut(&host(1)).unwrap().new_program = Program::GOOD;
    world.retry(&[1]);
    assert_eq!(world.deployment.plan().stages.len(), 2, "no stage is added");
    assert_eq!(world.run_to_the_end(), Outcome::Succeeded { hosts: 2, failed: 0 });
}

#[test]
fn a_retried_host_that_fails_again_counts_again() {
    let mut fleet = Fleet::of(Settings { hosts: 1, on_failure: OnFailure::Pause, ..Settings::default() });
    fleet.agent(1).new_program = Program::EXITS_AT_ONCE;
    let mut world = fleet.deploy();
    for attempt in 2..=MAX_RETRIES + 1 {
        world.run_until("it pauses", World::is_paused);
        world.run_until("the host is back", |world| world.state(1) == "returned");
        assert_eq!(world.deployment.retryable().collect::<Vec<_>>(), [&host(1)]);
        world.retry(&[1]);
        world.resume();
        assert_eq!(world.deployment.host(&host(1)).unwrap().attempt, attempt);
    }
    world.run_until("the host is back", |world| world.state(1) == "returned");
    assert_eq!(world.deployment.no_retry(&host(1)), Some("was retried too often already"));
    let records = world.records.len();
    world.retry(&[1]);
    assert_eq!(world.records.len(), records);
}

#[test]
fn each_host_that_cannot_be_retried_has_a_reason() {
    let mut fleet = Fleet::of(Settings {
        hosts: 4,
        failures_allowed: 2,
        offline: OfflinePolicy::Skip,
        ..Settings::default()
    });
    fleet.agent(2).online = false;
    let mut world = fleet.deploy();
    world.run_until("the third host starts", |world| world.state(3) == "starting");
    let why = |number| world.deployment.no_retry(&host(number));
    assert_eq!(why(1), Some("runs the release already"));
    assert_eq!((why(2), world.state(2)), (None, "skipped"));
    assert_eq!(why(3), Some("is being changed already"));
    assert_eq!(why(4), Some("waits for its turn already"));
    assert_eq!(why(9), Some("is not in its plan"));
}

#[test]
fn an_abort_takes_a_paused_deployment_back_and_skips_what_waited() {
    let mut world = replacing(3).deploy();
    world.run_until("the second host starts", |world| world.state(2) == "starting");
    world.pause();
    world.abort();
    assert_rolled_back(&world.run_to_the_end(), "aborted by ada: second thoughts");
    assert_eq!(world.serving(), ["1"; 3]);
}

#[test]
fn a_journal_of_an_older_server_replays() {
    let text = r#"[
        {"created":{"id":2,"service":"web","release":{"service":"web","version":"2"},"by":"ada","policy":{"max_in_flight":1,
          "failures_allowed":0,"on_failure":"pause","offline":{"wait":{"deadline":60000}},"ready_deadline":60000,
          "flip_deadline":20000,"retire_deadline":40000},"at":1}},
        {"planned":{"stage":0,"share":10000,"bake":5000,"retire":true,"hosts":[{"host":"h1","from":null},{"host":"h2","from":null}]}},
        {"started":{"at":1}},
        {"host_moved":{"host":"h1","to":{"offline":{"since":1,"until":60001}},"at":1}},
        {"host_failed":{"host":"h1","reason":"h1: still offline after 60s","at":60001}},
        {"host_moved":{"host":"h1","to":{"skipped":{"reason":"h1: still offline after 60s"}},"at":60001}},
        {"paused":{"reason":"h1: still offline after 60s","at":60001}}
    ]"#;
    let records: Vec<Record> = serde_json::from_str(&as_written_now(text)).unwrap();
    let mut deployment = Deployment::replay(records).unwrap();
    assert!(matches!(deployment.state(), DeploymentState::Paused { cause: PauseCause::Failures, .. }));
    let step = deployment.on_event(
        Event::Resume { by: "bob".to_owned() },
        handover_model::Timestamp::from_unix_millis(90_000),
    );
    assert!(!step.records.is_empty());
    assert!(matches!(deployment.host(&host(2)).unwrap().state, HostState::Starting { .. }));
}

/// Durations are written as serde writes them.
fn as_written_now(text: &str) -> String {
    let duration = |millis: u64| {
        let duration = handover_model::Duration::from_millis(millis);
        serde_json::to_string(&duration).unwrap()
    };
    [
        "deadline\":60000",
        "ready_deadline\":60000",
        "flip_deadline\":20000",
        "retire_deadline\":40000",
        "bake\":5000",
    ]
    .iter()
    .fold(text.to_owned(), |text, field| {
        let (name, millis) = field.split_once(':').unwrap();
        text.replace(*field, &format!("{name}:{}", duration(millis.parse().unwrap())))
    })
}
