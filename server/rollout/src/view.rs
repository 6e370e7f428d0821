//! How a deployment is looked at.

use crate::{
    Deployment, DeploymentState, HostState, Outcome, PauseCause, Placement, Plan, Skew, WaitingOn,
    deployment::Track, host::Kind,
};
use handover_model::{
    DeploymentId, HostName, InstanceId, InstanceReport, ReleaseRef, ServiceName, Timestamp,
};

/// A host of a deployment, to be shown.
#[derive(Clone, Debug)]
pub struct HostView<'a> {
    /// Its name.
    pub host: &'a HostName,
    /// The stage that it is in or comes into, from 0.
    pub stage: u32,
    /// What it ran before; `None` where the service was new.
    pub from: Option<&'a Placement>,
    /// Where it is.
    pub state: &'a HostState,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// Why it failed; `None` where it did not.
    pub failure: Option<&'a str>,
    /// Whether it has a session; `None` while that is not known, after a restart of the server.
    pub online: Option<bool>,
    /// The new release's instance, as its agent last saw it.
    pub new_instance: Option<(&'a InstanceId, &'a InstanceReport)>,
    /// The former release's instance, as its agent last saw it.
    pub old_instance: Option<(&'a InstanceId, &'a InstanceReport)>,
    /// What it waits for; `None` where it waits for nothing.
    pub waiting: Option<WaitingOn>,
}

impl Deployment {
    /// Its number.
    #[must_use]
    pub fn id(&self) -> DeploymentId {
        self.facts.id
    }

    /// Whose release.
    #[must_use]
    pub fn service(&self) -> &ServiceName {
        &self.facts.plan.service
    }

    /// What is deployed.
    #[must_use]
    pub fn release(&self) -> &ReleaseRef {
        &self.facts.plan.release
    }

    /// The plan that it carries out.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.facts.plan
    }

    /// Who asked for it.
    #[must_use]
    pub fn created_by(&self) -> &str {
        &self.facts.by
    }

    /// When it was made.
    #[must_use]
    pub fn created_at(&self) -> Timestamp {
        self.facts.created_at
    }

    /// Where it is.
    #[must_use]
    pub fn state(&self) -> &DeploymentState {
        &self.facts.state
    }

    /// The stage that it is in, from 0; the last one that it was in where it ended or goes back.
    #[must_use]
    pub fn stage(&self) -> u32 {
        self.facts.stage
    }

    /// For each stage, from 0, in which all hosts flipped in one step: how far apart they did, where that was measured.
    pub fn skews(&self) -> impl Iterator<Item = (u32, Skew)> {
        self.facts.skews.iter().map(|(stage, skew)| (*stage, *skew))
    }

    /// How many hosts failed, but for those that got another attempt since.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.facts.failures
    }

    /// How it ended; `None` while it goes on.
    #[must_use]
    pub fn outcome(&self) -> Option<&Outcome> {
        match &self.facts.state {
            DeploymentState::Ended { outcome, .. } => Some(outcome),
            DeploymentState::Planning
            | DeploymentState::Running { .. }
            | DeploymentState::Paused { .. }
            | DeploymentState::RollingBack { .. } => None,
        }
    }

    /// Why it is paused, goes back, or did not succeed; empty otherwise.
    #[must_use]
    pub fn reason(&self) -> &str {
        match &self.facts.state {
            DeploymentState::Paused { reason, .. }
            | DeploymentState::RollingBack { reason, .. }
            | DeploymentState::Ended {
                outcome: Outcome::RolledBack { reason } | Outcome::NeedsPerson { reason, .. },
                ..
            } => reason,
            DeploymentState::Planning
            | DeploymentState::Running { .. }
            | DeploymentState::Ended {
                outcome: Outcome::Succeeded { .. } | Outcome::Returned { .. }, ..
            } => "",
        }
    }

    /// Whether a person holds it, and since when; `None` where it is not paused.
    #[must_use]
    pub fn paused(&self) -> Option<(PauseCause, Timestamp)> {
        match &self.facts.state {
            DeploymentState::Paused { cause, since, .. } => Some((*cause, *since)),
            DeploymentState::Planning
            | DeploymentState::Running { .. }
            | DeploymentState::RollingBack { .. }
            | DeploymentState::Ended { .. } => None,
        }
    }

    /// The hosts that could not be shown to be where they should, with what is in the way.
    pub fn stuck(&self) -> impl Iterator<Item = (&HostName, &str)> {
        self.facts.tracks.iter().filter(|(_, track)| track.state.kind() == Kind::Stuck).map(
            |(host, track)| {
                let reason = track.state.reason();
                (host, reason)
            },
        )
    }

    /// Every host of the plan, by name.
    pub fn hosts(&self) -> impl Iterator<Item = HostView<'_>> {
        self.facts.tracks.iter().map(|(host, track)| self.view(host, track))
    }

    /// For every host of the plan, by name: the instance of the new release, and the one that it came from.
    pub fn pairs(&self) -> impl Iterator<Item = (&HostName, &InstanceId, Option<&InstanceId>)> {
        self.facts
            .tracks
            .iter()
            .map(|(host, track)| (host, self.new_of(track), track.from.as_ref().map(|from| &from.instance)))
    }

    /// One host of the plan; `None` where it is not in it.
    #[must_use]
    pub fn host(&self, host: &HostName) -> Option<HostView<'_>> {
        self.facts.tracks.get_key_value(host).map(|(host, track)| self.view(host, track))
    }

    fn view<'a>(&'a self, host: &'a HostName, track: &'a Track) -> HostView<'a> {
        let seen = |instance: &'a InstanceId| Some((instance, self.observed.instance(host, instance)?));
        let former = self.former_of(track).map(|former| former.instance);
        HostView {
            host,
            stage: track.stage,
            from: track.from.as_ref(),
            state: &track.state,
            attempt: track.retries.saturating_add(1),
            failure: track.failure.as_deref(),
            online: self.observed.online(host),
            new_instance: seen(self.new_of(track)),
            old_instance: former.and_then(|former| self.observed.entry(host, &former)),
            waiting: self.waiting_on_host(host),
        }
    }
}
