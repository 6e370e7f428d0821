//! Random tales of deployments on a random fleet: programs that are slow, never ready, exit or die later; hosts that go,
//! come back or are removed; reports twice, late or not at all; a server that is killed between and within steps;
//! operators who change their minds.

use crate::{
    agent::Program,
    fleet::{Fleet, Settings},
    names::{host, secs},
    stages::staged,
    world::{Sent, World},
};
use handover_model::{Duration, SchemaPhase};
use handover_rollout::{
    Deployment, Event, HostState, Inconclusive, Judged, Migration, OfflinePolicy, OnFailure, Record, Verdict,
};
use proptest::{prelude::*, sample::Index};

/// What happens next.
#[derive(Clone, Debug)]
pub(crate) enum Happening {
    Time(Duration),
    Beat,
    Report(Index),
    /// Any report that was ever sent, once more and out of order.
    Repeat(Index),
    Disconnect(Index),
    Connect(Index),
    Freeze(Index),
    /// Confirmations reach a host no more, or again.
    Deafen(Index),
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
    /// The host that migrates goes, or comes back.
    MigratorGoes,
}

#[derive(Clone, Debug)]
pub(crate) struct Story {
    pub(crate) settings: Settings,
    /// Shares of the stages; empty: a rolling plan.
    shares: Vec<u32>,
    /// What each stage asks for besides, in turn.
    asks: Vec<Asks>,
    /// Whether every host goes back at the end, as in a rehearsal.
    pub(crate) returns: bool,
    /// Whether it migrates before and after, and how many attempts fail.
    migrates: (bool, bool, u32),
    new_programs: Vec<Program>,
    former_programs: Vec<Program>,
    offline: Vec<bool>,
    pub(crate) happenings: Vec<Happening>,
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
        2 => any_host().prop_map(Happening::Deafen),
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
        2 => Just(Happening::MigratorGoes),
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
    let confirm = prop_oneof![1 => Just(0), 1 => 1_u64..40];
    let times = (0_u64..20, prop_oneof![2 => Just(0), 1 => 1_u64..600], confirm);
    (1_usize..7, 1_u32..5, 1_u32..4, 0_u32..3, on_failure, offline, times, proptest::bool::weighted(0.8))
        .prop_map(
            |(
                hosts,
                batch,
                in_flight,
                failures_allowed,
                on_failure,
                offline,
                (bake, keep_warm, confirm),
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
                    confirm: secs(confirm),
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
    let part = || proptest::bool::weighted(0.3);
    let migrates = (part(), part(), 0_u32..3);
    (settings(), shares, asks, (returns, migrates), programs(), programs(), offline, happenings).prop_map(
        |(
            settings,
            shares,
            asks,
            (returns, migrates),
            new_programs,
            former_programs,
            offline,
            happenings,
        )| Story {
            settings,
            shares,
            asks,
            returns,
            migrates,
            new_programs,
            former_programs,
            offline,
            happenings,
        },
    )
}

impl Story {
    pub(crate) fn begin(&self) -> World {
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
        let (before, after, failures) = self.migrates;
        fleet.migrator.failures = failures;
        let migration = |phase, on_failure| Migration {
            host: host(9),
            phase,
            within: secs(60),
            on_failure,
            resolve: None,
        };
        let before = before.then(|| migration(SchemaPhase::Expand, self.settings.on_failure));
        let after = after.then(|| migration(SchemaPhase::Backfill, OnFailure::Pause));
        fleet.run(&plan.with_migrations(before, after))
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
    pub(crate) fn stood(&self, records: &[Record], stage: usize) -> bool {
        let ends = |record: &&Record| matches!(record, Record::StageEntered { stage: next, .. } if usize::try_from(*next).unwrap() == stage + 1);
        let end = records.iter().position(|record| ends(&record)).unwrap_or(records.len());
        let passed = records[..end].iter().rposition(|record| matches!(record, Record::BakePassed { .. }));
        let deployment = Deployment::replay(records[..passed.unwrap_or(0)].iter().cloned()).unwrap();
        let bakes = |state: &HostState| matches!(state, HostState::Baking { .. });
        deployment.hosts().any(|view| view.stage == u32::try_from(stage).unwrap() && bakes(view.state))
    }

    pub(crate) fn happen(
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
                if let Some(sent) = (!sent.is_empty()).then(|| index.get(sent)).cloned()
                    && world.agents.get(&sent.host).is_some_and(|agent| agent.online)
                {
                    let revision = sent.revision;
                    let event = world.once_more(sent);
                    let current = world.is_current(&event, revision);
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
            Happening::Deafen(index) => {
                if let Some(agent) = world.agents.get_mut(&pick(index)) {
                    agent.deaf = !agent.deaf;
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
            Happening::MigratorGoes => world.migrator.online = !world.migrator.online,
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
    if let Some(event) = world.migrator.live(world.now) {
        world.event(event);
        check(world)?;
    }
    world.event(Event::Tick);
    check(world)
}
