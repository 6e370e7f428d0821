//! What is remembered of a rehearsal.

use handover_model::{
    DrainLedger, HostName, InstanceId, InstanceReport, ServiceName, Timestamp, Traffic, Version,
};
use handover_rollout::{Deployment, HostState, Plan, PlannedHost, Record};
use serde::{Deserialize, Serialize};

/// There and back on one host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RehearsalRecord {
    /// Of which service.
    pub service: ServiceName,
    /// Where.
    pub host: HostName,
    /// What the host ran before, and afterwards.
    pub from: Version,
    /// What it ran in between.
    pub to: Version,
    /// Who asked for it.
    pub by: String,
    /// When it began.
    pub began: Timestamp,
    /// The flip to the release; `None` where it did not come to it.
    pub forward: Option<FlipRecord>,
    /// And the one back.
    pub back: Option<FlipRecord>,
    /// What became of the connections that the release had, where its agent told.
    pub ledger: Option<DrainLedger>,
    /// When it ended; `None` while it goes on.
    pub ended: Option<Timestamp>,
    /// Why it failed; empty where it did not.
    pub reason: String,
    /// Whether its host failed: the release did not get ready, or was not well. Not so where a person ended it.
    #[serde(default)]
    pub not_well: bool,
    /// Whether the release's instance was started for it.
    started: bool,
    /// What the release's instance had counted when the flip to it was ordered; `None` where it was not measured.
    before: Option<Answered>,
    /// What it had counted when it was measured last.
    last: Option<Answered>,
}

/// One flip of a rehearsal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlipRecord {
    /// When it was ordered, by the server's clock.
    pub ordered: Timestamp,
    /// When the host's report of it had come, by the same clock.
    pub reported: Option<Timestamp>,
    /// How long the agent took to set the kernel's switch, in nanoseconds.
    pub nanos: Option<u64>,
}

/// Requests that were answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Answered {
    /// All.
    pub requests: u64,
    /// Those of them that are errors.
    pub bad: u64,
}

impl Answered {
    pub(super) const fn of(traffic: &Traffic) -> Self {
        Self { requests: traffic.requests, bad: traffic.bad }
    }

    const fn since(self, before: Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(before.requests),
            bad: self.bad.saturating_sub(before.bad),
        }
    }
}

impl FlipRecord {
    const fn ordered(at: Timestamp) -> Self {
        Self { ordered: at, reported: None, nanos: None }
    }

    fn seen(flip: &mut Option<Self>, at: Timestamp, nanos: Option<u64>) {
        if let Some(flip) = flip.as_mut().filter(|flip| flip.reported.is_none()) {
            (flip.reported, flip.nanos) = (Some(at), nanos);
        }
    }
}

/// How long the agents took for their last flips.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Took {
    /// Of the release's instance.
    new: Option<u64>,
    /// Of the former one's.
    old: Option<u64>,
}

impl Took {
    pub(super) fn of(engine: &Deployment, host: &HostName) -> Self {
        let view = engine.host(host);
        let nanos = |seen: Option<(&InstanceId, &InstanceReport)>| seen?.1.flip_nanos;
        Self {
            new: view.as_ref().and_then(|view| nanos(view.new_instance)),
            old: view.as_ref().and_then(|view| nanos(view.old_instance)),
        }
    }
}

impl RehearsalRecord {
    /// One that begins.
    pub(super) fn begun(
        plan: &Plan,
        planned: &PlannedHost,
        from: &Version,
        by: &str,
        now: Timestamp,
    ) -> Self {
        Self {
            service: plan.service.clone(),
            host: planned.host.clone(),
            from: from.clone(),
            to: plan.release.version.clone(),
            by: by.to_owned(),
            began: now,
            forward: None,
            back: None,
            ledger: None,
            ended: None,
            reason: String::new(),
            not_well: false,
            started: planned.standby.is_none(),
            before: None,
            last: None,
        }
    }

    /// Whether it showed that the way there and back works.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.ended.is_some() && self.reason.is_empty()
    }

    /// What the release answered, as measured last; `None` where it was not measured.
    #[must_use]
    pub fn answered(&self) -> Option<Answered> {
        self.forward.as_ref()?;
        let before = self.before.or_else(|| self.started.then(Answered::default))?;
        Some(self.last?.since(before))
    }

    /// The release's instance was measured.
    pub(super) fn count(&mut self, answered: Answered) {
        // An instance that ran before has counted before.
        if self.forward.is_none() || (self.before.is_none() && !self.started) {
            self.before = Some(answered);
        }
        self.last = Some(answered);
    }

    /// Takes a record of its deployment in. False where it says nothing new of it.
    pub(super) fn note(&mut self, record: &Record, took: Took) -> bool {
        let (to, at) = match record {
            Record::HostMoved { to, at, .. } => (to, at),
            Record::HostFailed { .. } => return !std::mem::replace(&mut self.not_well, true),
            _ => return false,
        };
        match to {
            HostState::Shifting { .. } => self.forward = Some(FlipRecord::ordered(*at)),
            HostState::Baking { .. } => FlipRecord::seen(&mut self.forward, *at, took.new),
            HostState::ShiftingBack { .. } => self.back = Some(FlipRecord::ordered(*at)),
            HostState::RetiringNew { .. } => FlipRecord::seen(&mut self.back, *at, took.old),
            HostState::Returned { ledger, .. } => {
                FlipRecord::seen(&mut self.back, *at, took.old);
                self.ledger = *ledger;
            }
            HostState::Pending
            | HostState::Offline { .. }
            | HostState::Starting { .. }
            | HostState::Retiring { .. }
            | HostState::Done { .. }
            | HostState::Skipped { .. }
            | HostState::Removed { .. }
            | HostState::Restarting { .. }
            | HostState::Stuck { .. } => return false,
        }
        true
    }
}
