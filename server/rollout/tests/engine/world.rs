//! A simulated fleet: agents that make orders true, as the real ones do, and a server that can crash.

use crate::migrator::Migrator;
use handover_model::{
    DeploymentId, DrainLedger, Duration, HostName, InstanceId, InstancePhase, InstanceReport, Labels,
    ReleaseRef, Share, Timestamp,
};
use handover_rollout::{
    Assignment, BatchSize, Command, Deployment, DeploymentState, Event, FleetHost, HostState, OfflinePolicy,
    OnFailure, Outcome, Placement, Plan, PlanRequest, Record, Rolling, StagePhase, Step, Verdict, rolling,
};
use std::collections::{BTreeMap, BTreeSet};

/// How often agents look around and report.
pub(crate) const BEAT: Duration = Duration::from_millis(500);

pub(crate) fn host(number: usize) -> HostName {
    format!("h{number}").parse().unwrap()
}

pub(crate) fn release(version: &str) -> ReleaseRef {
    ReleaseRef { service: "web".parse().unwrap(), version: version.parse().unwrap() }
}

pub(crate) fn instance(name: &str) -> InstanceId {
    name.parse().unwrap()
}

/// The instance that ran before: v1, with everything.
pub(crate) fn old_placement() -> Placement {
    Placement { instance: instance("web-d1"), release: release("1"), share: Share::ALL }
}

pub(crate) fn share(basis_points: u32) -> Share {
    Share::new(basis_points).unwrap()
}

pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What a program does once it is started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Program {
    /// `None`: never.
    pub(crate) ready_after: Option<Duration>,
    /// After its start; `None`: never.
    pub(crate) dies_after: Option<Duration>,
    pub(crate) drains_in: Duration,
}

impl Program {
    pub(crate) const GOOD: Self = Self { ready_after: Some(secs(1)), dies_after: None, drains_in: secs(1) };
    pub(crate) const NEVER_READY: Self = Self { ready_after: None, ..Self::GOOD };
    pub(crate) const EXITS_AT_ONCE: Self = Self { dies_after: Some(Duration::ZERO), ..Self::NEVER_READY };

    pub(crate) const fn dying_after(time: Duration) -> Self {
        Self { dies_after: Some(time), ..Self::GOOD }
    }
}

#[derive(Clone, Debug)]
struct Instance {
    release: ReleaseRef,
    program: Program,
    started: Timestamp,
    phase: InstancePhase,
    share: Share,
    draining_since: Option<Timestamp>,
    restarts: u32,
}

/// An agent: make before break, no share before readiness, the last one with a share stays until another can.
#[derive(Clone, Debug)]
pub(crate) struct Agent {
    pub(crate) online: bool,
    pub(crate) new_program: Program,
    pub(crate) former_program: Program,
    /// Whether it does nothing at all with new orders, although it is connected.
    pub(crate) frozen: bool,
    instances: BTreeMap<InstanceId, Instance>,
    /// What it works on, and under which revision.
    order: Assignment,
    pub(crate) revision: u64,
}

impl Agent {
    fn works_on(&mut self, order: &Assignment, revision: u64) {
        if self.online && !self.frozen {
            self.order = order.clone();
            self.revision = revision;
        }
    }

    /// Time passes on the host; it goes on without the server.
    fn live(&mut self, now: Timestamp) {
        if self.frozen {
            return;
        }
        for placed in &self.order.0 {
            let program = if placed.release == release("1") { self.former_program } else { self.new_program };
            self.instances.entry(placed.instance.clone()).or_insert_with(|| Instance {
                release: placed.release.clone(),
                program,
                started: now,
                phase: InstancePhase::Starting,
                share: Share::HIDDEN,
                draining_since: None,
                restarts: 0,
            });
        }
        for instance in self.instances.values_mut() {
            instance.live(now);
        }
        let ready = |placed: &Placement| self.instances[&placed.instance].phase == InstancePhase::Ready;
        if self.order.0.iter().filter(|placed| !placed.share.is_hidden()).all(ready) {
            self.flip_and_retire(now);
        }
    }

    fn flip_and_retire(&mut self, now: Timestamp) {
        for (name, instance) in &mut self.instances {
            match self.order.0.iter().find(|placed| placed.instance == *name) {
                Some(placed) => instance.share = placed.share,
                None => {
                    instance.share = Share::HIDDEN;
                    if instance.draining_since.is_none() {
                        instance.draining_since = Some(now);
                        instance.live(now);
                    }
                }
            }
        }
    }

    /// An instance ended by itself some time ago, and was started again.
    pub(crate) fn was_restarted(&mut self, name: &str) {
        self.instances.get_mut(&instance(name)).unwrap().restarts = 1;
    }

    /// The new release's instance ends by itself now.
    pub(crate) fn new_dies(&mut self) {
        for instance in self.instances.values_mut().filter(|instance| instance.release == release("2")) {
            instance.program.dies_after = Some(Duration::ZERO);
        }
    }

    fn report(&self) -> BTreeMap<InstanceId, InstanceReport> {
        self.instances.iter().map(|(name, instance)| (name.clone(), instance.report())).collect()
    }

    /// The releases that get connections on the host now.
    pub(crate) fn serving(&self) -> Vec<&str> {
        let serves = |instance: &&Instance| !instance.share.is_hidden();
        self.instances.values().filter(serves).map(|instance| instance.release.version.as_str()).collect()
    }
}

impl Instance {
    fn live(&mut self, now: Timestamp) {
        let age = now.since(self.started);
        self.phase = if let Some(since) = self.draining_since {
            let gone = now.since(since) >= self.program.drains_in;
            if gone { InstancePhase::Exited } else { InstancePhase::Draining }
        } else if self.program.dies_after.is_some_and(|after| age >= after) {
            InstancePhase::GaveUp
        } else if self.program.ready_after.is_some_and(|after| age >= after) {
            InstancePhase::Ready
        } else {
            InstancePhase::Starting
        };
    }

    fn report(&self) -> InstanceReport {
        let ledger = DrainLedger { connections: 3, ..DrainLedger::default() };
        InstanceReport {
            service: self.release.service.clone(),
            release: self.release.clone(),
            phase: self.phase,
            share: self.share,
            pid: Some(7),
            restarts: self.restarts,
            connections: None,
            since: self.started,
            until: None,
            detail: if self.phase == InstancePhase::GaveUp {
                "exit code 1".to_owned()
            } else {
                String::new()
            },
            flip_nanos: None,
            ready_millis: None,
            ledger: (self.phase == InstancePhase::Exited).then_some(ledger),
            pin: None,
        }
    }
}

/// What the deployments of the tests are made with.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) hosts: usize,
    pub(crate) batch: u32,
    pub(crate) in_flight: u32,
    pub(crate) failures_allowed: u32,
    pub(crate) on_failure: OnFailure,
    pub(crate) offline: OfflinePolicy,
    pub(crate) bake: Duration,
    /// How long the old instances stand by afterwards.
    pub(crate) keep_warm: Duration,
    /// Whether the hosts run v1 already.
    pub(crate) replaces: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            hosts: 3,
            batch: 1,
            in_flight: 1,
            failures_allowed: 0,
            on_failure: OnFailure::RollBack,
            offline: OfflinePolicy::Skip,
            bake: secs(5),
            keep_warm: Duration::ZERO,
            replaces: true,
        }
    }
}

impl Settings {
    pub(crate) fn rolling(&self) -> Plan {
        rolling(&self.request(), Rolling { batch: BatchSize::Hosts(self.batch), bake: self.bake }).unwrap()
    }

    pub(crate) fn request(&self) -> PlanRequest {
        let fleet_host = |number| FleetHost {
            host: host(number),
            labels: Labels::new(),
            cordoned: false,
            online: true,
            runs: self.replaces.then(old_placement),
            gave_up: false,
            standby: None,
        };
        PlanRequest {
            service: "web".parse().unwrap(),
            release: release("2"),
            labels: Labels::new(),
            only: BTreeSet::new(),
            hosts: (1..=self.hosts).map(fleet_host).collect(),
            order_by: None,
            max_in_flight: Some(BatchSize::Hosts(self.in_flight)),
            failures_allowed: self.failures_allowed,
            on_failure: self.on_failure,
            offline: self.offline,
            ready_deadline: secs(60),
            flip_deadline: secs(20),
            retire_deadline: secs(40),
            keep_warm: self.keep_warm,
            force: false,
        }
    }
}

/// Hosts before a deployment.
pub(crate) struct Fleet {
    settings: Settings,
    pub(crate) agents: BTreeMap<HostName, Agent>,
    pub(crate) migrator: Migrator,
}

impl Fleet {
    pub(crate) fn of(settings: Settings) -> Self {
        let mut agents = BTreeMap::new();
        for number in 1..=settings.hosts {
            let mut agent = Agent {
                online: true,
                new_program: Program::GOOD,
                former_program: Program::GOOD,
                frozen: false,
                instances: BTreeMap::new(),
                order: Assignment::default(),
                revision: 0,
            };
            if settings.replaces {
                let placed = old_placement();
                agent.instances.insert(
                    placed.instance.clone(),
                    Instance {
                        release: placed.release.clone(),
                        program: Program::GOOD,
                        started: Timestamp::from_unix_millis(0),
                        phase: InstancePhase::Ready,
                        share: Share::ALL,
                        draining_since: None,
                        restarts: 0,
                    },
                );
                agent.order = Assignment(vec![placed]);
            }
            agents.insert(host(number), agent);
        }
        Self { settings, agents, migrator: Migrator::default() }
    }

    pub(crate) fn agent(&mut self, number: usize) -> &mut Agent {
        self.agents.get_mut(&host(number)).unwrap()
    }

    pub(crate) fn deploy(self) -> World {
        let plan = self.settings.rolling();
        self.run(&plan)
    }

    pub(crate) fn run(self, plan: &Plan) -> World {
        let now = Timestamp::from_unix_millis(1_000_000);
        let offline =
            self.agents.iter().filter(|(_, agent)| !agent.online).map(|(host, _)| host.clone()).collect();
        let (deployment, step) =
            Deployment::create(DeploymentId::new(2), plan, "ada", &offline, now).unwrap();
        let orders =
            self.agents.iter().map(|(host, agent)| (host.clone(), (agent.order.clone(), 0))).collect();
        let mut world = World {
            deployment,
            records: Vec::new(),
            now,
            agents: self.agents,
            migrator: self.migrator,
            orders,
            commands: Vec::new(),
            seen_ready: BTreeSet::new(),
        };
        world.take(step);
        world
    }
}

/// A report that was sent: the host, the revision that its agent worked on, and what it said.
pub(crate) type Sent = (HostName, u64, BTreeMap<InstanceId, InstanceReport>);

/// A fleet with a deployment: the server's side and the agents' side.
pub(crate) struct World {
    pub(crate) deployment: Deployment,
    /// The journal.
    pub(crate) records: Vec<Record>,
    pub(crate) now: Timestamp,
    pub(crate) agents: BTreeMap<HostName, Agent>,
    pub(crate) migrator: Migrator,
    /// The latest order for each host, with its revision.
    pub(crate) orders: BTreeMap<HostName, (Assignment, u64)>,
    /// Every assignment that was ordered, with where the host was then.
    pub(crate) commands: Vec<(HostName, Assignment, HostState)>,
    /// Instances that the engine was told to be ready.
    pub(crate) seen_ready: BTreeSet<(HostName, InstanceId)>,
}

impl World {
    /// The driver: durable first, then ordered.
    fn take(&mut self, step: Step) {
        self.records.extend(step.records);
        for command in step.commands {
            match command {
                Command::Assign { host, assignment } => {
                    self.order(&host, &assignment);
                    let state = self.deployment.host(&host).unwrap().state.clone();
                    self.commands.push((host, assignment, state));
                }
                Command::Migrate { order, .. } => self.migrator.order = order,
            }
        }
    }

    fn order(&mut self, host: &HostName, assignment: &Assignment) {
        let Some((order, revision)) = self.orders.get_mut(host) else { return };
        if order != assignment {
            *order = assignment.clone();
            *revision += 1;
        }
    }

    pub(crate) fn event(&mut self, event: Event) {
        if let Event::HostReported { host, instances, .. } = &event {
            let ready = instances.iter().filter(|(_, report)| report.phase == InstancePhase::Ready);
            self.seen_ready.extend(ready.map(|(instance, _)| (host.clone(), instance.clone())));
        }
        let step = self.deployment.on_event(event, self.now);
        self.take(step);
    }

    /// The server is killed after an event's records up to `kept` were written, before any command went out.
    pub(crate) fn crash_during(&mut self, event: Event, kept: usize) {
        if let Event::HostReported { host, instances, .. } = &event {
            let ready = instances.iter().filter(|(_, report)| report.phase == InstancePhase::Ready);
            self.seen_ready.extend(ready.map(|(instance, _)| (host.clone(), instance.clone())));
        }
        let step = self.deployment.on_event(event, self.now);
        self.records.extend(step.records.into_iter().take(kept));
        self.crash();
    }

    /// The server is killed and starts again: replay, then every order once more.
    pub(crate) fn crash(&mut self) {
        self.deployment = Deployment::replay(self.records.iter().cloned()).unwrap();
        for (host, assignment) in self.deployment.assignments() {
            self.order(&host, &assignment);
        }
        self.migrator.order = self.deployment.migration_order();
    }

    /// What a connected host would report now, and whether it is about the latest order.
    pub(crate) fn report_of(&mut self, host: &HostName) -> Option<Event> {
        let now = self.now;
        let (order, revision) = self.orders.get(host)?;
        let agent = self.agents.get_mut(host)?;
        agent.works_on(order, *revision);
        agent.live(now);
        agent.online.then(|| Event::HostReported {
            host: host.clone(),
            current: agent.revision == *revision,
            instances: agent.report(),
        })
    }

    /// What of a report must be kept to send it again later.
    pub(crate) fn to_be_repeated(&self, event: &Event) -> Option<Sent> {
        let Event::HostReported { host, instances, .. } = event else { return None };
        Some((host.clone(), self.agents.get(host)?.revision, instances.clone()))
    }

    /// Whether a report made under a revision would be about the latest order.
    pub(crate) fn is_current(&self, event: &Event, revision: u64) -> bool {
        let Event::HostReported { host, .. } = event else { return false };
        self.orders.get(host).is_some_and(|(_, latest)| *latest == revision)
    }

    pub(crate) fn report(&mut self, host: &HostName) {
        if let Some(event) = self.report_of(host) {
            self.event(event);
        }
    }

    pub(crate) fn disconnect(&mut self, host: &HostName) {
        self.agents.get_mut(host).unwrap().online = false;
        self.event(Event::HostDisconnected { host: host.clone() });
    }

    pub(crate) fn connect(&mut self, host: &HostName) {
        self.agents.get_mut(host).unwrap().online = true;
        self.event(Event::HostConnected { host: host.clone() });
    }

    pub(crate) fn remove(&mut self, host: &HostName) {
        self.agents.remove(host);
        self.orders.remove(host);
        self.event(Event::HostRemoved { host: host.clone() });
    }

    pub(crate) fn abort(&mut self) {
        self.event(Event::Abort { by: "ada".to_owned(), reason: "second thoughts".to_owned() });
    }

    pub(crate) fn pause(&mut self) {
        self.event(Event::Pause { by: "ada".to_owned(), reason: "lunch".to_owned() });
    }

    pub(crate) fn resume(&mut self) {
        self.event(Event::Resume { by: "bob".to_owned() });
    }

    /// Another attempt for these hosts; for all that can have one where none is named.
    pub(crate) fn retry(&mut self, numbers: &[usize]) {
        let hosts = numbers.iter().copied().map(host).collect();
        self.event(Event::Retry { by: "ada".to_owned(), hosts });
    }

    /// A verdict on the current stage, or on one so many before.
    pub(crate) fn judge(&mut self, before: u32, verdict: &Verdict) {
        let stage = self.deployment.stage().wrapping_sub(before);
        self.event(Event::Judged { stage, verdict: verdict.clone() });
    }

    pub(crate) fn phase(&self) -> Option<StagePhase> {
        match self.deployment.state() {
            DeploymentState::Running { phase, .. } => Some(*phase),
            DeploymentState::Planning
            | DeploymentState::Paused { .. }
            | DeploymentState::RollingBack { .. }
            | DeploymentState::Ended { .. } => None,
        }
    }

    /// The deployment after this one, on the same hosts.
    pub(crate) fn next(self, plan: &Plan) -> Self {
        let (deployment, step) =
            Deployment::create(DeploymentId::new(3), plan, "ada", &BTreeSet::new(), self.now).unwrap();
        let mut world = Self {
            deployment,
            records: Vec::new(),
            commands: Vec::new(),
            seen_ready: BTreeSet::new(),
            ..self
        };
        world.take(step);
        world
    }

    pub(crate) fn promote(&mut self) {
        self.event(Event::Promote { by: "eve".to_owned() });
    }

    /// Paused, or waiting to be promoted.
    pub(crate) fn waits_for_a_person(&self) -> bool {
        let approving = matches!(
            self.deployment.state(),
            DeploymentState::Running { phase: StagePhase::Approving { .. }, .. }
        );
        self.is_paused() || approving
    }

    /// One beat: time passes, agents work and report.
    pub(crate) fn beat(&mut self) {
        self.now = self.now + BEAT;
        let hosts: Vec<_> = self.agents.keys().cloned().collect();
        for host in &hosts {
            self.report(host);
        }
        if let Some(event) = self.migrator.live(self.now) {
            self.event(event);
        }
        self.event(Event::Tick);
    }

    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.beat();
        }
    }

    /// Beats until the condition holds; panics after ten simulated minutes.
    #[track_caller]
    pub(crate) fn run_until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let end = self.now + secs(600);
        while !holds(self) {
            assert!(self.now < end, "never: {what}; {:?}", self.deployment.waiting_on());
            self.beat();
        }
    }

    #[track_caller]
    pub(crate) fn run_to_the_end(&mut self) -> Outcome {
        self.run_until("the deployment ends", |world| world.deployment.outcome().is_some());
        self.deployment.outcome().unwrap().clone()
    }

    pub(crate) fn state(&self, number: usize) -> &'static str {
        self.deployment.host(&host(number)).unwrap().state.name()
    }

    pub(crate) fn failure(&self, number: usize) -> String {
        self.deployment.host(&host(number)).unwrap().failure.unwrap_or_default().to_owned()
    }

    pub(crate) fn ordered(&self, number: usize) -> Vec<(String, u16)> {
        let (order, _) = &self.orders[&host(number)];
        order.0.iter().map(|placed| (placed.instance.to_string(), placed.share.basis_points())).collect()
    }

    /// What each host gives connections to, one word each.
    pub(crate) fn serving(&self) -> Vec<String> {
        self.agents.values().map(|agent| agent.serving().join("+")).collect()
    }

    pub(crate) fn is_paused(&self) -> bool {
        matches!(self.deployment.state(), DeploymentState::Paused { .. })
    }
}
