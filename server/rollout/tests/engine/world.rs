//! A simulated fleet with a deployment: agents that make orders true, as the real ones do, and a server that can crash.

use crate::{
    agent::Agent,
    names::{host, secs},
};
use handover_model::{
    DeploymentId, Duration, HostName, InstanceId, InstancePhase, InstanceReport, Timestamp,
};
use handover_rollout::{
    Assignment, Command, Deployment, DeploymentState, Event, HostState, Outcome, Plan, Record, StagePhase,
    Step, Verdict,
};
use std::collections::{BTreeMap, BTreeSet};

/// How often agents look around and report.
pub(crate) const BEAT: Duration = Duration::from_millis(500);

/// A report that was sent: the host, the revision that its agent worked on, and what it said.
pub(crate) type Sent = (HostName, u64, BTreeMap<InstanceId, InstanceReport>);

/// A fleet with a deployment: the server's side and the agents' side.
pub(crate) struct World {
    pub(crate) deployment: Deployment,
    /// The journal.
    pub(crate) records: Vec<Record>,
    pub(crate) now: Timestamp,
    pub(crate) agents: BTreeMap<HostName, Agent>,
    /// The latest order for each host, with its revision.
    pub(crate) orders: BTreeMap<HostName, (Assignment, u64)>,
    /// Every command, with where the host was when it was given.
    pub(crate) commands: Vec<(Command, HostState)>,
    /// Instances that the engine was told to be ready.
    pub(crate) seen_ready: BTreeSet<(HostName, InstanceId)>,
}

impl World {
    /// The driver: durable first, then ordered.
    pub(crate) fn take(&mut self, step: Step) {
        self.records.extend(step.records);
        for command in step.commands {
            let Command::Assign { host, assignment } = &command;
            self.order(&host.clone(), &assignment.clone());
            let state = self.deployment.host(host).unwrap().state.clone();
            self.commands.push((command, state));
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
