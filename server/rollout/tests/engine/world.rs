//! A simulated fleet with a deployment: agents that make orders true, as the real ones do, and a server that can crash.

use crate::{
    agent::Agent,
    migrator::Migrator,
    names::{host, secs},
};
use handover_model::{
    ConfirmationState, DeploymentId, Duration, HostName, InstanceId, InstancePhase, InstanceReport, Timestamp,
};
use handover_rollout::{
    Assignment, Command, Deployment, DeploymentState, Event, FlipSeen, HostState, Outcome, Plan, Record,
    StagePhase, Step, Verdict,
};
use std::collections::{BTreeMap, BTreeSet};

/// How often agents look around and report.
pub(crate) const BEAT: Duration = Duration::from_millis(500);

/// A report that was sent.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) host: HostName,
    /// The revision that its agent worked on.
    pub(crate) revision: u64,
    pub(crate) instances: BTreeMap<InstanceId, InstanceReport>,
    flip: FlipSeen,
    /// The order that its flip was confirmed for, or was to be.
    order: Option<u64>,
}

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
    /// Of the orders whose flip has to be confirmed: the number of the order, and how soon.
    pub(crate) confirms: BTreeMap<HostName, (u64, Duration)>,
    /// Orders of which the engine was told that the flip to them stands.
    pub(crate) standing: BTreeSet<(HostName, u64)>,
    /// Every assignment that was ordered, with where the host was then.
    pub(crate) commands: Vec<(HostName, Assignment, HostState)>,
    /// Instances that the engine was told to be ready.
    pub(crate) seen_ready: BTreeSet<(HostName, InstanceId)>,
}

impl World {
    /// The driver: durable first, then ordered.
    pub(crate) fn take(&mut self, step: Step) {
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
            match self.deployment.confirmation(host) {
                Some(within) => drop(self.confirms.insert(host.clone(), (*revision, within))),
                None => drop(self.confirms.remove(host)),
            }
        }
    }

    pub(crate) fn event(&mut self, event: Event) {
        if let Event::HostReported { host, instances, .. } = &event {
            let ready = instances.iter().filter(|(_, report)| report.phase == InstancePhase::Ready);
            self.seen_ready.extend(ready.map(|(instance, _)| (host.clone(), instance.clone())));
        }
        self.note_standing(&event);
        let reported = match &event {
            Event::HostReported { host, flip, .. } => Some((host.clone(), flip.confirmation.clone())),
            _another => None,
        };
        let step = self.deployment.on_event(event, self.now);
        self.take(step);
        // What was told of is confirmed, where it is still ordered.
        if let Some((host, Some(ConfirmationState::Awaited { .. }))) = reported
            && let Some((order, _)) = self.confirms.get(&host)
            && let Some(agent) = self.agents.get_mut(&host)
        {
            agent.confirmed(*order);
        }
    }

    fn note_standing(&mut self, event: &Event) {
        let Event::HostReported { host, flip, .. } = event else { return };
        let stands = matches!(flip.confirmation, None | Some(ConfirmationState::Given));
        if let Some((order, _)) = self.confirms.get(host).filter(|_| stands) {
            self.standing.insert((host.clone(), *order));
        }
    }

    /// The number of the order that a host's flip has to be confirmed for.
    pub(crate) fn to_confirm(&self, host: &HostName) -> Option<u64> {
        self.confirms.get(host).map(|(order, _)| *order)
    }

    /// A report that was sent before, as it comes now.
    pub(crate) fn once_more(&self, sent: Sent) -> Event {
        let Sent { host, revision, instances, mut flip, order } = sent;
        let current = self.orders.get(&host).is_some_and(|(_, latest)| *latest == revision);
        if order.is_none() || order != self.to_confirm(&host) {
            flip.confirmation = None;
        }
        flip.moment = flip.moment.filter(|_| current);
        Event::HostReported { host, current, instances, flip }
    }

    /// The server is killed after an event's records up to `kept` were written, before any command went out.
    pub(crate) fn crash_during(&mut self, event: Event, kept: usize) {
        self.note_standing(&event);
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
        let to_confirm = self.confirms.get(host).copied();
        agent.works_on(order, *revision, to_confirm);
        agent.live(now);
        let current = agent.revision == *revision;
        let mut flip = agent.flip_seen();
        if agent.asked.as_ref().map(|asked| asked.order) != to_confirm.map(|(order, _)| order) {
            flip.confirmation = None;
        }
        flip.moment = flip.moment.filter(|_| current);
        agent.online.then(|| Event::HostReported {
            host: host.clone(),
            current,
            instances: agent.report(),
            flip,
        })
    }

    /// What of a report must be kept to send it again later.
    pub(crate) fn to_be_repeated(&self, event: &Event) -> Option<Sent> {
        let Event::HostReported { host, instances, flip, .. } = event else { return None };
        let agent = self.agents.get(host)?;
        Some(Sent {
            host: host.clone(),
            revision: agent.revision,
            instances: instances.clone(),
            flip: flip.clone(),
            order: agent.asked.as_ref().map(|asked| asked.order),
        })
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
