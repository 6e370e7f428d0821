//! Applying records: the only place where what is durable changes, live and on replay.

use crate::{
    ApprovalCause, Deployment, DeploymentState, HostState, PauseCause, Plan, PlannedHost, Record,
    ReplayError, Stage, StagePhase,
    deployment::{Facts, Instances, Track},
    index::Index,
    observed::Observed,
};
use handover_model::{HostName, Timestamp};
use std::collections::BTreeMap;

/// What may come after a stage's bake, in this order.
#[derive(Clone, Copy, Debug)]
enum Next {
    Judging,
    Approving,
    Closing,
}

impl Deployment {
    /// The deployment that a first record begins. Its plan is empty yet.
    pub(crate) fn from_created(record: Record) -> Result<Self, ReplayError> {
        let Record::Created { id, service, release, by, policy, at } = record else {
            return Err(ReplayError::NoBeginning { found: Some(record.name()) });
        };
        let name = |suffix: &str| {
            format!("{service}-{id}{suffix}").parse().map_err(|source| ReplayError::Instance { id, source })
        };
        let first_names = Instances { new: name("")?, again: name("-r")? };
        let plan = Plan { service, release, stages: Vec::new(), policy, skipped: Vec::new() };
        let facts = Facts {
            id,
            by,
            created_at: at,
            plan,
            first_names,
            later_names: Vec::new(),
            state: DeploymentState::Planning,
            stage: 0,
            tracks: BTreeMap::new(),
            failures: 0,
            accepted: 0,
            planned_stages: 0,
            last_failure: String::new(),
            lifts: 0,
            skews: BTreeMap::new(),
            migration_attempt: 0,
        };
        Ok(Self { facts, index: Index::default(), observed: Observed::default() })
    }

    /// Takes a fact in. The facts change here and nowhere else.
    ///
    /// # Errors
    /// When the record makes no sense where the deployment is; then nothing was changed.
    pub fn apply(&mut self, record: &Record) -> Result<(), ReplayError> {
        self.check_place(record)?;
        match record {
            // Refused by check_place: a deployment begins once.
            Record::Created { .. } => {}
            Record::Planned { stage, part } => self.plan_hosts(*stage, part.shape(), &part.hosts),
            Record::LeftOut { hosts } => self.facts.plan.skipped.extend(hosts.iter().cloned()),
            Record::Started { at } => {
                self.facts.plan.check().map_err(|source| ReplayError::Plan { id: self.facts.id, source })?;
                self.facts.planned_stages = to_u32(self.facts.plan.stages.len());
                self.enter_stage(0, *at);
            }
            Record::StageEntered { stage, at } => self.enter_stage(*stage, *at),
            Record::BakeStarted { at, until, deadline } => {
                let phase = StagePhase::Baking { until: *until, deadline: *deadline };
                self.facts.state = DeploymentState::Running { phase, since: *at };
            }
            Record::FlipsMeasured { stage, skew, at: _ } => {
                self.facts.skews.insert(*stage, *skew);
            }
            Record::BakePassed { at } => self.go_on_to(Next::Judging, *at),
            Record::JudgementPassed { at, .. } => self.go_on_to(Next::Approving, *at),
            Record::JudgementHeld { at, .. } => {
                let phase = StagePhase::Approving { cause: ApprovalCause::Inconclusive };
                self.facts.state = DeploymentState::Running { phase, since: *at };
            }
            Record::Promoted { at, .. } | Record::Migrated { at, .. } => self.go_on_to(Next::Closing, *at),
            Record::MigrationStarted { at, until } => self.begin_migration(*at, *until),
            Record::HostMoved { host, to, at: _ } => self.move_host(host, to)?,
            Record::HostFailed { host, reason, at: _ } => self.fail_host(host, reason)?,
            Record::Paused { reason, at } => self.pause(reason.clone(), PauseCause::Failures, *at),
            Record::PausedBy { by, reason, at } => {
                let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
                self.pause(format!("paused by {by}{why}"), PauseCause::Operator, *at);
            }
            Record::Resumed { by: _, at } => self.resume(*at),
            Record::HostRetried { host, by: _, at } => self.retry_host(host, *at)?,
            Record::RollbackStarted { reason, at } => {
                self.facts.state = DeploymentState::RollingBack { reason: reason.clone(), since: *at };
            }
            Record::DeadlinesLifted { to, at } => self.lift_deadlines(*at, *to),
            Record::Ended { outcome, at } => {
                self.facts.state = DeploymentState::Ended { outcome: outcome.clone(), at: *at };
            }
        }
        Ok(())
    }

    /// Whether the record may come in the deployment's state.
    fn check_place(&self, record: &Record) -> Result<(), ReplayError> {
        let state = &self.facts.state;
        let planning = matches!(state, DeploymentState::Planning);
        let ended = matches!(state, DeploymentState::Ended { .. });
        let paused = matches!(state, DeploymentState::Paused { .. });
        let in_phase = |wanted: fn(&StagePhase) -> bool| match state {
            DeploymentState::Running { phase, .. } => wanted(phase),
            DeploymentState::Planning
            | DeploymentState::Paused { .. }
            | DeploymentState::RollingBack { .. }
            | DeploymentState::Ended { .. } => false,
        };
        let fits = match record {
            Record::Created { .. } => false,
            Record::Planned { stage, .. } => {
                let stages = to_u32(self.facts.plan.stages.len());
                planning && (*stage == stages || stage.checked_add(1) == Some(stages))
            }
            Record::LeftOut { .. } | Record::Started { .. } => planning,
            Record::StageEntered { stage, .. } => {
                in_phase(|phase| matches!(phase, StagePhase::Closing))
                    && self.facts.stage.checked_add(1) == Some(*stage)
                    && self.facts.plan.stages.len() > to_usize(*stage)
            }
            Record::BakeStarted { .. } => in_phase(|phase| matches!(phase, StagePhase::Moving)),
            Record::FlipsMeasured { stage, .. } => {
                in_phase(|phase| matches!(phase, StagePhase::Moving)) && *stage == self.facts.stage
            }
            Record::MigrationStarted { .. } => {
                in_phase(|phase| matches!(phase, StagePhase::Moving)) && self.migration().is_some()
            }
            Record::Migrated { .. } => in_phase(|phase| matches!(phase, StagePhase::Migrating { .. })),
            Record::BakePassed { .. } => {
                in_phase(|phase| matches!(phase, StagePhase::Moving | StagePhase::Baking { .. }))
            }
            Record::JudgementPassed { .. } | Record::JudgementHeld { .. } => {
                in_phase(|phase| matches!(phase, StagePhase::Judging { .. }))
            }
            Record::Promoted { .. } => {
                in_phase(|phase| matches!(phase, StagePhase::Judging { .. } | StagePhase::Approving { .. }))
            }
            Record::HostMoved { .. } | Record::HostFailed { .. } | Record::DeadlinesLifted { .. } => {
                !planning && !ended
            }
            Record::Paused { .. } | Record::PausedBy { .. } => in_phase(|_| true),
            Record::Resumed { .. } => paused,
            Record::HostRetried { .. } | Record::RollbackStarted { .. } => in_phase(|_| true) || paused,
            Record::Ended { .. } => !ended,
        };
        let out_of_place =
            || ReplayError::OutOfPlace { id: self.facts.id, state: state.name(), record: record.name() };
        fits.then_some(()).ok_or_else(out_of_place)
    }

    fn plan_hosts(&mut self, number: u32, shape: Stage, hosts: &[PlannedHost]) {
        let stages = &mut self.facts.plan.stages;
        if stages.len() == to_usize(number) {
            stages.push(shape);
        }
        let Some(stage) = stages.last_mut() else { return };
        for planned in hosts {
            let position = to_u32(stage.hosts.len());
            stage.hosts.push(planned.clone());
            if let Some(track) = self.facts.tracks.get_mut(&planned.host) {
                track.last_stage = number;
                continue;
            }
            let track = Track {
                stage: number,
                position,
                last_stage: number,
                retries: 0,
                from: planned.from.clone(),
                standby: planned.standby.clone(),
                state: HostState::Pending,
                failure: None,
            };
            self.index.insert_anywhere(&planned.host, &track);
            self.facts.tracks.insert(planned.host.clone(), track);
        }
    }

    /// The stage goes on to the first of these that its plan asks for, from `next` on. One without a host that could go
    /// on needs none of them.
    fn go_on_to(&mut self, next: Next, at: Timestamp) {
        let empty = self.index.baking_here.is_empty();
        let stage = self.current_stage().filter(|_| !empty);
        let phase = stage.map_or(StagePhase::Closing, |stage| match (next, stage.judged) {
            (Next::Judging, Some(judged)) => StagePhase::Judging { until: at + judged.within },
            (Next::Judging | Next::Approving, _) if stage.approval => {
                StagePhase::Approving { cause: ApprovalCause::Plan }
            }
            (Next::Judging | Next::Approving | Next::Closing, _) => StagePhase::Closing,
        });
        self.facts.state = DeploymentState::Running { phase, since: at };
    }

    fn enter_stage(&mut self, number: u32, at: Timestamp) {
        self.facts.stage = number;
        self.facts.state = DeploymentState::Running { phase: StagePhase::Moving, since: at };
        self.index.leave_stage();
        self.observed.unconfirmed.clear();
        self.observed.verdict = None;
        self.observed.moments.clear();
        self.observed.migration = None;
        self.facts.migration_attempt = 0;
        let hosts: Vec<_> = self
            .facts
            .plan
            .stages
            .get(to_usize(number))
            .map(|stage| stage.hosts.iter().map(|planned| planned.host.clone()).collect())
            .unwrap_or_default();
        for (position, host) in (0..).zip(&hosts) {
            if let Some(track) = self.facts.tracks.get_mut(host) {
                track.stage = number;
                track.position = position;
                self.index.insert_here(host, track, &self.facts.plan);
            }
            self.confirm(host);
        }
    }

    fn move_host(&mut self, host: &HostName, to: &HostState) -> Result<(), ReplayError> {
        let before = self.assignment(host);
        let id = self.facts.id;
        let unknown = || ReplayError::UnknownHost { id, host: host.clone(), record: "host_moved" };
        let track = self.facts.tracks.get_mut(host).ok_or_else(unknown)?;
        if !track.state.can_become(to) {
            let (from, to) = (track.state.name(), to.name());
            return Err(ReplayError::Move { id, host: host.clone(), from, to });
        }
        self.index.remove(host, track, self.facts.stage);
        track.state = to.clone();
        self.index.insert(host, track, self.facts.stage, &self.facts.plan);
        if self.assignment(host) != before {
            self.observed.outdate(host);
        }
        self.confirm(host);
        Ok(())
    }

    fn fail_host(&mut self, host: &HostName, reason: &str) -> Result<(), ReplayError> {
        let id = self.facts.id;
        let unknown = || ReplayError::UnknownHost { id, host: host.clone(), record: "host_failed" };
        let track = self.facts.tracks.get_mut(host).ok_or_else(unknown)?;
        if track.failure.is_some() {
            let from = track.state.name();
            return Err(ReplayError::Move { id, host: host.clone(), from, to: "failed a second time" });
        }
        self.index.remove(host, track, self.facts.stage);
        track.failure = Some(reason.to_owned());
        self.index.insert(host, track, self.facts.stage, &self.facts.plan);
        self.facts.last_failure = reason.to_owned();
        self.facts.failures = self.facts.failures.saturating_add(1);
        Ok(())
    }

    fn lift_deadlines(&mut self, at: Timestamp, to: Timestamp) {
        self.facts.lifts = self.facts.lifts.saturating_add(1);
        while let Some((at, host)) = self.index.deadlines.first().cloned()
            && at < to
        {
            self.index.deadlines.pop_first();
            if let Some(track) = self.facts.tracks.get_mut(&host) {
                track.state.lift(to);
                self.index.deadlines.insert((to, host));
            }
        }
        match &mut self.facts.state {
            DeploymentState::Running { phase: StagePhase::Baking { deadline, .. }, .. } => {
                *deadline = to.max(*deadline);
            }
            DeploymentState::Running {
                phase: StagePhase::Judging { until } | StagePhase::Migrating { until },
                ..
            } => *until = to.max(*until),
            // It stands still: what counts is how much is left when it goes on.
            DeploymentState::Paused { phase: StagePhase::Baking { deadline, .. }, since, .. } => {
                *deadline = (*since + to.since(at)).max(*deadline);
            }
            DeploymentState::Paused {
                phase: StagePhase::Judging { until } | StagePhase::Migrating { until },
                since,
                ..
            } => {
                *until = (*since + to.since(at)).max(*until);
            }
            DeploymentState::Planning
            | DeploymentState::Running { .. }
            | DeploymentState::Paused { .. }
            | DeploymentState::RollingBack { .. }
            | DeploymentState::Ended { .. } => {}
        }
    }

    /// Keeps the set of hosts whose health the bake still waits for.
    pub(crate) fn confirm(&mut self, host: &HostName) {
        if self.index.baking_here.contains(host) && !self.bakes_well(host) {
            self.observed.unconfirmed.insert(host.clone());
        } else {
            self.observed.unconfirmed.remove(host);
        }
    }
}

pub(crate) fn to_u32(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

pub(crate) fn to_usize(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
