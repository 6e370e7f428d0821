//! What a host's report means for where the host is.

use crate::{
    Deployment, DeploymentState, Former, HostState, deployment::Track, index::wanted_share, observed::Seen,
    record::clip,
};
use handover_model::{
    ConfirmationState, DrainLedger, Duration, HostName, InstanceId, InstancePhase, InstanceReport, Share,
    Timestamp,
};
use std::collections::BTreeMap;

/// What the engine reads from a report of the new instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// It answers its probes and never ended by itself.
    Ready,
    /// It is neither ready nor lost.
    NotYet,
    /// It ended by itself, fails its probes, or cannot be started.
    Failed,
}

/// One look is enough for a failure: an instance that was started again may look well now. But not one that stood by:
/// what it went through before does not count against going back to it.
pub(crate) fn health(report: &InstanceReport, stood_by: bool) -> Health {
    match report.phase {
        InstancePhase::Unhealthy
        | InstancePhase::BackingOff
        | InstancePhase::GaveUp
        | InstancePhase::Exited => Health::Failed,
        InstancePhase::Fetching
        | InstancePhase::Starting
        | InstancePhase::Ready
        | InstancePhase::Draining
        | InstancePhase::Stopping
            if report.restarts > 0 && !stood_by =>
        {
            Health::Failed
        }
        InstancePhase::Ready => Health::Ready,
        InstancePhase::Fetching
        | InstancePhase::Starting
        | InstancePhase::Draining
        | InstancePhase::Stopping => Health::NotYet,
    }
}

/// The failure of an instance in an operator's words, with what its agent says.
pub(crate) fn failure_of(instance: &InstanceId, report: &InstanceReport) -> String {
    // What the agent says of an end by itself is a sentence about the instance, and tells more than the phase.
    let tells_all = matches!(report.phase, InstancePhase::BackingOff | InstancePhase::Exited);
    if tells_all && !report.detail.is_empty() {
        return format!("{instance}: {}", report.detail);
    }
    let what = match report.phase {
        InstancePhase::Unhealthy => "fails its liveness probes",
        InstancePhase::GaveUp => "cannot be kept running",
        InstancePhase::BackingOff | InstancePhase::Exited => "ended by itself",
        InstancePhase::Fetching
        | InstancePhase::Starting
        | InstancePhase::Ready
        | InstancePhase::Draining
        | InstancePhase::Stopping => "ended by itself and was started again",
    };
    with_detail(format!("{instance} {what}"), &report.detail)
}

/// Puts what the agent said behind a sentence.
pub(crate) fn with_detail(sentence: String, detail: &str) -> String {
    if detail.is_empty() { sentence } else { format!("{sentence}: {detail}") }
}

impl Seen {
    /// The instance's report, where the host works on the order that stands.
    pub(crate) fn now(&self, instance: &InstanceId) -> Option<&InstanceReport> {
        self.instances.get(instance).filter(|_| self.current)
    }

    /// Whether the instance is known to be gone.
    pub(crate) fn is_gone(&self, instance: &InstanceId) -> bool {
        self.current
            && self.instances.get(instance).is_none_or(|report| match report.phase {
                InstancePhase::Exited => true,
                InstancePhase::Fetching
                | InstancePhase::Starting
                | InstancePhase::Ready
                | InstancePhase::Unhealthy
                | InstancePhase::BackingOff
                | InstancePhase::GaveUp
                | InstancePhase::Draining
                | InstancePhase::Stopping => false,
            })
    }

    /// Whether the instance is ready and has exactly that share in the kernel.
    pub(crate) fn serves(&self, instance: &InstanceId, share: Share) -> bool {
        self.now(instance).is_some_and(|report| report.phase == InstancePhase::Ready && report.share == share)
    }

    /// Whether the flip to what is ordered stands: it is confirmed, or needs not be.
    pub(crate) fn stands(&self) -> bool {
        match self.confirmation {
            None | Some(ConfirmationState::Given) => true,
            Some(ConfirmationState::Awaited { .. } | ConfirmationState::Missed { .. }) => false,
        }
    }

    /// Whether the instance gets no more than that share: a missing one gets none.
    pub(crate) fn has_at_most(&self, instance: &InstanceId, share: Share) -> bool {
        self.current && self.instances.get(instance).is_none_or(|report| report.share <= share)
    }
}

impl Deployment {
    /// Whether the new instance on a host is known to have just the share that it should, and to be well.
    pub(crate) fn bakes_well(&self, host: &HostName) -> bool {
        let Some((track, seen)) = self.facts.tracks.get(host).zip(self.observed.seen(host)) else {
            return false;
        };
        seen.online == Some(true) && self.new_is_well(track, seen)
    }

    /// Whether the report shows the new instance ready, never restarted, with its ordered share in the kernel, and
    /// the old one with no more than the rest.
    pub(crate) fn new_is_well(&self, track: &Track, seen: &Seen) -> bool {
        let new = self.new_of(track);
        let Some(ordered) = self.order(track) else { return false };
        let Some(share) = ordered.0.iter().find(|placed| placed.instance == *new).map(|placed| placed.share)
        else {
            return false;
        };
        let others = ordered.0.iter().filter(|placed| placed.instance != *new);
        seen.stands()
            && seen.serves(new, share)
            && seen.now(new).is_some_and(|report| health(report, track.standby.is_some()) == Health::Ready)
            && others.into_iter().all(|placed| seen.has_at_most(&placed.instance, placed.share))
    }
}

/// What follows for one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It comes into another state.
    Move(HostState),
    /// It failed and goes back.
    Fail(String),
}

impl Deployment {
    /// The instances of a report that concern the deployment; `None` where the host does not.
    pub(crate) fn relevant(
        &self,
        host: &HostName,
        mut instances: BTreeMap<InstanceId, InstanceReport>,
    ) -> Option<BTreeMap<InstanceId, InstanceReport>> {
        let track = self.facts.tracks.get(host)?;
        let from = track.from.as_ref().map(|from| &from.instance);
        let (new, again) = (self.new_of(track), &self.names_of(track).again);
        instances.retain(|instance, _| instance == new || instance == again || Some(instance) == from);
        Some(instances)
    }

    /// What a host's last report means for it.
    pub(crate) fn read_report(&self, host: &HostName, now: Timestamp) -> Option<Decision> {
        let (track, seen) = self.facts.tracks.get(host).zip(self.observed.seen(host))?;
        let new = self.new_of(track);
        let policy = &self.facts.plan.policy;
        let failed = || {
            let stood_by = track.standby.is_some();
            let report =
                seen.instances.get(new).filter(|report| health(report, stood_by) == Health::Failed)?;
            Some(Decision::Fail(format!("{host}: {}", failure_of(new, report))))
        };
        // The host went back by itself.
        let undone = || match &seen.confirmation {
            Some(ConfirmationState::Missed { reason }) => Some(Decision::Fail(format!("{host}: {reason}"))),
            Some(ConfirmationState::Awaited { .. } | ConfirmationState::Given) | None => None,
        };
        match &track.state {
            HostState::Pending
            | HostState::Offline { .. }
            | HostState::Skipped { .. }
            | HostState::Removed { .. }
            | HostState::Returned { .. } => None,
            HostState::Starting { .. } => failed().or_else(|| self.after_start(track, seen, now)),
            HostState::Shifting { share, .. } => failed().or_else(undone).or_else(|| {
                let to = HostState::Baking { since: now, share: *share };
                self.new_is_well(track, seen).then_some(Decision::Move(to))
            }),
            HostState::Baking { .. } => failed().or_else(undone),
            HostState::Done { .. } => failed(),
            HostState::Retiring { .. } => failed().or_else(|| {
                let old = &track.from.as_ref()?.instance;
                let ledger = seen.ledger(old);
                let to = HostState::Done { at: now, ledger, note: String::new(), standby: false };
                seen.is_gone(old).then_some(Decision::Move(to))
            }),
            HostState::Restarting { .. } => {
                let former = self.former_of(track)?.instance;
                let report = seen.now(&former)?;
                match report.phase {
                    InstancePhase::Ready => Some(Decision::Move(HostState::ShiftingBack {
                        since: now,
                        until: now + policy.flip_deadline,
                        former: Former::StartedAgain,
                    })),
                    InstancePhase::GaveUp => {
                        let reason = failure_of(&former, report);
                        Some(stuck(now, Former::StartedAgain, &reason))
                    }
                    InstancePhase::Fetching
                    | InstancePhase::Starting
                    | InstancePhase::Unhealthy
                    | InstancePhase::BackingOff
                    | InstancePhase::Draining
                    | InstancePhase::Stopping
                    | InstancePhase::Exited => None,
                }
            }
            HostState::ShiftingBack { former, .. } => {
                let old = self.former_of(track)?.instance;
                let back = seen.serves(&old, Share::ALL) && seen.has_at_most(new, Share::HIDDEN);
                let until = now + policy.retire_deadline;
                let to = if self.stands_by_again(track) {
                    let note = String::new();
                    HostState::Returned { at: now, former: *former, ledger: None, note, standby: true }
                } else {
                    HostState::RetiringNew { since: now, until, former: *former }
                };
                back.then_some(Decision::Move(to))
            }
            HostState::RetiringNew { former, .. } => {
                let (former, ledger) = (*former, seen.ledger(new));
                let to = HostState::Returned { at: now, former, ledger, note: String::new(), standby: false };
                seen.is_gone(new).then_some(Decision::Move(to))
            }
            // Also on time as long as the deployment goes on.
            HostState::Stuck { former, .. } => {
                let serves = self.former_of(track).is_none_or(|old| seen.serves(&old.instance, Share::ALL));
                let (former, ledger) = (*former, seen.ledger(new));
                let note = "after its deadline".to_owned();
                let to = HostState::Returned { at: now, former, ledger, note, standby: false };
                (serves && seen.is_gone(new)).then_some(Decision::Move(to))
            }
        }
    }

    /// Whether the new instance, which stood by before, does so again once the host is back: the plan wanted it back, and
    /// nothing is wrong with it.
    fn stands_by_again(&self, track: &Track) -> bool {
        let stages = &self.facts.plan.stages;
        let last = stages.get(usize::try_from(track.last_stage).unwrap_or(usize::MAX));
        track.standby.is_some() && track.failure.is_none() && last.is_some_and(|stage| stage.returns)
    }

    /// The new instance is ready: it gets its share, but not while a person is asked.
    fn after_start(&self, track: &Track, seen: &Seen, now: Timestamp) -> Option<Decision> {
        let well = |report: &InstanceReport| health(report, track.standby.is_some()) == Health::Ready;
        let ready = seen.now(self.new_of(track)).is_some_and(well);
        let share = match &self.facts.state {
            DeploymentState::Running { .. } => wanted_share(track, &self.facts.plan),
            DeploymentState::Planning
            | DeploymentState::Paused { .. }
            | DeploymentState::RollingBack { .. }
            | DeploymentState::Ended { .. } => Share::HIDDEN,
        };
        let to = if share.is_hidden() {
            HostState::Baking { since: now, share }
        } else {
            HostState::Shifting { since: now, until: self.flips_until(track, now), share }
        };
        ready.then_some(Decision::Move(to))
    }

    /// What it means that a host's deadline passed.
    pub(crate) fn read_deadline(&self, host: &HostName, now: Timestamp) -> Option<Decision> {
        let track = self.facts.tracks.get(host)?;
        let new = self.new_of(track);
        let policy = &self.facts.plan.policy;
        let fail = |what: String| Some(Decision::Fail(format!("{host}: {what}")));
        match &track.state {
            HostState::Pending
            | HostState::Baking { .. }
            | HostState::Done { .. }
            | HostState::Skipped { .. }
            | HostState::Removed { .. }
            | HostState::Returned { .. }
            | HostState::Stuck { .. } => None,
            HostState::Offline { since, .. } => {
                fail(format!("still offline after {}", seconds(now.since(*since))))
            }
            HostState::Starting { since, .. } => {
                let what = format!("{new} was not ready within {}", seconds(now.since(*since)));
                fail(with_detail(what, &self.obstacle(host, new)))
            }
            HostState::Shifting { since, share, .. } => {
                let what =
                    format!("{new} did not get its share of {share} within {}", seconds(now.since(*since)));
                fail(with_detail(what, &self.obstacle(host, new)))
            }
            HostState::Retiring { .. } => {
                let old = track.from.as_ref().map(|from| from.instance.clone())?;
                let note = self.still_there(host, &old);
                Some(Decision::Move(HostState::Done { at: now, ledger: None, note, standby: false }))
            }
            HostState::Restarting { .. } => {
                let former = self.former_of(track)?.instance;
                let what = format!("{former} was not ready again within {}", seconds(policy.ready_deadline));
                Some(stuck(now, Former::StartedAgain, &with_detail(what, &self.obstacle(host, &former))))
            }
            HostState::ShiftingBack { former, .. } => {
                let old = self.former_of(track)?.instance;
                let what = format!("{old} was not seen to have all connections again within its deadline");
                Some(stuck(now, *former, &with_detail(what, &self.obstacle(host, &old))))
            }
            HostState::RetiringNew { former, .. } => {
                let note = self.still_there(host, new);
                // With a former instance the connections are back already. Without one only a drain can be trusted.
                let draining = self.observed.seen(host).and_then(|seen| seen.now(new)).is_some_and(leaves);
                Some(if track.from.is_some() || draining {
                    let (former, ledger) = (*former, None);
                    Decision::Move(HostState::Returned { at: now, former, ledger, note, standby: false })
                } else {
                    stuck(now, *former, &note)
                })
            }
        }
    }

    /// Where a host goes from here when the deployment, or the host alone, goes back. `None`: nowhere.
    pub(crate) fn way_back(&self, host: &HostName, now: Timestamp) -> Option<HostState> {
        let track = self.facts.tracks.get(host)?;
        let policy = &self.facts.plan.policy;
        let had_one = track.from.is_some();
        let retire =
            HostState::RetiringNew { since: now, until: now + policy.retire_deadline, former: Former::Kept };
        match &track.state {
            HostState::Pending | HostState::Offline { .. } => {
                let failure = track.failure.clone();
                let reason = failure.unwrap_or_else(|| "the deployment went back before its turn".to_owned());
                Some(HostState::Skipped { reason })
            }
            // The new one has no share yet.
            HostState::Starting { .. } | HostState::Baking { share: Share::HIDDEN, .. } => Some(retire),
            // Nothing else could take its share.
            HostState::Shifting { .. }
            | HostState::Baking { .. }
            | HostState::Retiring { .. }
            | HostState::Done { .. }
                if !had_one =>
            {
                Some(retire)
            }
            HostState::Shifting { .. } | HostState::Baking { .. } | HostState::Done { standby: true, .. } => {
                Some(HostState::ShiftingBack {
                    since: now,
                    until: now + policy.flip_deadline,
                    former: Former::Kept,
                })
            }
            HostState::Retiring { .. } | HostState::Done { .. } => {
                Some(HostState::Restarting { since: now, until: now + policy.ready_deadline })
            }
            HostState::Skipped { .. }
            | HostState::Removed { .. }
            | HostState::Restarting { .. }
            | HostState::ShiftingBack { .. }
            | HostState::RetiringNew { .. }
            | HostState::Returned { .. }
            | HostState::Stuck { .. } => None,
        }
    }

    /// Why a host failed that was not shown to be well when its bake ended.
    pub(crate) fn silent_at_bake(&self, host: &HostName) -> String {
        let Some(track) = self.facts.tracks.get(host) else { return String::new() };
        let new = self.new_of(track);
        let what = format!("{host}: {new} was not seen to be well at the end of the bake");
        with_detail(what, &self.obstacle(host, new))
    }

    /// What is known about why an instance is not where it should be.
    fn obstacle(&self, host: &HostName, instance: &InstanceId) -> String {
        let report = self.observed.instance(host, instance);
        let said =
            report.map(|report| with_detail(format!("it is {}", phase_name(report.phase)), &report.detail));
        match (self.observed.online(host), said) {
            (Some(false), Some(said)) => format!("the host is offline; before that {said}"),
            (Some(false), None) => "the host is offline".to_owned(),
            (Some(true) | None, Some(said)) => said,
            (Some(true) | None, None) => "the host has not reported it".to_owned(),
        }
    }

    fn still_there(&self, host: &HostName, instance: &InstanceId) -> String {
        let what = format!("{instance} was not seen to end within its deadline");
        clip(&with_detail(what, &self.obstacle(host, instance)))
    }
}

impl Seen {
    fn ledger(&self, instance: &InstanceId) -> Option<DrainLedger> {
        self.instances.get(instance)?.ledger
    }
}

fn stuck(at: Timestamp, former: Former, reason: &str) -> Decision {
    Decision::Move(HostState::Stuck { at, former, reason: clip(reason) })
}

/// Whether an instance is on its way out.
fn leaves(report: &InstanceReport) -> bool {
    match report.phase {
        InstancePhase::Draining | InstancePhase::Stopping | InstancePhase::Exited => true,
        InstancePhase::Fetching
        | InstancePhase::Starting
        | InstancePhase::Ready
        | InstancePhase::Unhealthy
        | InstancePhase::BackingOff
        | InstancePhase::GaveUp => false,
    }
}

/// An instance's phase as a word in a sentence.
pub(crate) fn phase_name(phase: InstancePhase) -> &'static str {
    match phase {
        InstancePhase::Fetching => "fetching its bundle",
        InstancePhase::Starting => "starting",
        InstancePhase::Ready => "ready",
        InstancePhase::Unhealthy => "unhealthy",
        InstancePhase::BackingOff => "waiting to be started again",
        InstancePhase::GaveUp => "given up",
        InstancePhase::Draining => "draining",
        InstancePhase::Stopping => "being stopped",
        InstancePhase::Exited => "gone",
    }
}

/// A length of time for people: `250ms`, `1.5s`, `10m`.
pub(crate) fn seconds(time: Duration) -> String {
    match time.as_millis() {
        millis if millis < 1_000 => format!("{millis}ms"),
        millis if millis < 120_000 && millis % 1_000 >= 100 => {
            format!("{}.{}s", millis / 1_000, millis % 1_000 / 100)
        }
        millis if millis < 120_000 => format!("{}s", millis / 1_000),
        millis => format!("{}m", millis / 60_000),
    }
}
