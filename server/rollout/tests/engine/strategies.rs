//! Blue-green, canary and the way back to a standby: plans for the same engine.

use crate::{
    agent::Program,
    fleet::{Fleet, Settings},
    names::{host, old_placement, release, secs, share},
    world::World,
};
use handover_model::{Duration, Share};
use handover_rollout::{
    ApprovalCause, BatchSize, BlueGreen, CanaryStep, Event, Inconclusive, Judged, Outcome, Placement, Plan,
    PlanError, PlanRequest, Record, StagePhase, Verdict, blue_green, canary, flip_back,
};

fn settings() -> Settings {
    Settings { hosts: 3, in_flight: 3, ..Settings::default() }
}

fn green(settings: &Settings, approval: bool) -> Plan {
    blue_green(&settings.request(), BlueGreen { bake: secs(5), approval }).unwrap()
}

const JUDGED: Judged = Judged { within: Duration::from_secs(60), inconclusive: Inconclusive::Hold };

fn step(points: u32) -> CanaryStep {
    CanaryStep {
        hosts: BatchSize::Percent(100),
        share: share(points),
        bake: secs(5),
        judged: Some(JUDGED),
        approval: false,
    }
}

fn steps(request: &PlanRequest, points: &[u32]) -> Plan {
    canary(request, &points.iter().map(|points| step(*points)).collect::<Vec<_>>()).unwrap()
}

fn approving(world: &World, wanted: ApprovalCause) -> bool {
    world.phase() == Some(StagePhase::Approving { cause: wanted })
}

fn judging(world: &World) -> bool {
    matches!(world.phase(), Some(StagePhase::Judging { .. }))
}

const PASS: fn() -> Verdict = || Verdict::Pass("errors: 1 of 900 against 9 of 8100".to_owned());

#[test]
fn blue_green_flips_every_host_in_one_step_once_all_are_ready() {
    // However few may start at the same time.
    let settings = Settings { in_flight: 1, ..settings() };
    let mut fleet = Fleet::of(settings.clone());
    fleet.agent(3).new_program = Program { ready_after: Some(secs(20)), ..Program::GOOD };
    let mut world = fleet.run(&green(&settings, false));
    world.run_until("the third one starts", |world| world.state(3) == "starting");
    assert_eq!([1, 2].map(|number| world.state(number)), ["baking"; 2], "the others wait hidden");
    assert_eq!(world.serving(), ["1", "1", "1"]);
    let before = world.commands.len();
    world.run_until("one flips", |world| world.state(1) == "shifting");
    let flips = world.commands[before..].iter().filter(|(_, _, state)| state.name() == "shifting").count();
    assert_eq!(flips, 3, "all in one step");
    assert_eq!(world.run_to_the_end(), Outcome::Succeeded { hosts: 3, failed: 0 });
    assert_eq!(world.serving(), ["2", "2", "2"]);
}

#[test]
fn one_host_that_does_not_get_ready_keeps_all_of_a_blue_green_deployment_from_flipping() {
    let mut fleet = Fleet::of(settings());
    fleet.agent(2).new_program = Program::NEVER_READY;
    let mut world = fleet.run(&green(&settings(), false));
    assert!(matches!(world.run_to_the_end(), Outcome::RolledBack { .. }));
    assert!(
        world.commands.iter().all(|(_, _, state)| state.name() != "shifting"),
        "somebody saw the new release"
    );
}

#[test]
fn where_fewer_are_enough_the_ready_ones_flip_without_the_failed_one() {
    let settings = Settings { failures_allowed: 1, ..settings() };
    let mut fleet = Fleet::of(settings.clone());
    fleet.agent(2).new_program = Program::EXITS_AT_ONCE;
    let mut world = fleet.run(&green(&settings, false));
    assert_eq!(world.run_to_the_end(), Outcome::Succeeded { hosts: 2, failed: 1 });
    assert_eq!(world.serving(), ["2", "1", "2"]);
}

#[test]
fn a_person_approves_before_the_flip_and_may_take_any_time() {
    let mut world = Fleet::of(settings()).run(&green(&settings(), true));
    world.run_until("it waits to be promoted", |world| approving(world, ApprovalCause::Plan));
    world.run_for(secs(3_000));
    world.crash();
    world.run_for(secs(100));
    assert!(approving(&world, ApprovalCause::Plan));
    let waiting = world.deployment.waiting_on().unwrap();
    assert_eq!(waiting.until, None);
    assert!(waiting.then.contains("`handover promote web`"), "{waiting:?}");
    assert_eq!(world.serving(), ["1", "1", "1"]);
    world.promote();
    assert!(world.records.iter().any(|record| matches!(record, Record::Promoted { by, .. } if by == "eve")));
    assert_eq!(world.run_to_the_end(), Outcome::Succeeded { hosts: 3, failed: 0 });
}

#[test]
fn promoting_changes_nothing_where_nothing_waits_for_it() {
    let mut world = Fleet::of(settings()).run(&green(&settings(), false));
    let before = world.records.len();
    world.promote();
    assert_eq!(world.records.len(), before);
    assert!(!world.deployment.takes_promotion());
}

#[test]
fn a_canary_widens_with_each_verdict() {
    let mut world = Fleet::of(settings()).run(&steps(&settings().request(), &[500, 2_500, 10_000]));
    for points in [500, 2_500] {
        world.run_until("the share", |world| {
            judging(world)
                && world.ordered(1) == [("web-d1".to_owned(), 10_000 - points), ("web-d2".to_owned(), points)]
        });
        world.judge(0, &Verdict::NeedsMoreData("400 requests more".to_owned()));
        world.run_for(secs(10));
        assert!(judging(&world), "it went on without a verdict");
        assert!(world.deployment.waiting_on().unwrap().what.contains("400 requests more"));
        world.judge(0, &PASS());
        assert!(!judging(&world));
    }
    assert_eq!(world.run_to_the_end(), Outcome::Succeeded { hosts: 3, failed: 0 });
}

#[test]
fn a_verdict_that_comes_early_does_not_shorten_the_bake() {
    let mut world = Fleet::of(settings()).run(&steps(&settings().request(), &[500, 10_000]));
    world.run_until("the share", |world| world.serving() == ["1+2", "1+2", "1+2"]);
    world.judge(0, &PASS());
    world.run_for(secs(3));
    assert_eq!(world.deployment.stage(), 0);
    world.run_until("the next stage", |world| world.deployment.stage() == 1);
}

#[test]
fn a_failed_judgement_takes_every_host_back_at_once_with_its_figures() {
    for during_bake in [true, false] {
        let mut world = Fleet::of(settings()).run(&steps(&settings().request(), &[500, 10_000]));
        world.run_until("the share", |world| world.serving() == ["1+2", "1+2", "1+2"]);
        if !during_bake {
            world.run_until("the judge's turn", judging);
        }
        let line = "errors: 6 of 60 against 0 of 540 (E 23600, 100 is enough)";
        world.judge(0, &Verdict::Fail(line.to_owned()));
        let back = [("web-d1".to_owned(), 10_000), ("web-d2".to_owned(), 0)];
        assert_eq!(
            [1, 2, 3].map(|number| world.ordered(number)),
            [(); 3].map(|()| back.to_vec()),
            "in one step"
        );
        assert_eq!(world.run_to_the_end(), Outcome::RolledBack { reason: line.to_owned() });
        assert_eq!(world.serving(), ["1", "1", "1"]);
    }
}

#[test]
fn without_a_verdict_in_time_the_plan_says_what_happens_and_never_that_it_passed() {
    for inconclusive in [Inconclusive::Hold, Inconclusive::RollBack, Inconclusive::GoOn] {
        let mut asked = step(500);
        asked.judged = Some(Judged { inconclusive, ..JUDGED });
        let plan = canary(&settings().request(), &[asked, step(10_000)]).unwrap();
        let mut world = Fleet::of(settings()).run(&plan);
        world.run_until("the judge's turn", judging);
        world.judge(0, &Verdict::NeedsMoreData("no requests at all".to_owned()));
        world.run_for(secs(61));
        match inconclusive {
            Inconclusive::Hold => {
                assert!(approving(&world, ApprovalCause::Inconclusive));
                let held = |record: &Record| matches!(record, Record::JudgementHeld { verdict, .. } if verdict == "no requests at all");
                assert!(world.records.iter().any(held));
                world.promote();
                assert!(matches!(world.run_to_the_end(), Outcome::Succeeded { .. }));
            }
            Inconclusive::RollBack => {
                let reason = "the judge came to no verdict: no requests at all".to_owned();
                assert_eq!(world.run_to_the_end(), Outcome::RolledBack { reason });
            }
            Inconclusive::GoOn => {
                let said = |record: &Record| matches!(record, Record::JudgementPassed { verdict, .. } if verdict == "no verdict, and goes on: no requests at all");
                assert!(world.records.iter().any(said));
                assert!(matches!(world.run_to_the_end(), Outcome::Succeeded { .. }));
            }
        }
    }
}

#[test]
fn a_verdict_on_another_stage_is_ignored() {
    let mut world = Fleet::of(settings()).run(&steps(&settings().request(), &[500, 2_500, 10_000]));
    world.run_until("the judge's turn", judging);
    world.event(Event::Judged { stage: 1, verdict: PASS() });
    assert!(judging(&world));
    world.judge(0, &PASS());
    world.run_until("the second judgement", |world| world.deployment.stage() == 1 && judging(world));
    world.event(Event::Judged { stage: 0, verdict: Verdict::Fail("late".to_owned()) });
    assert!(judging(&world));
}

#[test]
fn a_pause_stops_the_judges_clock() {
    let mut world = Fleet::of(settings()).run(&steps(&settings().request(), &[500, 10_000]));
    world.run_until("the judge's turn", judging);
    world.pause();
    world.run_for(secs(600));
    world.resume();
    world.run_for(secs(30));
    assert!(judging(&world), "the time of the pause counted");
}

#[test]
fn a_canary_may_take_some_hosts_only_and_more_in_each_step() {
    let by_hosts = |percent, points| CanaryStep { hosts: BatchSize::Percent(percent), ..step(points) };
    let plan =
        canary(&settings().request(), &[by_hosts(30, 1_000), by_hosts(60, 10_000), by_hosts(10, 10_000)])
            .unwrap();
    let shape: Vec<_> =
        plan.stages.iter().map(|stage| (stage.hosts.len(), stage.share, stage.retire)).collect();
    assert_eq!(
        shape,
        [(1, share(1_000), false), (2, Share::ALL, false), (2, Share::ALL, false), (3, Share::ALL, true)],
        "never on fewer hosts than before, and on all in the end"
    );
    assert_eq!(plan.stages[3].judged, None, "nothing is left to compare with");
    let mut world = Fleet::of(settings()).run(&plan);
    for _ in 0..3 {
        world.run_until("a judgement", judging);
        world.judge(0, &PASS());
    }
    assert_eq!(world.run_to_the_end(), Outcome::Succeeded { hosts: 3, failed: 0 });
}

#[test]
fn a_host_without_a_former_release_has_its_turn_last() {
    let mut request = settings().request();
    request.hosts[1].runs = None;
    let plan = steps(&request, &[500, 5_000]);
    let hosts: Vec<_> = plan.stages.iter().map(|stage| stage.hosts.len()).collect();
    assert_eq!(hosts, [2, 2, 3]);
    request.hosts.iter_mut().for_each(|host| host.runs = None);
    let plan = steps(&request, &[500, 5_000]);
    assert_eq!(plan.stages.len(), 1, "there is nothing to compare with anywhere");
    assert_eq!((plan.stages[0].share, plan.stages[0].judged), (Share::ALL, None));
}

#[test]
fn a_canary_without_steps_is_none() {
    assert_eq!(canary(&settings().request(), &[]), Err(PlanError::Empty { stage: 0 }));
}

#[test]
fn what_stands_by_after_a_deployment_is_gone_back_to_with_one_order() {
    let settings = Settings { keep_warm: secs(600), ..settings() };
    let mut world = Fleet::of(settings.clone()).run(&green(&settings, false));
    assert_eq!(world.run_to_the_end(), Outcome::Succeeded { hosts: 3, failed: 0 });
    let standing = [("web-d1".to_owned(), 0), ("web-d2".to_owned(), 10_000)];
    assert_eq!(world.ordered(1), standing);

    let runs = Placement { release: release("2"), instance: "web-d2".parse().unwrap(), share: Share::ALL };
    let mut request = PlanRequest { release: release("1"), ..settings.request() };
    for host in &mut request.hosts {
        host.runs = Some(runs.clone());
        host.standby = Some(old_placement().with(Share::HIDDEN));
    }
    // What it went through while it served is no reason not to go back to it.
    world.agents.get_mut(&host(2)).unwrap().was_restarted("web-d1");
    let mut world = world.next(&flip_back(&PlanRequest { keep_warm: Duration::ZERO, ..request }).unwrap());
    let flipped = [("web-d2".to_owned(), 0), ("web-d1".to_owned(), 10_000)];
    assert_eq!(
        [1, 2, 3].map(|number| world.ordered(number)),
        [(); 3].map(|()| flipped.to_vec()),
        "in the first step"
    );
    world.beat();
    assert_eq!(world.serving(), ["1", "1", "1"], "nothing had to start");
    assert_eq!(world.run_to_the_end(), Outcome::Succeeded { hosts: 3, failed: 0 });
    assert_eq!(world.ordered(2), [("web-d1".to_owned(), 10_000)]);
}

#[test]
fn a_later_failure_takes_hosts_back_to_what_stands_by_without_a_start() {
    let settings = Settings { keep_warm: secs(600), in_flight: 1, ..settings() };
    let mut fleet = Fleet::of(settings.clone());
    fleet.agent(3).new_program = Program::EXITS_AT_ONCE;
    let mut world = fleet.deploy();
    assert!(matches!(world.run_to_the_end(), Outcome::RolledBack { .. }));
    let again = |(_, assignment, _): &(_, handover_rollout::Assignment, _)| {
        format!("{assignment:?}").contains("web-d2-r")
    };
    assert!(!world.commands.iter().any(again), "the former release was started again");
    assert_eq!(world.serving(), ["1", "1", "1"]);
    assert!(world.deployment.host(&host(1)).unwrap().failure.is_none());
}
