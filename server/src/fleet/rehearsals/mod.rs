//! Rehearsals: there and back on one host, what they showed, and releases that must not be deployed without one.
//!
//! A rehearsal is a deployment like any other. What is remembered of it follows from the engine's records as they become
//! durable, and is written with them, so that a server that is killed in the middle has what was known before.

mod record;

pub use record::{FlipRecord, RehearsalRecord};

use super::{
    asked::DeploymentRequest,
    effects::Effects,
    locks::reason_of,
    records::{Purpose, ServiceRecord, deployment_key},
    refusal::Refusal,
    releases,
    services::is_ready,
    state::State,
};
use crate::store::Keyspace;
use handover_model::{
    DeploymentId, Duration, HostName, ReleaseRef, ServiceName, Share, Timestamp, Version, config::Rehearsal,
};
use handover_rollout::{Deployment, OfflinePolicy, OnFailure, Outcome, Plan, PlanRequest, Record, rehearsal};
use record::{Answered, Took};
use std::collections::BTreeMap;

/// How many of a service are remembered.
const KEPT: usize = 20;
/// How long the release keeps all connections at most.
const LONGEST: Duration = Duration::from_secs(3600);

impl State {
    /// What a deployment showed that is a rehearsal and is remembered.
    #[must_use]
    pub fn rehearsal(&self, id: DeploymentId) -> Option<&RehearsalRecord> {
        self.rehearsals.get(&id)
    }

    /// Those of a service that are remembered, the oldest first.
    ///
    /// # Errors
    /// When there is no such service.
    pub fn rehearsals<'a>(
        &'a self,
        service: &'a ServiceName,
    ) -> Result<impl DoubleEndedIterator<Item = (DeploymentId, &'a RehearsalRecord)>, Refusal> {
        if !self.services.contains_key(service) {
            return Err(Refusal::NoService(service.clone()));
        }
        Ok(self.rehearsals_of(service))
    }

    /// The last one of each service that has one.
    #[must_use]
    pub fn last_rehearsals(&self) -> BTreeMap<&ServiceName, (DeploymentId, &RehearsalRecord)> {
        // In the order of their numbers: a later one takes the place of an earlier one.
        self.rehearsals.iter().map(|(id, record)| (&record.service, (*id, record))).collect()
    }

    pub(super) fn rehearsals_of<'a>(
        &'a self,
        service: &'a ServiceName,
    ) -> impl DoubleEndedIterator<Item = (DeploymentId, &'a RehearsalRecord)> {
        let of_service = self.rehearsals.iter().filter(move |(_, record)| record.service == *service);
        of_service.map(|(id, record)| (*id, record))
    }

    /// The plan of a rehearsal. Where no host was named, one that runs the service's current release is taken.
    pub(super) fn plan_rehearsal(
        mut asked: PlanRequest,
        service: &ServiceRecord,
        time: Duration,
    ) -> Result<Plan, Refusal> {
        if time > LONGEST {
            return Err(Refusal::Invalid(
                "a rehearsal gives a release all connections of a host for an hour at most".to_owned(),
            ));
        }
        let runs_current = |host: &handover_rollout::FleetHost| {
            let runs = host.runs.as_ref().filter(|runs| runs.share == Share::ALL);
            runs.is_some_and(|runs| Some(&runs.release.version) == service.current.as_ref())
        };
        if asked.only.is_empty() && asked.hosts.iter().any(runs_current) {
            asked.hosts.retain(runs_current);
        }
        let asked = PlanRequest {
            max_in_flight: None,
            failures_allowed: 0,
            on_failure: OnFailure::RollBack,
            offline: OfflinePolicy::Fail,
            keep_warm: Duration::ZERO,
            ..asked
        };
        rehearsal(&asked, time).map_err(|error| Refusal::no_plan(&error))
    }

    /// What is rehearsed where nothing is named: what stands by, or else the newest release.
    pub(super) fn rehearsed_version(
        &self,
        service: &ServiceName,
        record: &ServiceRecord,
    ) -> Result<Version, Refusal> {
        let standby = self.hosts.values().find_map(|host| {
            let standby = host.assignments.get(service)?.assignment.standby()?;
            is_ready(host, standby).then(|| standby.release.version.clone())
        });
        let of_service = self.releases.iter().filter(|(name, _)| name.service == *service);
        let newest = of_service.max_by_key(|(_, stored)| stored.record.created);
        match standby.or_else(|| newest.map(|(name, _)| name.version.clone())) {
            Some(version) if Some(&version) == record.current.as_ref() => Err(Refusal::Invalid(format!(
                "{service} runs its newest release {version} and nothing stands by: name the release to rehearse with --release"
            ))),
            Some(version) => Ok(version),
            None => Err(Refusal::Invalid(format!("{service} has no release that could be rehearsed"))),
        }
    }

    /// That the release was rehearsed where its manifest asks for it, or that this is overridden with a reason.
    ///
    /// # Errors
    /// When it was not, not well, or too long ago.
    pub(super) fn pass_rehearsal(
        &self,
        release: &ReleaseRef,
        purpose: Purpose,
        request: &DeploymentRequest,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        match purpose {
            Purpose::Release | Purpose::NamedHosts => {}
            Purpose::Rollback | Purpose::CatchUp | Purpose::Rehearsal | Purpose::Migration => return Ok(()),
        }
        let rollout = releases::parse(&self.release(release)?.release.manifest)?.rollout;
        let current = self.services.get(&release.service).and_then(|service| service.current.clone());
        let Some(from) = current.filter(|current| *current != release.version) else { return Ok(()) };
        let Some(why) = (match rollout.rehearsal {
            Rehearsal::Optional => None,
            Rehearsal::Required => self.not_rehearsed(release, &from, rollout.rehearsal_max_age, now),
        }) else {
            return Ok(());
        };
        match request.override_rehearsal.as_deref().map(reason_of) {
            None => Err(Refusal::RehearsalRequired {
                release: release.clone(),
                from,
                why,
                command: format!("{} --override-rehearsal --reason WHY", request.command()).into(),
            }),
            Some(reason) if reason.is_empty() => Err(Refusal::Invalid(
                "deploying without the rehearsal needs a reason, which goes into the audit: --reason WHY"
                    .to_owned(),
            )),
            Some(_) => Ok(()),
        }
    }

    /// Why a pair of releases does not count as rehearsed; `None` where it does.
    pub(super) fn not_rehearsed(
        &self,
        release: &ReleaseRef,
        from: &Version,
        max_age: Duration,
        now: Timestamp,
    ) -> Option<String> {
        let of_pair = |record: &RehearsalRecord| {
            record.ended.is_some() && record.from == *from && record.to == release.version
        };
        let all = || self.rehearsals_of(&release.service).filter(|(_, record)| of_pair(record));
        let good = all().rfind(|(_, record)| record.succeeded());
        let Some((id, record)) = good else {
            return Some(match all().next_back() {
                None => "none is recorded".to_owned(),
                Some((id, record)) => format!("the last one, {id}, failed: {}", record.reason),
            });
        };
        let age = now.since(record.ended.unwrap_or(record.began));
        (age > max_age).then(|| {
            let [age, max_age] = [age, max_age].map(super::refusal::seconds);
            format!("the last good one, {id}, was {age} ago, and {max_age} are allowed")
        })
    }

    /// A rehearsal begins.
    pub(super) fn begin_rehearsal(
        &mut self,
        id: DeploymentId,
        plan: &Plan,
        by: &str,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let planned = plan.stages.first().and_then(|stage| stage.hosts.first());
        let Some((planned, from)) = planned.and_then(|planned| Some((planned, planned.from.as_ref()?)))
        else {
            return Ok(());
        };
        let record = RehearsalRecord::begun(plan, planned, &from.release.version, by, now);
        effects.put(Keyspace::Rehearsals, deployment_key(id), &record)?;
        self.rehearsals.insert(id, record);
        Ok(())
    }

    /// A deployment went on: what that says of a rehearsal.
    pub(super) fn note_rehearsal(
        &mut self,
        id: DeploymentId,
        records: &[Record],
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let (Some(rehearsal), Some(live)) = (self.rehearsals.get_mut(&id), self.live.get(&id)) else {
            return Ok(());
        };
        let took = Took::of(&live.engine, &rehearsal.host);
        let mut changed = false;
        for record in records {
            changed |= rehearsal.note(record, took);
        }
        if changed {
            effects.put(Keyspace::Rehearsals, deployment_key(id), rehearsal)?;
        }
        Ok(())
    }

    /// A host's service was measured: what that says of a rehearsal there.
    pub(super) fn count_rehearsal(&mut self, host: &HostName, service: &ServiceName) {
        let Some((id, live)) = self.live_of(service) else { return };
        let new = live.engine.pairs().find(|(name, _, _)| *name == host).map(|(_, new, _)| new.clone());
        let measured = self.hosts.get(host).and_then(|host| host.measured.get(service));
        let sample = measured.zip(new).and_then(|((_, measured), new)| measured.instances.get(&new));
        let counted = sample.and_then(|sample| sample.traffic.as_ref().ok()).map(Answered::of);
        if let (Some(rehearsal), Some(counted)) = (self.rehearsals.get_mut(&id), counted) {
            rehearsal.count(counted);
        }
    }

    /// A deployment ended: so did the rehearsal that it was. The oldest ones of its service are forgotten.
    pub(super) fn end_rehearsal(
        &mut self,
        id: DeploymentId,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let Some(rehearsal) = self.rehearsals.get_mut(&id) else { return Ok(()) };
        let engine = self.finals.get(&id).map(|live| &live.engine);
        rehearsal.ended = Some(now);
        rehearsal.reason = match engine.and_then(Deployment::outcome) {
            Some(Outcome::Returned { .. }) => String::new(),
            Some(Outcome::Succeeded { .. } | Outcome::RolledBack { .. } | Outcome::NeedsPerson { .. })
            | None => {
                let reason = engine.map(Deployment::reason).filter(|reason| !reason.is_empty());
                reason.unwrap_or("it did not go there and back").to_owned()
            }
        };
        effects.put(Keyspace::Rehearsals, deployment_key(id), rehearsal)?;
        let service = rehearsal.service.clone();
        let old: Vec<DeploymentId> =
            self.rehearsals_of(&service).rev().skip(KEPT).map(|(id, _)| id).collect();
        for id in old {
            self.rehearsals.remove(&id);
            effects.delete(Keyspace::Rehearsals, deployment_key(id));
        }
        Ok(())
    }
}
