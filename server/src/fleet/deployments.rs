//! Deployments: made, driven by events, ended. The engine decides; here its records become writes and its commands
//! assignments.

use super::{
    asked::{DeploymentRequest, answers},
    effects::Effects,
    locks::Asker,
    records::{DeploymentRecord, Ending, Purpose, deployment_key, journal_key},
    refusal::Refusal,
    state::{Host, State},
    telling::{event_of, span, tell},
};
use crate::{events, store::Keyspace};
use handover_model::{DeploymentId, HostName, HostReport, ReleaseRef, ServiceName, Timestamp};
use handover_rollout::{Command, Deployment, Event, FlipSeen, Outcome, Plan, Step};
use std::collections::BTreeSet;

/// How many ended deployments of a service are remembered.
const HISTORY_PER_SERVICE: usize = 200;
/// How many ended deployments of a service stay in memory with everything that their hosts last said.
const FINALS_PER_SERVICE: usize = 3;

/// A deployment in memory, with its place in the journal.
#[derive(Clone, Debug)]
pub struct Live {
    /// The engine.
    pub engine: Deployment,
    /// Number of the next record.
    pub sequence: u64,
    /// Counts up with every change that can be seen, over restarts too.
    pub revision: u64,
}

impl Live {
    fn touch(&mut self, now: Timestamp) {
        self.revision = (self.revision + 1).max(now.unix_millis());
    }
}

impl State {
    /// Begins a deployment, or gives the one that the same request began before.
    ///
    /// # Errors
    /// Another one of the service goes on; there is no such release, no plan, or nothing to go back to.
    pub fn create_deployment(
        &mut self,
        request: &DeploymentRequest,
        by: &str,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<DeploymentId, Refusal> {
        Self::check_request(&request.request)?;
        if let Some(id) = self.requests.get(&request.request).copied() {
            return match self.deployments.get(&id) {
                Some(record) if answers(record, request) => Ok(id),
                _ => Err(Refusal::RequestReused { request: request.request.clone(), deployment: id }),
            };
        }
        let asker = Asker {
            by: by.to_owned(),
            request: request.request.clone(),
            take_over: request.take_over.clone(),
            limited: request.limited,
        };
        // Refuses an id that named something else than a deployment.
        self.answered(&asker.request, "")?;
        let taken = self.pass_locks(&request.service, &asker, &request.command(), now)?;
        if !request.rollback {
            let overridden = request.override_freeze.as_deref();
            self.pass_freezes(&request.service, overridden, &asker, &request.command(), now)?;
        }
        self.free(&request.service)?;
        let (plan, purpose) = self.plan_deployment(request, now)?;
        self.pass_rehearsal(&plan.release, purpose, request, now)?;
        self.pass_preflight(&plan.release, purpose, request, now)?;
        self.take_locks(taken, &asker, now, effects)?;
        let id = self.begin(&plan, purpose, by, &request.request, now, effects)?;
        if let (Some(phase), Some(_)) = (request.migrate, &request.force) {
            self.give_up_standbys(&plan.release, phase, effects)?;
        }
        Ok(id)
    }

    /// That no deployment of the service goes on.
    pub(super) fn free(&self, service: &ServiceName) -> Result<(), Refusal> {
        match self.live_of(service) {
            None => Ok(()),
            Some((deployment, live)) => Err(Refusal::DeploymentInProgress {
                service: service.clone(),
                deployment,
                version: live.engine.release().version.clone(),
                by: live.engine.created_by().to_owned(),
            }),
        }
    }

    /// Writes a deployment down and takes its first step.
    pub(super) fn begin(
        &mut self,
        plan: &Plan,
        purpose: Purpose,
        by: &str,
        request: &str,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<DeploymentId, Refusal> {
        let id = DeploymentId::new(self.last_deployment + 1);
        let away = |name: &HostName| self.hosts.get(name).is_none_or(|host| !self.reachable(host, now));
        let planned = plan.stages.iter().flat_map(|stage| &stage.hosts).map(|planned| &planned.host);
        let planned = planned.chain(plan.migrations().map(|migration| &migration.host));
        let offline: BTreeSet<HostName> = planned.filter(|name| away(name)).cloned().collect();
        let (engine, step) =
            Deployment::create(id, plan, by, &offline, now).map_err(|error| Refusal::not_begun(&error))?;
        let record = DeploymentRecord {
            release: plan.release.clone(),
            purpose,
            created_by: by.to_owned(),
            created: now,
            request: request.to_owned(),
            ended: None,
            reason: String::new(),
            records: 0,
        };
        effects.put(Keyspace::Deployments, deployment_key(id), &record)?;
        self.last_deployment += 1;
        if !request.is_empty() {
            self.requests.insert(request.to_owned(), id);
        }
        self.deployments.insert(id, record);
        self.live.insert(id, Live { engine, sequence: 0, revision: now.unix_millis() });
        self.begin_lesson(id, plan, purpose, now, effects)?;
        if purpose == Purpose::Rehearsal {
            self.begin_rehearsal(id, plan, by, now, effects)?;
        }
        if !matches!(purpose, Purpose::CatchUp | Purpose::Rehearsal | Purpose::Migration) {
            for host in self.hosts.values_mut() {
                host.tried.remove(&plan.service);
            }
        }
        let _within = tracing::info_span!("deployment", deployment = %id, service = %plan.service).entered();
        tracing::info!(release = %plan.release, by, "deployment begins");
        if purpose == Purpose::CatchUp {
            let detail = format!("{id} to {}, for hosts that came late", plan.release.version);
            self.record_own("CreateDeployment", plan.service.as_str(), detail, "", now, effects)?;
        }
        self.carry_out(id, step, now, effects)?;
        Ok(id)
    }

    pub(super) fn host_came(
        &mut self,
        name: &HostName,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        self.tell(name, |host| Event::HostConnected { host }, now, effects)
    }

    pub(super) fn host_went(
        &mut self,
        name: &HostName,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        self.tell(name, |host| Event::HostDisconnected { host }, now, effects)
    }

    pub(super) fn host_left(
        &mut self,
        name: &HostName,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        self.tell(name, |host| Event::HostRemoved { host }, now, effects)
    }

    pub(super) fn host_reported(
        &mut self,
        name: &HostName,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        for id in self.deployments_of(name) {
            // Read anew for each: a step for one service changes the host's target, and with it what is current.
            let (Some(live), Some(host)) = (self.live.get(&id), self.hosts.get(name)) else { continue };
            let Some(report) = &host.report else { continue };
            let service = live.engine.service();
            let flip = flip_seen(host, service, report);
            let event = Event::HostReported {
                flip,
                host: name.clone(),
                current: report.revision == host.record.revision,
                instances: report
                    .instances
                    .iter()
                    .filter(|(_, instance)| instance.service == *service)
                    .map(|(id, instance)| (id.clone(), instance.clone()))
                    .collect(),
            };
            self.drive(id, event, now, effects)?;
        }
        self.migrations_reported(name, now, effects)
    }

    fn tell(
        &mut self,
        name: &HostName,
        event: impl Fn(HostName) -> Event,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        for id in self.deployments_of(name) {
            self.drive(id, event(name.clone()), now, effects)?;
        }
        Ok(())
    }

    fn deployments_of(&self, name: &HostName) -> Vec<DeploymentId> {
        let concerns = |live: &Live| live.engine.host(name).is_some() || live.engine.migrates_on(name);
        self.live.iter().filter(|(_, live)| concerns(live)).map(|(id, _)| *id).collect()
    }

    /// A deployment that goes on and has the host in its plan.
    pub(super) fn deployment_of_host(&self, name: &HostName) -> Option<DeploymentId> {
        self.deployments_of(name).into_iter().next()
    }

    /// The deployment of a service that goes on.
    pub(super) fn live_of(&self, service: &ServiceName) -> Option<(DeploymentId, &Live)> {
        self.live.iter().find(|(_, live)| live.engine.service() == service).map(|(id, live)| (*id, live))
    }

    /// One event into the engine, and what follows from it.
    pub(super) fn drive(
        &mut self,
        id: DeploymentId,
        event: Event,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let Some(live) = self.live.get_mut(&id) else { return Ok(()) };
        let span = span(id, &live.engine, event.host());
        let _within = span.enter();
        let step = live.engine.on_event(event, now);
        self.carry_out(id, step, now, effects)
    }

    fn carry_out(
        &mut self,
        id: DeploymentId,
        step: Step,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let Some(live) = self.live.get_mut(&id) else { return Ok(()) };
        live.touch(now);
        effects.changed = true;
        for record in &step.records {
            tell(id, &live.engine, record);
            effects.events.extend(event_of(id, live.engine.release(), record));
            effects.put(Keyspace::Journal, journal_key(id, live.sequence), record)?;
            live.sequence += 1;
        }
        let release = live.engine.release().clone();
        let service = release.service.clone();
        let ended = live.engine.outcome().cloned();
        self.note_rehearsal(id, &step.records, effects)?;
        self.note_lesson(id, &step.records, effects)?;
        self.note_schema(id, &step.records, effects)?;
        for command in step.commands {
            match command {
                Command::Assign { host, assignment } => {
                    let confirm = self.live.get(&id).and_then(|live| live.engine.confirmation(&host));
                    self.assign(&host, &service, assignment, confirm, effects)?;
                }
                Command::Migrate { host, order } => {
                    self.order_migration(&host, &release, order, now, effects)?;
                }
            }
        }
        match ended {
            Some(outcome) => self.end(id, &outcome, now, effects),
            None => Ok(()),
        }
    }

    fn end(
        &mut self,
        id: DeploymentId,
        outcome: &Outcome,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let (Some(live), Some(record)) = (self.live.remove(&id), self.deployments.get_mut(&id)) else {
            return Ok(());
        };
        let ending = match outcome {
            Outcome::Succeeded { .. } | Outcome::Returned { .. } => Ending::Succeeded,
            Outcome::RolledBack { .. } => Ending::RolledBack,
            Outcome::NeedsPerson { .. } => Ending::NeedsPerson,
        };
        record.ended = Some((now, ending));
        record.reason = live.engine.reason().to_owned();
        record.records = live.sequence;
        effects.put(Keyspace::Deployments, deployment_key(id), record)?;
        tracing::info!(?ending, reason = record.reason, "deployment ended");
        effects.events.push(events::ended(id, record, ending, now));
        let (purpose, release) = (record.purpose, record.release.clone());
        let how = match ending {
            Ending::Succeeded => "succeeded",
            Ending::RolledBack => "rolled back",
            Ending::NeedsPerson => "needs a person",
        };
        let detail = format!("{id} to {}: {how} {}", release.version, record.reason);
        self.record_own(
            "EndDeployment",
            release.service.as_str(),
            detail.trim_end().to_owned(),
            "",
            now,
            effects,
        )?;
        self.settle(&release, purpose, ending, &live.engine, effects)?;
        self.keep_standbys(&live.engine, now, effects)?;
        self.finals.insert(id, live);
        self.end_judging(id, effects);
        self.end_rehearsal(id, now, effects)?;
        self.end_lesson(id, ending, now, effects)?;
        self.forget(&release, effects);
        self.prune(effects)?;
        self.catch_up(&release.service, now, effects)
    }

    /// After a start: orders again what each deployment orders, and ends those that had come to their end.
    pub(super) fn take_up(&mut self, now: Timestamp, effects: &mut Effects) -> Result<(), Refusal> {
        for id in self.live.keys().copied().collect::<Vec<_>>() {
            let Some(live) = self.live.get(&id) else { continue };
            let span = span(id, &live.engine, None);
            let _within = span.enter();
            let release = live.engine.release().clone();
            let outcome = live.engine.outcome().cloned();
            let migration = live.engine.migration_order();
            let confirmed = |(host, assignment)| (live.engine.confirmation(&host), host, assignment);
            let ordered: Vec<_> = live.engine.assignments().into_iter().map(confirmed).collect();
            for (confirm, host, assignment) in ordered {
                self.assign(&host, &release.service, assignment, confirm, effects)?;
            }
            let migrates: Vec<HostName> = self
                .hosts
                .iter()
                .filter(|(_, host)| host.migrations.contains_key(&release.service))
                .map(|(name, _)| name.clone())
                .collect();
            for host in migrates {
                if migration.as_ref().is_none_or(|order| order.host != host) {
                    self.order_migration(&host, &release, None, now, effects)?;
                }
            }
            if let Some(order) = migration {
                self.order_migration(&order.host.clone(), &release, Some(order), now, effects)?;
            }
            tracing::info!("deployment taken up again");
            if let Some(outcome) = outcome {
                self.end(id, &outcome, now, effects)?;
            }
        }
        Ok(())
    }

    /// Drops the oldest deployments of a service.
    fn forget(&mut self, release: &ReleaseRef, effects: &mut Effects) {
        let ended: Vec<DeploymentId> = self
            .deployments
            .iter()
            .rev()
            .filter(|(_, record)| record.release.service == release.service && record.ended.is_some())
            .map(|(id, _)| *id)
            .collect();
        for id in ended.iter().skip(FINALS_PER_SERVICE) {
            self.finals.remove(id);
            self.judging.remove(id);
        }
        // Since when a release is the current one is asked of the deployment that made it so.
        let made_current = ended.iter().find(|id| {
            let record = &self.deployments[*id];
            matches!(record.purpose, Purpose::Release | Purpose::Rollback)
                && record.ended.is_some_and(|(_, ending)| ending == Ending::Succeeded)
        });
        for id in ended.iter().skip(HISTORY_PER_SERVICE).filter(|id| Some(*id) != made_current) {
            if let Some(record) = self.deployments.remove(id) {
                self.requests.remove(&record.request);
                effects.delete(Keyspace::Deployments, deployment_key(*id));
                for sequence in 0..record.records {
                    effects.delete(Keyspace::Journal, journal_key(*id, sequence));
                }
            }
        }
    }
}

/// What a host's report says of its flip to what the service's order is.
fn flip_seen(host: &Host, service: &ServiceName, report: &HostReport) -> FlipSeen {
    let asked = host.assignments.get(service).and_then(|record| record.confirm);
    let told = report.flips.get(service).and_then(|flip| flip.confirmation.as_ref());
    let confirmation = told.filter(|told| asked.is_some_and(|asked| asked.revision == told.revision));
    FlipSeen {
        confirmation: confirmation.map(|told| told.state.clone()),
        moment: host.moments.get(service).copied().filter(|_| report.revision == host.record.revision),
    }
}
