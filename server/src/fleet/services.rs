//! Services: what is current in them, how a plan is made, and hosts that come late.

use super::{
    asked::DeploymentRequest,
    effects::Effects,
    locks::reason_of,
    records::{Ending, HISTORY, Purpose, ServiceRecord, assignment_key},
    refusal::Refusal,
    releases,
    state::{Host, State},
};
use crate::store::Keyspace;
use handover_model::{
    Duration, HostName, InstancePhase, Labels, ReleaseRef, Resolution, ServiceName, Share, Timestamp,
    Version,
    config::{
        Approve, Batch, Inconclusive as NoVerdict, Manifest, Offline, OnFailure as Failure, RolloutConfig,
        StepConfig, Strategy, Verify,
    },
};
use handover_rollout::{
    Assignment, BatchSize, BlueGreen, CanaryStep, Deployment, FleetHost, HostState, Inconclusive, Judged,
    OfflinePolicy, OnFailure, Placement, Plan, PlanError, PlanRequest, Rolling, blue_green, canary,
    flip_back, rolling,
};
use std::collections::BTreeSet;

/// Who begins deployments for hosts that come late.
pub const CATCH_UP: &str = "server (catch-up)";
/// Added to the deadlines of the manifest's readiness and verification: for fetching and unpacking the bundle.
const FETCHING: Duration = Duration::from_secs(300);
/// Added to the manifest's drain deadlines: for killing, and for the report.
const SLACK: Duration = Duration::from_secs(30);

impl State {
    /// The plan of a request, and what the deployment will be for. Changes nothing.
    ///
    /// # Errors
    /// When there is no such service or release, nothing to go back to, or nothing to do.
    pub fn plan_deployment(
        &self,
        request: &DeploymentRequest,
        now: Timestamp,
    ) -> Result<(Plan, Purpose), Refusal> {
        let service =
            self.services.get(&request.service).ok_or_else(|| Refusal::NoService(request.service.clone()))?;
        let version = if request.migrate.is_some() {
            self.migrated_version(request, service)?
        } else if request.rollback {
            self.rollback_version(request, service)?
        } else if request.rehearse.is_some() && request.version.is_none() {
            self.rehearsed_version(&request.service, service)?
        } else {
            request
                .version
                .clone()
                .ok_or_else(|| Refusal::Invalid("a deployment needs a version, or rollback".to_owned()))?
        };
        let release = ReleaseRef { service: request.service.clone(), version };
        let stored = self.release(&release)?;
        if stored.record.pruned {
            return Err(Refusal::NoBundle(release));
        }
        let manifest = releases::parse(&stored.release.manifest)?;
        let asked = self.plan_request(&release, &manifest, request.hosts.clone(), now);
        if let Some(phase) = request.migrate {
            let resolve = resolution(request)?;
            let plan = self.plan_migration(&asked, phase, request.force.as_deref(), resolve, now)?;
            return Ok((plan, Purpose::Migration));
        }
        if request.resolve.is_some() {
            return Err(Refusal::Invalid(
                "what was found of a migration is said with the phase that goes on with it: `handover migrate`".to_owned(),
            ));
        }
        if let Some(time) = request.rehearse {
            let plan = Self::plan_rehearsal(asked, service, time)?;
            return Ok((self.with_migrations(plan, Purpose::Rehearsal, &manifest, now)?, Purpose::Rehearsal));
        }
        let purpose = if request.rollback {
            Purpose::Rollback
        } else if request.hosts.is_empty() || self.covers(&request.hosts, &manifest.hosts) {
            Purpose::Release
        } else {
            Purpose::NamedHosts
        };
        // A rollback is never a slow roll-out: every host in one step, and nothing is waited for, confirmed or kept.
        let back = PlanRequest {
            max_in_flight: None,
            order_by: None,
            keep_warm: Duration::ZERO,
            confirm: Duration::ZERO,
            ..asked.clone()
        };
        let plan_of = |asked: &PlanRequest| match purpose {
            Purpose::Rollback => flip_back(&PlanRequest { force: asked.force, ..back.clone() }),
            Purpose::Release
            | Purpose::NamedHosts
            | Purpose::CatchUp
            | Purpose::Rehearsal
            | Purpose::Migration => plan_of(asked, &manifest),
        };
        let plan = match plan_of(&asked) {
            // Every host has it already, but it is not the service's current release (hosts got it by name): made
            // current by a deployment like any other.
            Err(PlanError::NothingToDo { .. }) if service.current.as_ref() != Some(&release.version) => {
                plan_of(&PlanRequest { force: true, ..asked })
            }
            plan => plan,
        };
        let plan = plan.map_err(|error| Refusal::no_plan(&error))?;
        Ok((self.with_migrations(plan, purpose, &manifest, now)?, purpose))
    }

    /// The plan that brings a release to some hosts, as its manifest says.
    pub(super) fn plan_for(
        &self,
        release: &ReleaseRef,
        hosts: &BTreeSet<HostName>,
        now: Timestamp,
    ) -> Result<Plan, Refusal> {
        let stored = self.release(release)?;
        if stored.record.pruned {
            return Err(Refusal::NoBundle(release.clone()));
        }
        let manifest = releases::parse(&stored.release.manifest)?;
        let request = self.plan_request(release, &manifest, hosts.clone(), now);
        let plan = plan_of(&request, &manifest).map_err(|error| Refusal::no_plan(&error))?;
        self.with_migrations(plan, Purpose::NamedHosts, &manifest, now)
    }

    /// Whose migrations are meant where no release is named: the current one's.
    fn migrated_version(
        &self,
        request: &DeploymentRequest,
        service: &ServiceRecord,
    ) -> Result<Version, Refusal> {
        request.version.clone().or_else(|| service.current.clone()).ok_or_else(|| {
            Refusal::Invalid(format!(
                "{} has no current release yet: name one with --release",
                request.service
            ))
        })
    }

    fn rollback_version(
        &self,
        request: &DeploymentRequest,
        service: &ServiceRecord,
    ) -> Result<Version, Refusal> {
        if let Some(why) = self.no_rollback(&request.service) {
            return Err(Refusal::NoPreviousRelease { service: request.service.clone(), why });
        }
        match (service.history.last(), &request.version) {
            (Some(previous), None) => Ok(previous.clone()),
            (Some(previous), Some(asked)) if previous == asked => Ok(previous.clone()),
            _ => Err(Refusal::Invalid(
                "a rollback goes to the previous release: name no version, or deploy the one that you want"
                    .to_owned(),
            )),
        }
    }

    /// Why a service cannot be rolled back; `None` where it can.
    #[must_use]
    pub fn no_rollback(&self, service: &ServiceName) -> Option<String> {
        let Some(record) = self.services.get(service) else {
            return Some("there is no such service".to_owned());
        };
        if record.current.is_none() {
            return Some("no deployment of it ended well yet".to_owned());
        }
        let Some(previous) = record.history.last() else {
            return Some("there is no release before the current one".to_owned());
        };
        let name = ReleaseRef { service: service.clone(), version: previous.clone() };
        match self.releases.get(&name) {
            None => Some(format!("release {previous} is not known any more")),
            Some(release) if release.record.pruned => {
                Some(format!("the bundle of release {previous} is not on the server any more: push it again"))
            }
            Some(_) => self.does_not_read(&name),
        }
    }

    fn covers(&self, hosts: &BTreeSet<HostName>, asked: &Labels) -> bool {
        self.hosts
            .iter()
            .all(|(name, host)| hosts.contains(name) || !Self::chosen(asked, &host.record.labels))
    }

    fn plan_request(
        &self,
        release: &ReleaseRef,
        manifest: &Manifest,
        only: BTreeSet<HostName>,
        now: Timestamp,
    ) -> PlanRequest {
        let rollout = &manifest.rollout;
        let fleet_host = |(name, host): (&HostName, &Host)| {
            let assignment = host.assignments.get(&release.service).map(|record| &record.assignment);
            FleetHost {
                host: name.clone(),
                labels: host.record.labels.clone(),
                cordoned: host.record.cordoned,
                online: self.reachable(host, now),
                runs: assignment.and_then(Assignment::main).cloned(),
                gave_up: assignment.and_then(Assignment::main).is_some_and(|runs| gave_up(host, runs)),
                standby: assignment
                    .and_then(Assignment::standby)
                    .filter(|standby| is_ready(host, standby))
                    .cloned(),
            }
        };
        PlanRequest {
            service: release.service.clone(),
            release: release.clone(),
            labels: manifest.hosts.clone(),
            only,
            hosts: self.hosts.iter().map(fleet_host).collect(),
            order_by: rollout.order_by.clone(),
            max_in_flight: rollout.max_in_flight.map(BatchSize::Hosts),
            failures_allowed: rollout.failures_allowed,
            on_failure: match rollout.on_failure {
                Failure::Rollback => OnFailure::RollBack,
                Failure::Pause => OnFailure::Pause,
            },
            offline: match rollout.offline {
                Offline::Wait => OfflinePolicy::Wait { deadline: rollout.offline_deadline },
                Offline::Skip => OfflinePolicy::Skip,
                Offline::Fail => OfflinePolicy::Fail,
            },
            ready_deadline: manifest.readiness.deadline
                + FETCHING
                + manifest.verify.as_ref().map(Verify::deadline).unwrap_or_default(),
            flip_deadline: rollout.flip_deadline,
            retire_deadline: manifest.drain.queue_deadline + manifest.drain.deadline + SLACK,
            keep_warm: rollout.keep_warm,
            confirm: rollout.confirm,
            force: false,
        }
    }

    /// What a deployment's end means for its service and hosts.
    pub(super) fn settle(
        &mut self,
        release: &ReleaseRef,
        purpose: Purpose,
        ending: Ending,
        engine: &Deployment,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        if matches!(purpose, Purpose::Rehearsal | Purpose::Migration) {
            return Ok(());
        }
        for view in engine.hosts() {
            let done = matches!(view.state, HostState::Done { .. });
            let untouched = matches!(view.state, HostState::Pending | HostState::Skipped { .. });
            let Some(host) = self.hosts.get_mut(view.host) else { continue };
            if view.failure.is_some() || !(done || untouched) {
                host.tried.insert(release.service.clone());
            }
            let held = match purpose {
                Purpose::NamedHosts => done && ending == Ending::Succeeded,
                Purpose::Release
                | Purpose::Rollback
                | Purpose::CatchUp
                | Purpose::Rehearsal
                | Purpose::Migration => false,
            };
            if let Some(record) = host.assignments.get_mut(&release.service)
                && record.held != held
                && ending == Ending::Succeeded
            {
                record.held = held;
                effects.put(Keyspace::Assignments, assignment_key(view.host, &release.service), record)?;
            }
        }
        if ending == Ending::Succeeded && matches!(purpose, Purpose::Release | Purpose::Rollback) {
            let service = self.services.entry(release.service.clone()).or_default();
            advance(service, &release.version, purpose);
            effects.put(Keyspace::Services, release.service.as_str().as_bytes().to_vec(), service)?;
            // Held hosts that the plan left out because they had the release already belong to everybody's again.
            for (name, host) in &mut self.hosts {
                if let Some(record) = host.assignments.get_mut(&release.service)
                    && record.held
                {
                    record.held = false;
                    effects.put(Keyspace::Assignments, assignment_key(name, &release.service), record)?;
                }
            }
        }
        Ok(())
    }

    /// A host came, or changed: brings it to the current release of each of its services.
    pub(super) fn catch_up_host(
        &mut self,
        name: &HostName,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let Some(host) = self.hosts.get(name) else { return Ok(()) };
        let behind: Vec<ServiceName> =
            self.services.keys().filter(|service| self.is_behind(host, service)).cloned().collect();
        for service in behind {
            self.catch_up(&service, now, effects)?;
        }
        Ok(())
    }

    /// Whether the host should run the service's current release, does not, and can be brought to it now.
    fn is_behind(&self, host: &Host, service: &ServiceName) -> bool {
        let Some(current) = self.services.get(service).and_then(|record| record.current.clone()) else {
            return false;
        };
        let release = ReleaseRef { service: service.clone(), version: current };
        let Some(stored) = self.releases.get(&release) else { return false };
        let assigned = host.assignments.get(service);
        let there = assigned.is_some_and(|record| {
            record.held
                || record
                    .assignment
                    .main()
                    .is_some_and(|main| main.release == release && main.share == Share::ALL)
        });
        host.online.is_some()
            && !host.record.cordoned
            && !there
            && !host.tried.contains(service)
            && Self::chosen(&stored.record.hosts, &host.record.labels)
    }

    /// Brings the hosts of a service that are behind to its current release, unless a deployment of it goes on: its
    /// end asks again. A failure is not repeated before the host's next session or the next deployment.
    pub(super) fn catch_up(
        &mut self,
        service: &ServiceName,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let Some(current) = self.services.get(service).and_then(|record| record.current.clone()) else {
            return Ok(());
        };
        if self.live_of(service).is_some() {
            return Ok(());
        }
        let behind: BTreeSet<HostName> = self
            .hosts
            .iter()
            .filter(|(_, host)| self.is_behind(host, service))
            .map(|(name, _)| name.clone())
            .collect();
        if behind.is_empty() {
            return Ok(());
        }
        for name in &behind {
            if let Some(host) = self.hosts.get_mut(name) {
                host.tried.insert(service.clone());
            }
        }
        let release = ReleaseRef { service: service.clone(), version: current };
        let stored = self.release(&release)?;
        let plan = releases::parse(&stored.release.manifest).and_then(|manifest| {
            let mut request = self.plan_request(&release, &manifest, behind, now);
            // Nobody watches: a failure must neither hold the service's deployments up nor ask for a person. And what
            // these hosts ran is of no use any more.
            request.on_failure = OnFailure::RollBack;
            request.offline = OfflinePolicy::Skip;
            request.keep_warm = Duration::ZERO;
            let plan =
                rolling(&request, batches(&manifest.rollout)).map_err(|error| Refusal::no_plan(&error))?;
            self.with_migrations(plan, Purpose::CatchUp, &manifest, now)
        });
        match plan {
            Ok(plan) => self.begin(&plan, Purpose::CatchUp, CATCH_UP, "", now, effects).map(|_| ()),
            Err(refusal) => {
                tracing::warn!(%release, %refusal, "hosts cannot be brought up to date");
                Ok(())
            }
        }
    }
}

/// What a person found of a migration, with the reason that it needs.
fn resolution(request: &DeploymentRequest) -> Result<Option<Resolution>, Refusal> {
    match &request.resolve {
        Some((_, reason)) if reason_of(reason).is_empty() => Err(Refusal::Invalid(
            "--resolve needs a reason, which goes into the audit: --reason WHY".to_owned(),
        )),
        found => Ok(found.as_ref().map(|(found, _)| *found)),
    }
}

/// Whether an instance is ready, as its host said last: one that crashed meanwhile is nothing to go back to.
pub(super) fn is_ready(host: &Host, placement: &Placement) -> bool {
    phase(host, placement) == Some(InstancePhase::Ready)
}

/// Whether its agent starts an instance no more, as it said last.
fn gave_up(host: &Host, placement: &Placement) -> bool {
    phase(host, placement) == Some(InstancePhase::GaveUp)
}

fn phase(host: &Host, placement: &Placement) -> Option<InstancePhase> {
    let report = host.report.as_ref().and_then(|report| report.instances.get(&placement.instance));
    report.map(|report| report.phase)
}

/// The plan of the manifest's strategy.
fn plan_of(request: &PlanRequest, manifest: &Manifest) -> Result<Plan, PlanError> {
    let rollout = &manifest.rollout;
    match rollout.strategy {
        Strategy::Rolling => rolling(request, batches(rollout)),
        Strategy::BlueGreen => {
            let approval = rollout.approve == Approve::Manual;
            blue_green(request, BlueGreen { bake: rollout.bake, approval })
        }
        Strategy::Canary => canary(request, &steps(manifest)),
    }
}

fn batches(rollout: &RolloutConfig) -> Rolling {
    Rolling { batch: batch_size(rollout.batch), bake: rollout.bake }
}

const fn batch_size(batch: Batch) -> BatchSize {
    match batch {
        Batch::Hosts(number) => BatchSize::Hosts(number),
        Batch::Percent(percent) => BatchSize::Percent(percent),
    }
}

/// The steps of a canary, each judged.
fn steps(manifest: &Manifest) -> Vec<CanaryStep> {
    let (rollout, judge, measured) = (&manifest.rollout, &manifest.judge, manifest.metrics.is_some());
    let inconclusive = match judge.inconclusive {
        NoVerdict::Hold => Inconclusive::Hold,
        NoVerdict::Rollback => Inconclusive::RollBack,
        NoVerdict::GoOn => Inconclusive::GoOn,
    };
    let step = |step: &StepConfig| CanaryStep {
        hosts: batch_size(step.hosts),
        share: step.share,
        bake: step.bake.unwrap_or(rollout.bake),
        // Without metrics a person judges: the manifest is refused otherwise.
        judged: measured.then(|| Judged { within: step.within.unwrap_or(judge.within), inconclusive }),
        approval: step.approve == Approve::Manual,
    };
    rollout.steps.iter().map(step).collect()
}

/// The service's current release is `version` now.
fn advance(service: &mut ServiceRecord, version: &Version, purpose: Purpose) {
    if service.current.as_ref() == Some(version) {
        return;
    }
    if purpose == Purpose::Rollback && service.history.last() == Some(version) {
        service.history.pop();
    } else if let Some(former) = service.current.take() {
        service.history.retain(|other| *other != former && other != version);
        service.history.push(former);
        let surplus = service.history.len().saturating_sub(HISTORY);
        service.history.drain(..surplus);
    }
    service.current = Some(version.clone());
}
