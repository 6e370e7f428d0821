//! What an operator changes while a deployment goes on: pausing it, letting it go on, giving hosts another attempt.
//!
//! A host that is retried comes into the current stage again where that one names it, which then bakes anew; or into
//! a later one that does; or else into a stage of its own that is added behind the plan's last one. Each attempt has
//! instances of its own: `web-d7`, then `web-d7-t2`; and goes back to what the host runs when it begins.

use crate::{
    Deployment, DeploymentState, HostState, PauseCause, PlannedHost, Record, ReplayError, Stage, StagePhase,
    apply::{to_u32, to_usize},
    decide::Draft,
    deployment::{Instances, Track},
    host::Kind,
    record::{clip, clip_by},
};
use handover_model::{HostName, InstanceId, Share, Timestamp};
use std::collections::BTreeSet;

/// How often one host of one deployment is given another attempt at most.
pub const MAX_RETRIES: u32 = 50;

impl Deployment {
    /// The hosts that [`crate::Event::Retry`] gives another attempt now: they failed or were skipped, and are at rest.
    pub fn retryable(&self) -> impl Iterator<Item = &HostName> {
        let open = self.takes_retries();
        self.facts.tracks.iter().filter(move |(_, track)| open && can_retry(track)).map(|(host, _)| host)
    }

    /// Why a host cannot be given another attempt now, in words that follow its name; `None` where it can.
    #[must_use]
    pub fn no_retry(&self, host: &HostName) -> Option<&'static str> {
        let Some(track) = self.facts.tracks.get(host) else { return Some("is not in its plan") };
        match &track.state {
            HostState::Returned { .. } if track.failure.is_none() => {
                Some("had the release and is back already")
            }
            HostState::Skipped { .. } | HostState::Returned { .. } => {
                (track.retries >= MAX_RETRIES).then_some("was retried too often already")
            }
            HostState::Pending => Some("waits for its turn already"),
            HostState::Offline { .. }
            | HostState::Starting { .. }
            | HostState::Shifting { .. }
            | HostState::Baking { .. }
            | HostState::Retiring { .. } => Some("is being changed already"),
            HostState::Done { .. } => Some("runs the release already"),
            HostState::Removed { .. } => Some("was removed from the fleet"),
            HostState::Restarting { .. } | HostState::ShiftingBack { .. } | HostState::RetiringNew { .. } => {
                Some("is still going back: retry it once it is back")
            }
            HostState::Stuck { .. } => Some("is stuck: it must be back before it can be retried"),
        }
    }

    /// How many failed hosts are borne now.
    pub(crate) fn failures_borne(&self) -> u32 {
        self.facts.plan.policy.failures_allowed.max(self.facts.accepted)
    }

    /// The new release's instance on a host: the one that stood by, or the present attempt's own.
    pub(crate) fn new_of<'a>(&'a self, track: &'a Track) -> &'a InstanceId {
        track.standby.as_ref().unwrap_or(&self.names_of(track).new)
    }

    /// The names of the instances of a host's present attempt.
    pub(crate) fn names_of(&self, track: &Track) -> &Instances {
        let later =
            to_usize(track.retries).checked_sub(1).and_then(|later| self.facts.later_names.get(later));
        later.unwrap_or(&self.facts.first_names)
    }

    pub(crate) fn heed_pause(&mut self, draft: &mut Draft, by: &str, reason: &str, now: Timestamp) {
        if matches!(self.facts.state, DeploymentState::Running { .. }) {
            self.push(draft, Record::PausedBy { by: clip_by(by), reason: clip(reason), at: now });
        }
    }

    pub(crate) fn heed_resume(&mut self, draft: &mut Draft, by: &str, now: Timestamp) {
        if matches!(self.facts.state, DeploymentState::Paused { .. }) {
            self.push(draft, Record::Resumed { by: clip_by(by), at: now });
        }
    }

    pub(crate) fn heed_retry(
        &mut self,
        draft: &mut Draft,
        by: &str,
        asked: &BTreeSet<HostName>,
        now: Timestamp,
    ) {
        let meant = |host: &&HostName| asked.is_empty() || asked.contains(*host);
        for host in self.retryable().filter(meant).cloned().collect::<Vec<_>>() {
            self.push(draft, Record::HostRetried { host, by: clip_by(by), at: now });
        }
    }

    pub(crate) fn heed_promote(&mut self, draft: &mut Draft, by: &str, now: Timestamp) {
        if self.takes_promotion() {
            self.push(draft, Record::Promoted { by: clip_by(by), at: now });
        }
    }

    /// Whether [`crate::Event::Promote`] changes something now: a judge or a person is waited for.
    #[must_use]
    pub fn takes_promotion(&self) -> bool {
        matches!(
            self.facts.state,
            DeploymentState::Running { phase: StagePhase::Judging { .. } | StagePhase::Approving { .. }, .. }
        )
    }

    fn takes_retries(&self) -> bool {
        matches!(self.facts.state, DeploymentState::Running { .. } | DeploymentState::Paused { .. })
    }

    pub(crate) fn pause(&mut self, reason: String, cause: PauseCause, at: Timestamp) {
        let DeploymentState::Running { phase, .. } = self.facts.state else { return };
        self.facts.state = DeploymentState::Paused { reason, since: at, cause, phase };
        let tracks = &self.facts.tracks;
        let waited_for = |host: &HostName| {
            tracks.get(host).is_some_and(|track| matches!(track.state, HostState::Offline { .. }))
        };
        self.index.deadlines.retain(|(_, host)| !waited_for(host));
    }

    pub(crate) fn resume(&mut self, at: Timestamp) {
        let DeploymentState::Paused { since, cause, phase, .. } = self.facts.state else { return };
        let stood = at.since(since);
        let phase = match phase {
            StagePhase::Baking { until, deadline } => {
                StagePhase::Baking { until: until + stood, deadline: deadline + stood }
            }
            StagePhase::Judging { until } => StagePhase::Judging { until: until + stood },
            // What failed is begun again.
            StagePhase::Migrating { .. } if cause == PauseCause::Failures => StagePhase::Moving,
            StagePhase::Migrating { until } => StagePhase::Migrating { until: until + stood },
            StagePhase::Moving | StagePhase::Approving { .. } | StagePhase::Closing => phase,
        };
        self.facts.state = DeploymentState::Running { phase, since: at };
        if cause == PauseCause::Failures {
            self.facts.accepted = self.facts.accepted.max(self.facts.failures);
        }
        for (host, track) in &mut self.facts.tracks {
            if let HostState::Offline { until, .. } = &mut track.state {
                *until = *until + stood;
                self.index.deadlines.insert((*until, host.clone()));
            }
        }
    }

    pub(crate) fn retry_host(&mut self, host: &HostName, at: Timestamp) -> Result<(), ReplayError> {
        let id = self.facts.id;
        let Some(before) = self.facts.tracks.get(host).cloned() else {
            return Err(ReplayError::UnknownHost { id, host: host.clone(), record: "host_retried" });
        };
        if !can_retry(&before) {
            let from = before.state.name();
            return Err(ReplayError::Move { id, host: host.clone(), from, to: "tried again" });
        }
        self.name_attempt(before.retries.saturating_add(1))?;
        self.index.remove(host, &before, self.facts.stage);
        let mut track = Track {
            from: self.former_of(&before).map(|former| former.with(Share::ALL)),
            state: HostState::Pending,
            failure: None,
            standby: None,
            retries: before.retries.saturating_add(1),
            ..before
        };
        if before.failure.is_some() {
            self.facts.failures = self.facts.failures.saturating_sub(1);
            self.facts.accepted = self.facts.accepted.min(self.facts.failures);
        }
        if track.last_stage < self.facts.stage {
            self.add_to_last_stage(host, &mut track);
        } else if track.stage == self.facts.stage {
            self.move_again(at);
        } else {
            track.stage = track.last_stage;
        }
        self.index.insert(host, &track, self.facts.stage, &self.facts.plan);
        self.facts.tracks.insert(host.clone(), track);
        Ok(())
    }

    fn name_attempt(&mut self, retries: u32) -> Result<(), ReplayError> {
        if to_usize(retries) <= self.facts.later_names.len() {
            return Ok(());
        }
        let (id, service) = (self.facts.id, &self.facts.plan.service);
        let name = |suffix: &str| {
            let text = format!("{service}-{id}-t{}{suffix}", retries.saturating_add(1));
            text.parse().map_err(|source| ReplayError::Instance { id, source })
        };
        let names = Instances { new: name("")?, again: name("-r")? };
        self.facts.later_names.push(names);
        Ok(())
    }

    /// The host's stages are over: it gets one behind the last, with the others that are retried so.
    fn add_to_last_stage(&mut self, host: &HostName, track: &mut Track) {
        let stages = &mut self.facts.plan.stages;
        let before = stages.get(to_usize(track.last_stage));
        let (bake, returns) = before.map(|stage| (stage.bake, stage.returns)).unwrap_or_default();
        let last = to_u32(stages.len()).saturating_sub(1);
        if last < self.facts.planned_stages || last <= self.facts.stage {
            stages.push(Stage { returns, ..Stage::plain(Vec::new(), Share::ALL, bake, !returns) });
        }
        track.last_stage = to_u32(stages.len()).saturating_sub(1);
        track.stage = track.last_stage;
        if let Some(stage) = stages.last_mut() {
            track.position = to_u32(stage.hosts.len());
            stage.bake = stage.bake.max(bake);
            stage.hosts.push(PlannedHost::new(host.clone(), track.from.clone()));
        }
    }

    /// A host of the current stage has its turn again.
    fn move_again(&mut self, at: Timestamp) {
        match &mut self.facts.state {
            DeploymentState::Running { phase, since } if *phase != StagePhase::Moving => {
                (*phase, *since) = (StagePhase::Moving, at);
            }
            DeploymentState::Paused { phase, .. } => *phase = StagePhase::Moving,
            DeploymentState::Planning
            | DeploymentState::Running { .. }
            | DeploymentState::RollingBack { .. }
            | DeploymentState::Ended { .. } => {}
        }
    }
}

fn can_retry(track: &Track) -> bool {
    let left_behind = match track.state.kind() {
        Kind::Skipped => true,
        // Without a failure it is where its plan wanted it.
        Kind::Returned => track.failure.is_some(),
        Kind::Pending
        | Kind::Offline
        | Kind::Starting
        | Kind::Shifting
        | Kind::Baking
        | Kind::Retiring
        | Kind::Done
        | Kind::Removed
        | Kind::Returning
        | Kind::Stuck => false,
    };
    left_behind && track.retries < MAX_RETRIES
}
