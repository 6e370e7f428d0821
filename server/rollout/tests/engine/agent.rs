//! A simulated agent, and the programs that it runs.

use crate::names::{instance, release, secs};
use handover_model::{
    ConfirmationState, DrainLedger, Duration, InstanceId, InstancePhase, InstanceReport, ReleaseRef, Share,
    Timestamp,
};
use handover_rollout::{Assignment, FlipSeen, Moment, Placement};
use std::collections::BTreeMap;

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
    /// Whether no confirmation reaches it.
    pub(crate) deaf: bool,
    instances: BTreeMap<InstanceId, Instance>,
    /// What it works on, and under which revision.
    order: Assignment,
    pub(crate) revision: u64,
    /// That the flip to it is to be confirmed: for which order, and how soon.
    confirm: Option<(u64, Duration)>,
    pub(crate) asked: Option<Asked>,
    flipped_at: Option<Timestamp>,
}

/// A flip that asked for confirmation.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) order: u64,
    former: BTreeMap<InstanceId, Share>,
    within: Duration,
    pub(crate) state: ConfirmationState,
}

impl Agent {
    /// An agent whose host runs what is placed there, ready and with everything.
    pub(crate) fn running(placed: Option<Placement>) -> Self {
        let runs = |placed: &Placement| Instance {
            release: placed.release.clone(),
            program: Program::GOOD,
            started: Timestamp::from_unix_millis(0),
            phase: InstancePhase::Ready,
            share: Share::ALL,
            draining_since: None,
            restarts: 0,
        };
        Self {
            online: true,
            new_program: Program::GOOD,
            former_program: Program::GOOD,
            frozen: false,
            deaf: false,
            instances: placed.iter().map(|placed| (placed.instance.clone(), runs(placed))).collect(),
            order: Assignment(placed.into_iter().collect()),
            revision: 0,
            confirm: None,
            asked: None,
            flipped_at: None,
        }
    }

    /// What it works on.
    pub(crate) fn order(&self) -> &Assignment {
        &self.order
    }

    pub(crate) fn works_on(&mut self, order: &Assignment, revision: u64, confirm: Option<(u64, Duration)>) {
        if self.online && !self.frozen {
            self.order = order.clone();
            self.revision = revision;
            self.confirm = confirm;
            let number = confirm.map(|(number, _)| number);
            self.asked = self.asked.take().filter(|asked| Some(asked.order) == number);
        }
    }

    /// Time passes on the host; it goes on without the server.
    pub(crate) fn live(&mut self, now: Timestamp) {
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
        if self.missed(now) {
            return;
        }
        let ready = |placed: &Placement| self.instances[&placed.instance].phase == InstancePhase::Ready;
        if self.order.0.iter().filter(|placed| !placed.share.is_hidden()).all(ready) {
            self.flip_and_retire(now);
        }
    }

    /// Whether a flip was not confirmed in time: then it goes back, where who had the shares is ready.
    fn missed(&mut self, now: Timestamp) -> bool {
        let Some(asked) = &mut self.asked else { return false };
        if let ConfirmationState::Awaited { until } = asked.state
            && now >= until
        {
            let reason = format!("undone: the flip was not confirmed within {:?}", asked.within);
            asked.state = ConfirmationState::Missed { reason };
        }
        if !matches!(asked.state, ConfirmationState::Missed { .. }) {
            return false;
        }
        if asked.former.keys().all(|former| self.instances[former].phase == InstancePhase::Ready) {
            for (name, instance) in &mut self.instances {
                instance.share = asked.former.get(name).copied().unwrap_or(Share::HIDDEN);
            }
        }
        true
    }

    /// Writes down a flip that is to be confirmed, before it is made.
    fn ask(&mut self, now: Timestamp) {
        let Some((order, within)) = self.confirm.filter(|_| self.asked.is_none()) else { return };
        let has = |name: &InstanceId| self.instances[name].share;
        let raises = self.order.0.iter().any(|placed| placed.share > has(&placed.instance));
        let former: BTreeMap<_, _> = self
            .instances
            .iter()
            .filter(|(_, instance)| !instance.share.is_hidden())
            .map(|(name, instance)| (name.clone(), instance.share))
            .collect();
        if raises && !former.is_empty() {
            let state = ConfirmationState::Awaited { until: now + within };
            self.asked = Some(Asked { order, former, within, state });
        }
    }

    /// Whether its last flip was not confirmed in time.
    pub(crate) fn has_undone(&self) -> bool {
        self.asked.as_ref().is_some_and(|asked| matches!(asked.state, ConfirmationState::Missed { .. }))
    }

    /// A confirmation comes.
    pub(crate) fn confirmed(&mut self, order: u64) {
        if let Some(asked) = self.asked.as_mut().filter(|asked| asked.order == order && self.online)
            && matches!(asked.state, ConfirmationState::Awaited { .. })
            && !self.deaf
        {
            asked.state = ConfirmationState::Given;
        }
    }

    pub(crate) fn flip_seen(&self) -> FlipSeen {
        let at = self.flipped_at.map(|at| Duration::from_millis(at.unix_millis()));
        let moment = at.map(|at| Moment { earliest: at, latest: at + Duration::from_millis(1) });
        FlipSeen { confirmation: self.asked.as_ref().map(|asked| asked.state.clone()), moment }
    }

    fn flip_and_retire(&mut self, now: Timestamp) {
        self.ask(now);
        let before: Vec<Share> = self.instances.values().map(|instance| instance.share).collect();
        self.set_shares(now);
        if self.instances.values().map(|instance| instance.share).ne(before) {
            self.flipped_at = Some(now);
        }
    }

    fn set_shares(&mut self, now: Timestamp) {
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

    pub(crate) fn report(&self) -> BTreeMap<InstanceId, InstanceReport> {
        self.instances.iter().map(|(name, instance)| (name.clone(), instance.report())).collect()
    }

    /// Whether nobody who connects now is lost: every instance that gets connections is ready, and there is one.
    pub(crate) fn is_served(&self) -> bool {
        let mut serving = self.instances.values().filter(|instance| !instance.share.is_hidden()).peekable();
        serving.peek().is_some() && serving.all(|instance| instance.phase == InstancePhase::Ready)
    }

    /// Whether an instance that gets connections has ended by itself.
    pub(crate) fn has_lost_one(&self) -> bool {
        let lost = |instance: &Instance| instance.phase == InstancePhase::GaveUp;
        self.instances.values().any(|instance| !instance.share.is_hidden() && lost(instance))
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
            unready_probes: None,
            unserved: None,
            ledger: (self.phase == InstancePhase::Exited).then_some(ledger),
            pin: None,
        }
    }
}
