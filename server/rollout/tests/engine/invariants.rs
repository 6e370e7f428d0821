//! The invariants by their names, checked after every step of random deployments on a random fleet: programs that
//! are slow, never ready, exit or die later; hosts that go, come back or are removed; reports twice, late or not at
//! all; a server that is killed between and within steps; operators who change their minds.

use crate::{
    stages::staged,
    world::{Fleet, Program, Sent, Settings, World, host, secs},
};
use handover_model::{Duration, InstanceId, Share};
use handover_rollout::{
    Deployment, DeploymentState, Event, HostState, Inconclusive, Judged, OfflinePolicy, OnFailure, Outcome,
    Record, Verdict,
};
use proptest::{prelude::*, sample::Index};

/// What happens next.
#[derive(Clone, Debug)]
enum Happening {
    Time(Duration),
    Beat,
    Report(Index),
    /// Any report that was ever sent, once more and out of order.
    Repeat(Index),
    Disconnect(Index),
    Connect(Index),
    Freeze(Index),
    NewDies(Index),
    Remove(Index),
    Crash,
    CrashDuringBeat(Index),
    Abort,
    Pause,
    Resume,
    Retry(Index),
    RetryAll,
    /// The judge says something of the current stage.
    Judge(Verdict),
    /// And of another one, late.
    JudgeOther(Verdict),
    Promote,
}

#[derive(Clone, Debug)]
pub(crate) struct Story {
    settings: Settings,
    /// Shares of the stages; empty: a rolling plan.
    shares: Vec<u32>,
    /// What each stage asks for besides, in turn.
    asks: Vec<Asks>,
    /// Whether every host goes back at the end, as in a rehearsal.
    returns: bool,
    new_programs: Vec<Program>,
    former_programs: Vec<Program>,
    offline: Vec<bool>,
    happenings: Vec<Happening>,
}

/// What a stage asks for besides staying healthy.
#[derive(Clone, Copy, Debug)]
struct Asks {
    at_once: bool,
    judged: Option<Judged>,
    approval: bool,
}

fn asks() -> impl Strategy<Value = Asks> {
    let inconclusive =
        prop_oneof![Just(Inconclusive::Hold), Just(Inconclusive::RollBack), Just(Inconclusive::GoOn)];
    let judged = (0_u64..40, inconclusive)
        .prop_map(|(within, inconclusive)| Judged { within: secs(within), inconclusive });
    let yes = || proptest::bool::weighted(0.3);
    (yes(), proptest::option::weighted(0.4, judged), yes()).prop_map(|(at_once, judged, approval)| Asks {
        at_once,
        judged,
        approval,
    })
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        3 => Just(Verdict::Pass("no worse".to_owned())),
        1 => Just(Verdict::Fail("errors: 9 of 10 against 0 of 90".to_owned())),
        3 => Just(Verdict::NeedsMoreData("100 requests more".to_owned())),
    ]
}

fn happening() -> impl Strategy<Value = Happening> {
    let any_host = any::<Index>;
    prop_oneof![
        3 => (0_u64..90_000).prop_map(|millis| Happening::Time(Duration::from_millis(millis))),
        30 => Just(Happening::Beat),
        8 => any_host().prop_map(Happening::Report),
        6 => any_host().prop_map(Happening::Repeat),
        3 => any_host().prop_map(Happening::Disconnect),
        5 => any_host().prop_map(Happening::Connect),
        1 => any_host().prop_map(Happening::Freeze),
        1 => any_host().prop_map(Happening::NewDies),
        1 => any_host().prop_map(Happening::Remove),
        4 => Just(Happening::Crash),
        3 => any_host().prop_map(Happening::CrashDuringBeat),
        1 => Just(Happening::Abort),
        2 => Just(Happening::Pause),
        3 => Just(Happening::Resume),
        2 => any_host().prop_map(Happening::Retry),
        1 => Just(Happening::RetryAll),
        6 => verdict().prop_map(Happening::Judge),
        1 => verdict().prop_map(Happening::JudgeOther),
        3 => Just(Happening::Promote),
    ]
}

fn program() -> impl Strategy<Value = Program> {
    prop_oneof![
        8 => Just(Program::GOOD),
        1 => Just(Program::NEVER_READY),
        1 => Just(Program::EXITS_AT_ONCE),
        1 => (0_u64..60).prop_map(|after| Program { ready_after: Some(secs(after)), ..Program::GOOD }),
        1 => (0_u64..60).prop_map(|after| Program::dying_after(secs(after))),
        1 => Just(Program { drains_in: secs(100), ..Program::GOOD }),
    ]
}

fn settings() -> impl Strategy<Value = Settings> {
    let offline = prop_oneof![
        Just(OfflinePolicy::Skip),
        Just(OfflinePolicy::Fail),
        (1_u64..120).prop_map(|deadline| OfflinePolicy::Wait { deadline: secs(deadline) }),
    ];
    let on_failure = prop_oneof![2 => Just(OnFailure::RollBack), 1 => Just(OnFailure::Pause)];
    let times = (0_u64..20, prop_oneof![2 => Just(0), 1 => 1_u64..600]);
    (1_usize..7, 1_u32..5, 1_u32..4, 0_u32..3, on_failure, offline, times, proptest::bool::weighted(0.8))
        .prop_map(
            |(
                hosts,
                batch,
                in_flight,
                failures_allowed,
                on_failure,
                offline,
                (bake, keep_warm),
                replaces,
            )| {
                Settings {
                    hosts,
                    batch,
                    in_flight,
                    failures_allowed,
                    on_failure,
                    offline,
                    bake: secs(bake),
                    keep_warm: secs(keep_warm),
                    replaces,
                }
            },
        )
}

pub(crate) fn story() -> impl Strategy<Value = Story> {
    let shares = prop_oneof![
        3 => Just(vec![]),
        1 => Just(vec![0, 10_000]),
        1 => Just(vec![500, 5_000, 10_000]),
    ];
    let programs = || proptest::collection::vec(program(), 7);
    let offline = proptest::collection::vec(proptest::bool::weighted(0.1), 7);
    let happenings = proptest::collection::vec(happening(), 0..120);
    let asks = prop_oneof![2 => Just(vec![]), 3 => proptest::collection::vec(asks(), 1..4)];
    let returns = proptest::bool::weighted(0.3);
    (settings(), shares, asks, returns, programs(), programs(), offline, happenings).prop_map(
        |(settings, shares, asks, returns, new_programs, former_programs, offline, happenings)| Story {
            settings,
            shares,
            asks,
            returns,
            new_programs,
            former_programs,
            offline,
            happenings,
        },
    )
}

impl Story {
    fn begin(&self) -> World {
        let mut fleet = Fleet::of(self.settings.clone());
        for number in 1..=self.settings.hosts {
            let agent = fleet.agent(number);
            agent.new_program = self.new_programs[number - 1];
            agent.former_program = self.former_programs[number - 1];
            agent.online = !self.offline[number - 1];
        }
        let mut plan = if self.shares.is_empty() {
            self.settings.rolling()
        } else {
            staged(&self.settings, &self.shares)
        };
        if self.returns {
            for stage in &mut plan.stages {
                (stage.returns, stage.retire) = (stage.retire, false);
            }
        }
        for (stage, asks) in plan.stages.iter_mut().zip(self.asks.iter().cycle()) {
            let Asks { at_once, judged, approval } = *asks;
            (stage.at_once, stage.judged, stage.approval) = (at_once, judged, approval);
        }
        fleet.run(&plan)
    }

    /// Tells the story, then lets time pass until the deployment ends, and checks after every event.
    pub(crate) fn tell(
        &self,
        mut check: impl FnMut(&World) -> Result<(), TestCaseError>,
    ) -> Result<World, TestCaseError> {
        let mut world = self.begin();
        let mut sent = Vec::new();
        check(&world)?;
        for happening in &self.happenings {
            self.happen(&mut world, happening, &mut sent, &mut check)?;
        }
        let mut beats = 0;
        while world.deployment.outcome().is_none() {
            if world.waits_for_a_person() && beats > 400 {
                world.abort();
                check(&world)?;
            }
            beat(&mut world, &mut sent, &mut check)?;
            beats += 1;
            prop_assert!(beats < 10_000, "it never ends: {:?}", world.deployment.waiting_on());
        }
        Ok(world)
    }

    /// Whether a host stood with its share when this stage left its bake.
    fn stood(&self, records: &[Record], stage: usize) -> bool {
        let ends = |record: &&Record| matches!(record, Record::StageEntered { stage: next, .. } if usize::try_from(*next).unwrap() == stage + 1);
        let end = records.iter().position(|record| ends(&record)).unwrap_or(records.len());
        let passed = records[..end].iter().rposition(|record| matches!(record, Record::BakePassed { .. }));
        let deployment = Deployment::replay(records[..passed.unwrap_or(0)].iter().cloned()).unwrap();
        let bakes = |state: &HostState| matches!(state, HostState::Baking { .. });
        deployment.hosts().any(|view| view.stage == u32::try_from(stage).unwrap() && bakes(view.state))
    }

    fn happen(
        &self,
        world: &mut World,
        happening: &Happening,
        sent: &mut Vec<Sent>,
        check: &mut impl FnMut(&World) -> Result<(), TestCaseError>,
    ) -> Result<(), TestCaseError> {
        let pick = |index: &Index| host(index.index(self.settings.hosts) + 1);
        match happening {
            Happening::Time(time) => {
                world.now = world.now + *time;
                world.event(Event::Tick);
            }
            Happening::Beat => return beat(world, sent, check),
            Happening::Report(index) => {
                if let Some(event) = world.report_of(&pick(index)) {
                    sent.extend(world.to_be_repeated(&event));
                    world.event(event);
                }
            }
            Happening::Repeat(index) => {
                if let Some((host, revision, instances)) =
                    (!sent.is_empty()).then(|| index.get(sent)).cloned()
                    && world.agents.get(&host).is_some_and(|agent| agent.online)
                {
                    let current = world.orders.get(&host).is_some_and(|(_, latest)| *latest == revision);
                    let event = Event::HostReported { host, current, instances };
                    world.event(event.clone());
                    check(world)?;
                    // And twice, unless the first one changed what is ordered.
                    if current == world.is_current(&event, revision) {
                        world.event(event);
                    }
                }
            }
            Happening::Disconnect(index) if world.agents.contains_key(&pick(index)) => {
                world.disconnect(&pick(index));
            }
            Happening::Connect(index) if world.agents.contains_key(&pick(index)) => {
                world.connect(&pick(index));
            }
            Happening::Freeze(index) => {
                if let Some(agent) = world.agents.get_mut(&pick(index)) {
                    agent.frozen = !agent.frozen;
                }
            }
            Happening::NewDies(index) => {
                if let Some(agent) = world.agents.get_mut(&pick(index)) {
                    agent.new_dies();
                }
            }
            Happening::Remove(index) => world.remove(&pick(index)),
            Happening::Crash => world.crash(),
            Happening::CrashDuringBeat(index) => {
                if let Some(event) = world.report_of(&pick(index)) {
                    world.crash_during(event, index.index(5));
                }
            }
            Happening::Abort => world.abort(),
            Happening::Pause => world.pause(),
            Happening::Resume => world.resume(),
            Happening::Retry(index) => world.retry(&[index.index(self.settings.hosts) + 1]),
            Happening::RetryAll => world.retry(&[]),
            Happening::Judge(verdict) => world.judge(0, verdict),
            Happening::JudgeOther(verdict) => world.judge(1, verdict),
            Happening::Promote => world.promote(),
            Happening::Disconnect(_) | Happening::Connect(_) => {}
        }
        check(world)
    }
}

fn beat(
    world: &mut World,
    sent: &mut Vec<Sent>,
    check: &mut impl FnMut(&World) -> Result<(), TestCaseError>,
) -> Result<(), TestCaseError> {
    world.now = world.now + Duration::from_millis(500);
    let hosts: Vec<_> = world.agents.keys().cloned().collect();
    for host in &hosts {
        if let Some(event) = world.report_of(host) {
            sent.extend(world.to_be_repeated(&event));
            world.event(event);
            check(world)?;
        }
    }
    world.event(Event::Tick);
    check(world)
}

fn is_new(instance: &InstanceId) -> bool {
    instance.as_str().starts_with("web-d2") && !instance.as_str().ends_with("-r")
}

proptest! {
    #![proptest_config(ProptestConfig::default())]

    #[test]
    fn never_more_than_the_allowed_hosts_in_flight(story in story()) {
        story.tell(|world| {
            let moving = |state: &HostState| matches!(state, HostState::Starting { .. } | HostState::Shifting { .. });
            let in_flight = world.deployment.hosts().filter(|view| moving(view.state)).count();
            // What was begun in one step may be under way in the next stage as well.
            if world.deployment.plan().stages.iter().any(|stage| stage.at_once) {
                return Ok(());
            }
            prop_assert!(in_flight <= usize::try_from(world.deployment.plan().policy.max_in_flight).unwrap());
            Ok(())
        })?;
    }

    #[test]
    fn never_a_share_for_a_candidate_that_is_not_ready(story in story()) {
        let mut checked = 0;
        let world = story.tell(|world| {
            for (host, assignment, state) in &world.commands[checked..] {
                for placed in assignment.0.iter().filter(|placed| !placed.share.is_hidden()) {
                    let told = world.seen_ready.contains(&(host.clone(), placed.instance.clone()));
                    let before = placed.instance.as_str() == "web-d1";
                    // A stuck host is given up: the former release stays ordered and its agent keeps what serves.
                    let stuck = matches!(state, HostState::Stuck { .. }) && !is_new(&placed.instance);
                    prop_assert!(told || before || stuck, "{} on {host} while {}", placed.instance, state.name());
                }
            }
            checked = world.commands.len();
            Ok(())
        })?;
        prop_assert_eq!(checked, world.commands.len());
    }

    #[test]
    fn a_paused_deployment_begins_no_change_and_raises_no_share(story in story()) {
        let states = |world: &World| -> std::collections::BTreeMap<_, _> {
            world.deployment.hosts().map(|view| (view.host.clone(), view.state.clone())).collect()
        };
        let paused = |world: &World| world.deployment.paused();
        let mut before: Option<std::collections::BTreeMap<handover_model::HostName, HostState>> = None;
        let mut stood = None;
        story.tell(|world| {
            // The same pause as at the last look: nothing may have begun in between.
            if stood.is_some() && stood == paused(world) {
                let now = states(world);
                for (host, was) in before.iter().flatten() {
                    let is = &now[host];
                    let begun = !matches!(was, HostState::Starting { .. }) && matches!(is, HostState::Starting { .. });
                    let raised = !matches!(was, HostState::Shifting { .. }) && matches!(is, HostState::Shifting { .. });
                    let retires = !matches!(was, HostState::Retiring { .. }) && matches!(is, HostState::Retiring { .. });
                    prop_assert!(!begun && !raised && !retires, "{host} went from {was:?} to {is:?} in a pause");
                }
            }
            (before, stood) = (Some(states(world)), paused(world));
            Ok(())
        })?;
    }

    #[test]
    fn no_stage_goes_on_without_what_it_asks_for(story in story()) {
        // Read from the journal alone: what stands between a bake and the end of its stage.
        let world = story.tell(|_| Ok(()))?;
        let stages = &world.deployment.plan().stages;
        let (mut stage, mut judged, mut promoted) = (0, false, false);
        for record in &world.records {
            match record {
                Record::StageEntered { stage: next, .. } => {
                    let left = &stages[stage];
                    let asked = (left.judged.is_some() && !judged, left.approval && !promoted);
                    // Nobody's word is needed where no host could take the release.
                    prop_assert!(asked == (false, false) || !story.stood(&world.records, stage), "stage {stage}");
                    (stage, judged, promoted) = (usize::try_from(*next).unwrap(), false, false);
                }
                Record::JudgementPassed { .. } => judged = true,
                Record::Promoted { .. } => (judged, promoted) = (true, true),
                _other => {}
            }
        }
    }

    #[test]
    fn every_attempt_has_instances_of_its_own(story in story()) {
        let mut placed: std::collections::BTreeMap<_, u32> = std::collections::BTreeMap::new();
        story.tell(|world| {
            for view in world.deployment.hosts() {
                let order = world.deployment.assignment(view.host).unwrap_or_default();
                for new in order.0.iter().filter(|placed| is_new(&placed.instance)) {
                    let attempt = *placed.entry((view.host.clone(), new.instance.clone())).or_insert(view.attempt);
                    prop_assert_eq!(attempt, view.attempt, "{} runs {} again", view.host, new.instance);
                }
            }
            Ok(())
        })?;
    }

    #[test]
    fn replay_equals_live(story in story()) {
        let mut checked = 0;
        story.tell(|world| {
            if checked != world.records.len() {
                checked = world.records.len();
                let replayed = Deployment::replay(world.records.iter().cloned()).unwrap();
                prop_assert_eq!(&replayed, &world.deployment);
                prop_assert_eq!(replayed.assignments(), world.deployment.assignments());
            }
            Ok(())
        })?;
    }

    #[test]
    fn a_finished_deployment_leaves_every_host_on_one_release_or_says_which_is_not(story in story()) {
        let world = story.tell(|_| Ok(()))?;
        let outcome = world.deployment.outcome().unwrap();
        let stuck: Vec<_> = world.deployment.stuck().map(|(host, _)| host.clone()).collect();
        prop_assert_eq!(matches!(outcome, Outcome::NeedsPerson { .. }), !stuck.is_empty());
        for view in world.deployment.hosts() {
            let release = |version: &str| crate::world::release(version);
            let former = view.from.map(|from| from.release.clone());
            let ordered = world.deployment.assignment(view.host);
            let runs = match &ordered {
                None => former.clone(),
                Some(order) => {
                    let stands_by = matches!(view.state, HostState::Done { standby: true, .. });
                    let most = if stands_by { 2 } else { 1 };
                    prop_assert!(order.0.len() <= most, "{}: two instances stay ordered", view.host);
                    let shares = order.0.iter().map(|placed| placed.share).filter(|share| !share.is_hidden());
                    prop_assert!(shares.into_iter().all(|share| share == Share::ALL));
                    order.main().map(|placed| placed.release.clone())
                }
            };
            match view.state.name() {
                "done" => prop_assert_eq!(runs, Some(release("2"))),
                "pending" | "skipped" | "returned" | "stuck" => prop_assert_eq!(runs, former),
                other => prop_assert!(false, "{} ended {other}", view.host),
            }
            if story.returns || matches!(outcome, Outcome::RolledBack { .. }) {
                prop_assert_ne!(view.state.name(), "done");
            }
            if matches!(outcome, Outcome::Succeeded { .. }) {
                prop_assert_ne!(view.state.name(), "pending");
            }
        }
        let (stayed, returned) =
            (matches!(outcome, Outcome::Succeeded { .. }), matches!(outcome, Outcome::Returned { .. }));
        let wrong = if story.returns { stayed } else { returned };
        prop_assert!(!wrong, "it ended as {:?}", outcome);
        for (host, (order, _)) in &world.orders {
            if let Some(assignment) = world.deployment.assignment(host) {
                prop_assert_eq!(&assignment, order, "what was ordered last is what stands");
            }
        }
        // What is returned or done is so on the host, not only in the books.
        for (host, agent) in &world.agents {
            let serves = agent.serving();
            match world.deployment.host(host).unwrap().state {
                HostState::Returned { note, .. } if note.is_empty() => prop_assert!(!serves.contains(&"2")),
                HostState::Done { note, .. } if note.is_empty() => prop_assert!(!serves.contains(&"1")),
                _unknown => {}
            }
        }
    }

    #[test]
    fn every_wait_has_a_deadline_or_a_person(story in story()) {
        story.tell(|world| {
            let deployment = &world.deployment;
            let waiting = deployment.waiting_on();
            prop_assert_eq!(waiting.is_none(), deployment.outcome().is_some());
            let Some(waiting) = waiting else { return Ok(()) };
            let paused = world.waits_for_a_person();
            prop_assert!(paused || waiting.until.is_some(), "{waiting:?}");
            prop_assert!(!waiting.what.is_empty() && !waiting.then.is_empty(), "{waiting:?}");
            let rolling_back = matches!(deployment.state(), DeploymentState::RollingBack { .. });
            for view in deployment.hosts() {
                let final_state = matches!(view.state.name(), "done" | "skipped" | "returned" | "stuck");
                let left_alone = rolling_back && view.state.name() == "pending";
                prop_assert_eq!(view.waiting.is_none(), final_state || left_alone, "{} {:?}", view.host, view.state);
                if let Some(wait) = view.waiting {
                    prop_assert!(paused || wait.until.is_some(), "{}: {wait:?}", view.host);
                    prop_assert!(!wait.what.is_empty() && !wait.then.is_empty(), "{}: {wait:?}", view.host);
                }
            }
            Ok(())
        })?;
    }

    #[test]
    fn every_deployment_ends(story in story()) {
        // Without a single report more: deadlines alone bring it to its end.
        let mut world = story.begin();
        let mut sent = Vec::new();
        for happening in &story.happenings {
            story.happen(&mut world, happening, &mut sent, &mut |_| Ok(()))?;
        }
        let mut steps = 0;
        while world.deployment.outcome().is_none() {
            match world.deployment.next_deadline() {
                Some(next) => {
                    world.now = world.now.max(next);
                    world.event(Event::Tick);
                    let again = world.deployment.next_deadline();
                    prop_assert!(again.is_none_or(|again| again > world.now), "a deadline that passed is left");
                }
                None => {
                    prop_assert!(world.waits_for_a_person(), "{:?}", world.deployment.state());
                    world.abort();
                }
            }
            steps += 1;
            prop_assert!(steps < 500, "it never ends: {:?}", world.deployment.waiting_on());
        }
        // And with a fleet that goes on reporting.
        story.tell(|_| Ok(()))?;
    }

    #[test]
    fn the_sum_of_ordered_shares_is_all(story in story()) {
        story.tell(|world| {
            for (host, assignment) in world.deployment.assignments() {
                let had_one = world.deployment.host(&host).unwrap().from.is_some();
                let first = !had_one && assignment.0.len() <= 1 && assignment.sum() == 0;
                prop_assert!(assignment.sum() == 10_000 || first, "{host}: {assignment:?}");
                let names: std::collections::BTreeSet<_> = assignment.0.iter().map(|placed| &placed.instance).collect();
                prop_assert_eq!(names.len(), assignment.0.len());
            }
            Ok(())
        })?;
    }

    #[test]
    fn no_host_is_ever_without_a_ready_instance_because_of_a_good_deployment(
        hosts in 1_usize..6, batch in 1_u32..4, crashes in proptest::collection::vec(1_usize..60, 0..8),
    ) {
        let mut world = Fleet::of(Settings { hosts, batch, in_flight: batch, ..Settings::default() }).deploy();
        let mut beats = 0;
        while world.deployment.outcome().is_none() {
            world.beat();
            beats += 1;
            prop_assert!(world.serving().iter().all(|version| !version.is_empty()));
            if crashes.contains(&beats) {
                world.crash();
            }
        }
        prop_assert_eq!(world.deployment.outcome().cloned(), Some(Outcome::Succeeded {
            hosts: u32::try_from(hosts).unwrap(), failed: 0,
        }));
    }
}
