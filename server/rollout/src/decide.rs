//! Deciding: from an event to records and commands.
//!
//! [`Deployment::take`] notes what the event says and what it means for its host. Then deadlines pass, and then
//! [`Deployment::advance`] does whatever the state allows, until nothing more follows.

use crate::{
    Assignment, Command, Deployment, DeploymentState, Event, HostState, Inconclusive, MigrationOrder,
    OfflinePolicy, OnFailure, Outcome, Record, StagePhase, Step, Verdict, host::Kind, index::wanted_share,
    record::clip, rules::Decision,
};
use handover_model::{Duration, HostName, Timestamp};
use std::collections::BTreeMap;

/// After the server was away, no deadline passes for so long: agents need time to come back and report.
const RECONNECT_GRACE: Duration = Duration::from_secs(30);
/// So often deadlines are moved for that. A server that crashes for ever must not hold a deployment open for ever.
const MAX_LIFTS: u32 = 20;

/// A step in the making.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    records: Vec<Record>,
    /// What was ordered before, for every host that moved.
    before: BTreeMap<HostName, Option<Assignment>>,
    /// What was ordered to migrate before.
    migration: Option<MigrationOrder>,
}

impl Draft {
    /// A step that begins with records that are applied already.
    pub(crate) fn of(records: Vec<Record>) -> Self {
        Self { records, ..Self::default() }
    }
}

impl Deployment {
    pub(crate) fn take(&mut self, draft: &mut Draft, event: Event, now: Timestamp) {
        match &self.facts.state {
            DeploymentState::Ended { .. } => return,
            DeploymentState::Planning => {
                let reason = "its plan was not written whole; nothing was touched".to_owned();
                self.push(draft, Record::Ended { outcome: Outcome::RolledBack { reason }, at: now });
                return;
            }
            DeploymentState::Running { .. }
            | DeploymentState::Paused { .. }
            | DeploymentState::RollingBack { .. } => {}
        }
        draft.migration = self.migration_order();
        self.lift_after_restart(draft, now);
        self.finish_what_was_cut(draft, now);
        match event {
            Event::HostReported { host, current, instances, flip } => {
                if self.migrates_on(&host) {
                    self.observed.session(&host, true, now);
                }
                if let Some(relevant) = self.relevant(&host, instances) {
                    self.observed.report(&host, current, relevant, flip.confirmation);
                    self.note_moment(&host, flip.moment);
                    self.confirm(&host);
                    self.welcome_back(draft, &host, now);
                    self.heed_report(draft, &host, now);
                }
            }
            Event::HostConnected { host } => {
                self.observe_session(&host, true, now);
                self.welcome_back(draft, &host, now);
            }
            Event::HostDisconnected { host } => self.observe_session(&host, false, now),
            Event::HostRemoved { host } => self.part_with(draft, &host, now),
            Event::Tick => {}
            Event::Pause { by, reason } => self.heed_pause(draft, &by, &reason, now),
            Event::Resume { by } => self.heed_resume(draft, &by, now),
            Event::Retry { by, hosts } => self.heed_retry(draft, &by, &hosts, now),
            Event::Judged { stage, verdict } => self.hear_judge(stage, verdict),
            Event::MigrationReported { host, migration, state } => {
                self.observe_session(&host, true, now);
                self.hear_migration(&host, migration, state);
            }
            Event::Promote { by } => self.heed_promote(draft, &by, now),
            Event::Abort { by, reason } => {
                if !matches!(self.facts.state, DeploymentState::RollingBack { .. }) {
                    let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
                    let reason = clip(&format!("aborted by {by}{why}"));
                    self.push(draft, Record::RollbackStarted { reason, at: now });
                }
            }
        }
        self.pass_deadlines(draft, now);
        self.advance(draft, now);
    }

    /// Does what the state allows until nothing more follows.
    pub(crate) fn advance(&mut self, draft: &mut Draft, now: Timestamp) {
        while self.advance_once(draft, now) {}
    }

    /// The step as it is handed out: one command for each host whose order changed.
    pub(crate) fn finish(&self, draft: Draft) -> Step {
        let changed = draft.before.into_iter().filter_map(|(host, before)| {
            let now = self.assignment(&host);
            let assignment = now.filter(|now| Some(now) != before.as_ref())?;
            Some(Command::Assign { host, assignment })
        });
        let migrate = self.migration_command(draft.migration.as_ref());
        Step { commands: changed.chain(migrate).collect(), records: draft.records }
    }

    pub(crate) fn observe_session(&mut self, host: &HostName, online: bool, now: Timestamp) {
        if self.facts.tracks.contains_key(host) || self.migrates_on(host) {
            self.observed.session(host, online, now);
            self.confirm(host);
        }
    }

    /// Applies a record and puts it into the step. False where it does not apply.
    pub(crate) fn push(&mut self, draft: &mut Draft, record: Record) -> bool {
        let before = match &record {
            Record::HostMoved { host, .. } if !draft.before.contains_key(host) => {
                Some((host.clone(), self.assignment(host)))
            }
            _without_order => None,
        };
        match self.apply(&record) {
            Ok(()) => {
                draft.before.extend(before);
                draft.records.push(record);
                true
            }
            // A record that does not apply would not replay either: it must not be written.
            Err(error) => {
                debug_assert!(false, "the engine made a record that makes no sense: {error}");
                false
            }
        }
    }

    fn move_to(&mut self, draft: &mut Draft, host: &HostName, to: HostState, now: Timestamp) -> bool {
        self.push(draft, Record::HostMoved { host: host.clone(), to, at: now })
    }

    fn lift_after_restart(&mut self, draft: &mut Draft, now: Timestamp) {
        if !std::mem::take(&mut self.observed.after_restart) || self.facts.lifts >= MAX_LIFTS {
            return;
        }
        let to = now + RECONNECT_GRACE;
        let stands =
            matches!(self.facts.state, DeploymentState::Paused { phase: StagePhase::Baking { .. }, .. });
        if stands || self.next_deadline().is_some_and(|next| next < to) {
            self.push(draft, Record::DeadlinesLifted { at: now, to });
        }
    }

    /// The journal may have been cut between a failure and its consequence.
    fn finish_what_was_cut(&mut self, draft: &mut Draft, now: Timestamp) {
        while let Some(host) = self.index.must_leave.first().cloned() {
            if !self.send_back(draft, &host, now) {
                return;
            }
        }
    }

    /// A host that was waited for is there: its turn comes again.
    fn welcome_back(&mut self, draft: &mut Draft, host: &HostName, now: Timestamp) {
        if self.kind_of(host) == Some(Kind::Offline) {
            self.move_to(draft, host, HostState::Pending, now);
        }
    }

    /// A host leaves the fleet: somebody wanted that, so it is no failure, and the others go on without it.
    fn part_with(&mut self, draft: &mut Draft, host: &HostName, now: Timestamp) {
        let removed = HostState::Removed { at: now };
        if self.facts.tracks.get(host).is_some_and(|track| track.state.can_become(&removed)) {
            self.move_to(draft, host, removed, now);
        }
        self.observed.forget(host);
        self.lose_migration(host);
    }

    fn heed_report(&mut self, draft: &mut Draft, host: &HostName, now: Timestamp) {
        if let Some(decision) = self.read_report(host, now) {
            self.carry_out(draft, host, decision, now);
        }
    }

    fn carry_out(&mut self, draft: &mut Draft, host: &HostName, decision: Decision, now: Timestamp) -> bool {
        match decision {
            Decision::Move(to) => self.move_to(draft, host, to, now),
            Decision::Fail(reason) => {
                let reason = clip(&reason);
                self.push(draft, Record::HostFailed { host: host.clone(), reason, at: now })
                    && self.send_back(draft, host, now)
            }
        }
    }

    fn send_back(&mut self, draft: &mut Draft, host: &HostName, now: Timestamp) -> bool {
        self.way_back(host, now).is_some_and(|to| self.move_to(draft, host, to, now))
    }

    /// Every deadline that passed has its consequence.
    fn pass_deadlines(&mut self, draft: &mut Draft, now: Timestamp) {
        while let Some((at, host)) = self.index.deadlines.first().cloned()
            && at <= now
        {
            let Some(decision) = self.read_deadline(&host, now) else { return };
            if !self.carry_out(draft, &host, decision, now) {
                return;
            }
        }
    }

    fn advance_once(&mut self, draft: &mut Draft, now: Timestamp) -> bool {
        match self.facts.state.clone() {
            DeploymentState::Planning | DeploymentState::Paused { .. } | DeploymentState::Ended { .. } => {
                false
            }
            DeploymentState::RollingBack { reason, .. } => self.roll_back(draft, &reason, now),
            DeploymentState::Running { phase, .. } => {
                if self.facts.failures > self.failures_borne() {
                    return self.give_up(draft, now);
                }
                if let Some(Verdict::Fail(reason)) = &self.observed.verdict
                    && self.is_judged(phase)
                {
                    let reason = clip(reason);
                    return self.push(draft, Record::RollbackStarted { reason, at: now });
                }
                match phase {
                    StagePhase::Moving => self.move_stage(draft, now),
                    StagePhase::Baking { until, deadline } => self.bake_stage(draft, until, deadline, now),
                    StagePhase::Judging { until } => self.judge_stage(draft, until, now),
                    StagePhase::Migrating { until } => self.migrate_stage(draft, until, now),
                    StagePhase::Approving { .. } => self.without_hosts(draft, now),
                    StagePhase::Closing => self.close_stage(draft, now),
                }
            }
        }
    }

    /// More hosts failed than are allowed.
    fn give_up(&mut self, draft: &mut Draft, now: Timestamp) -> bool {
        let policy = &self.facts.plan.policy;
        let reason = match (self.facts.failures, self.failures_borne()) {
            (1, 0) => self.facts.last_failure.clone(),
            (failed, allowed) => {
                format!("{failed} hosts failed, {allowed} allowed; the last: {}", self.facts.last_failure)
            }
        };
        let (reason, at) = (clip(&reason), now);
        match policy.on_failure {
            OnFailure::RollBack => self.push(draft, Record::RollbackStarted { reason, at }),
            OnFailure::Pause => self.push(draft, Record::Paused { reason, at }),
        }
    }

    fn move_stage(&mut self, draft: &mut Draft, now: Timestamp) -> bool {
        if let Some(within) = self.migration().map(|migration| migration.within) {
            return self.push(draft, Record::MigrationStarted { at: now, until: now + within });
        }
        let in_flight = self.index.all.of(Kind::Starting) + self.index.all.of(Kind::Shifting);
        if let Some(position) = self.index.queue.first().copied() {
            let at_once = self.current_stage().is_some_and(|stage| stage.at_once);
            let room = at_once
                || u32::try_from(in_flight).is_ok_and(|number| number < self.facts.plan.policy.max_in_flight);
            return room && self.take_turn(draft, position, now);
        }
        let here = self.index.here;
        if here.of(Kind::Offline) + here.of(Kind::Starting) + here.of(Kind::Shifting) > 0 {
            return false;
        }
        if let Some(skew) = self.unrecorded_skew() {
            return self.push(draft, Record::FlipsMeasured { stage: self.facts.stage, skew, at: now });
        }
        let record = match self.current_stage() {
            Some(stage) if !self.index.baking_here.is_empty() => {
                let until = now + stage.bake;
                let deadline = until + self.facts.plan.policy.flip_deadline;
                Record::BakeStarted { at: now, until, deadline }
            }
            Some(_) | None => Record::BakePassed { at: now },
        };
        self.push(draft, record)
    }

    /// The turn of the host at a position of the current stage.
    fn take_turn(&mut self, draft: &mut Draft, position: u32, now: Timestamp) -> bool {
        let index = usize::try_from(position).unwrap_or(usize::MAX);
        let planned = self.current_stage().and_then(|stage| stage.hosts.get(index));
        let Some(host) = planned.map(|planned| planned.host.clone()) else { return false };
        let Some(track) = self.facts.tracks.get(&host) else { return false };
        let policy = &self.facts.plan.policy;
        let offline = self.observed.online(&host) == Some(false);
        let decision = match track.state.kind() {
            Kind::Pending if offline => match policy.offline {
                OfflinePolicy::Wait { deadline } => {
                    Decision::Move(HostState::Offline { since: now, until: now + deadline })
                }
                OfflinePolicy::Skip => Decision::Move(HostState::Skipped { reason: "offline".to_owned() }),
                OfflinePolicy::Fail => Decision::Fail(format!("{host}: offline when its turn came")),
            },
            // What stood by is ready, or the agent would not give it a share.
            Kind::Pending if track.standby.is_some() => {
                let share = wanted_share(track, &self.facts.plan);
                Decision::Move(HostState::Shifting { since: now, until: self.flips_until(track, now), share })
            }
            Kind::Pending => {
                Decision::Move(HostState::Starting { since: now, until: now + policy.ready_deadline })
            }
            // It stands there since an earlier stage, with another share.
            Kind::Baking => {
                let share = wanted_share(track, &self.facts.plan);
                Decision::Move(HostState::Shifting { since: now, until: self.flips_until(track, now), share })
            }
            Kind::Offline
            | Kind::Starting
            | Kind::Shifting
            | Kind::Retiring
            | Kind::Done
            | Kind::Skipped
            | Kind::Removed
            | Kind::Returning
            | Kind::Returned
            | Kind::Stuck => return false,
        };
        self.carry_out(draft, &host, decision, now)
    }

    fn bake_stage(
        &mut self,
        draft: &mut Draft,
        until: Timestamp,
        deadline: Timestamp,
        now: Timestamp,
    ) -> bool {
        let silent = !self.observed.unconfirmed.is_empty();
        if self.index.baking_here.is_empty() || (now >= until && !silent) {
            return self.push(draft, Record::BakePassed { at: now });
        }
        let late = if now >= deadline { self.observed.unconfirmed.first().cloned() } else { None };
        late.is_some_and(|host| {
            let reason = self.silent_at_bake(&host);
            self.carry_out(draft, &host, Decision::Fail(reason), now)
        })
    }

    fn hear_judge(&mut self, stage: u32, verdict: Verdict) {
        if stage == self.facts.stage {
            self.observed.verdict = Some(verdict);
        }
    }

    /// Whether a verdict counts in this phase: from the first share of the stage until it goes on.
    fn is_judged(&self, phase: StagePhase) -> bool {
        let judged = self.current_stage().is_some_and(|stage| stage.judged.is_some());
        judged
            && match phase {
                StagePhase::Moving
                | StagePhase::Baking { .. }
                | StagePhase::Judging { .. }
                | StagePhase::Approving { .. } => true,
                StagePhase::Migrating { .. } | StagePhase::Closing => false,
            }
    }

    fn judge_stage(&mut self, draft: &mut Draft, until: Timestamp, now: Timestamp) -> bool {
        let said = match &self.observed.verdict {
            Some(Verdict::Pass(line)) => {
                let verdict = clip(line);
                return self.push(draft, Record::JudgementPassed { verdict, at: now });
            }
            Some(Verdict::Fail(line) | Verdict::NeedsMoreData(line)) => line.clone(),
            None => "the judge has seen nothing".to_owned(),
        };
        if self.index.baking_here.is_empty() {
            return self.without_hosts(draft, now);
        }
        let Some(judged) = self.current_stage().and_then(|stage| stage.judged).filter(|_| now >= until)
        else {
            return false;
        };
        let at = now;
        let record = match judged.inconclusive {
            Inconclusive::Hold => Record::JudgementHeld { verdict: clip(&said), at },
            Inconclusive::RollBack => {
                Record::RollbackStarted { reason: clip(&format!("the judge came to no verdict: {said}")), at }
            }
            Inconclusive::GoOn => {
                Record::JudgementPassed { verdict: clip(&format!("no verdict, and goes on: {said}")), at }
            }
        };
        self.push(draft, record)
    }

    /// A stage that lost all of its hosts needs nobody's word.
    fn without_hosts(&mut self, draft: &mut Draft, now: Timestamp) -> bool {
        self.index.baking_here.is_empty()
            && self.push(draft, Record::Promoted { by: "nobody: no host is left".to_owned(), at: now })
    }

    fn close_stage(&mut self, draft: &mut Draft, now: Timestamp) -> bool {
        let ends = self.current_stage().is_some_and(crate::Stage::ends);
        if ends && let Some(host) = self.index.baking_here.first().cloned() {
            return match self.current_stage() {
                Some(stage) if stage.returns => self.send_back(draft, &host, now),
                Some(_) | None => {
                    let to = self.after_bake(&host, now);
                    self.move_to(draft, &host, to, now)
                }
            };
        }
        let here = self.index.here;
        if here.of(Kind::Retiring) + here.of(Kind::Returning) > 0 {
            return false;
        }
        let next = self.facts.stage.saturating_add(1);
        if usize::try_from(next).is_ok_and(|next| next < self.facts.plan.stages.len()) {
            return self.push(draft, Record::StageEntered { stage: next, at: now });
        }
        if self.index.all.of(Kind::Returning) > 0 {
            return false;
        }
        let outcome = self.outcome_of_running();
        self.push(draft, Record::Ended { outcome, at: now })
    }

    fn after_bake(&self, host: &HostName, now: Timestamp) -> HostState {
        let policy = &self.facts.plan.policy;
        let had_one = self.facts.tracks.get(host).is_some_and(|track| track.from.is_some());
        let standby = had_one && !policy.keep_warm.is_zero();
        if had_one && !standby {
            HostState::Retiring { since: now, until: now + policy.retire_deadline }
        } else {
            HostState::Done { at: now, ledger: None, note: String::new(), standby }
        }
    }

    fn roll_back(&mut self, draft: &mut Draft, reason: &str, now: Timestamp) -> bool {
        if let Some(host) = self.index.open.first().cloned() {
            return self.send_back(draft, &host, now);
        }
        if self.index.all.of(Kind::Returning) > 0 {
            return false;
        }
        let outcome =
            self.needs_person().unwrap_or_else(|| Outcome::RolledBack { reason: reason.to_owned() });
        self.push(draft, Record::Ended { outcome, at: now })
    }

    fn outcome_of_running(&self) -> Outcome {
        if let Some(outcome) = self.needs_person() {
            return outcome;
        }
        if self.facts.plan.only_migrates() {
            return Outcome::Succeeded { hosts: 0, failed: 0 };
        }
        let number = |count| u32::try_from(count).unwrap_or(u32::MAX);
        let returns = self.facts.plan.returns();
        let ended_well = if returns { self.returned_as_planned() } else { self.index.all.of(Kind::Done) };
        match ended_well {
            0 => {
                let why = self.facts.tracks.iter().find_map(|(host, track)| match track.state.reason() {
                    "" => track.failure.clone(),
                    reason => Some(format!("{host}: {reason}")),
                });
                let reason = clip(&format!("no host took the release; {}", why.unwrap_or_default()));
                Outcome::RolledBack { reason }
            }
            hosts if returns => Outcome::Returned { hosts: number(hosts), failed: self.facts.failures },
            hosts => Outcome::Succeeded { hosts: number(hosts), failed: self.facts.failures },
        }
    }

    /// How many hosts took the release, kept it well and are back.
    fn returned_as_planned(&self) -> usize {
        let back = |track: &&crate::deployment::Track| {
            track.failure.is_none() && track.state.kind() == Kind::Returned
        };
        self.facts.tracks.values().filter(back).count()
    }

    fn needs_person(&self) -> Option<Outcome> {
        let (host, first) = self.stuck().next()?;
        let hosts = u32::try_from(self.index.all.of(Kind::Stuck)).unwrap_or(u32::MAX);
        let more = if hosts > 1 { format!(" (and {} more)", hosts.saturating_sub(1)) } else { String::new() };
        Some(Outcome::NeedsPerson { reason: clip(&format!("{host} is stuck{more}: {first}")), hosts })
    }

    pub(crate) fn current_stage(&self) -> Option<&crate::Stage> {
        self.facts.plan.stages.get(usize::try_from(self.facts.stage).unwrap_or(usize::MAX))
    }

    fn kind_of(&self, host: &HostName) -> Option<Kind> {
        self.facts.tracks.get(host).map(|track| track.state.kind())
    }
}
