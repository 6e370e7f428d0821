//! What the points go by, as the fleet has it.

use super::{
    super::{Works, refusal::Refusal, rehearsals::RehearsalRecord, releases, state::State},
    LessonRecord, Preflight,
    schema::{Declared, Schema},
};
use handover_model::{
    DeploymentId, HostName, ReleaseRef, ServiceName, Timestamp, Version,
    config::{ListenerName, Manifest, ReadinessCheck, Rehearsal, Template},
};
use std::collections::{BTreeMap, BTreeSet};

/// Everything that the points go by.
#[derive(Clone, Debug)]
pub(super) struct Facts<'a> {
    /// What would be deployed.
    pub(super) release: &'a ReleaseRef,
    /// Its manifest.
    pub(super) manifest: &'a Manifest,
    /// The service's current release.
    pub(super) current: Option<&'a Version>,
    /// Other releases of the service that hosts run or have standing by.
    pub(super) running: BTreeMap<&'a Version, BTreeSet<&'a HostName>>,
    /// Of those, what they work with of the database whose schema the release reads.
    pub(super) reads: BTreeMap<&'a Version, Works>,
    /// Starts of the service's instances with the same readiness check, the newest deployment's first.
    pub(super) starts: Vec<SeenStart<'a>>,
    /// What deployments of the service showed, the newest first.
    pub(super) lessons: Vec<(DeploymentId, &'a LessonRecord)>,
    /// Rehearsals that ended of going from the current release to this one, the newest first.
    pub(super) rehearsals: Vec<(DeploymentId, &'a RehearsalRecord)>,
    /// Why it does not count as rehearsed, where its manifest asks for that.
    pub(super) not_rehearsed: Option<String>,
    /// Its changes of the schema.
    pub(super) schema: Schema,
    /// When this was known.
    pub(super) now: Timestamp,
}

/// An instance that became ready.
#[derive(Clone, Copy, Debug)]
pub(super) struct SeenStart<'a> {
    /// Started by which deployment.
    pub(super) deployment: DeploymentId,
    /// Where.
    pub(super) host: &'a HostName,
    /// Milliseconds from exec until it was ready.
    pub(super) ready_millis: u64,
    /// Probes until then that were not answered well, where that is known.
    pub(super) unready_probes: Option<u32>,
    /// Listeners on which it accepted nothing then, where that is known.
    pub(super) unserved: Option<&'a [ListenerName]>,
}

impl State {
    /// The five points of a release: the newest of the service where none is named.
    ///
    /// # Errors
    /// When there is no such service or release.
    pub fn preflight(
        &self,
        service: &ServiceName,
        version: Option<&Version>,
        now: Timestamp,
    ) -> Result<Preflight, Refusal> {
        if !self.services.contains_key(service) {
            return Err(Refusal::NoService(service.clone()));
        }
        let newest =
            || self.list_releases(Some(service)).first().map(|stored| stored.release.name.version.clone());
        let Some(version) = version.cloned().or_else(newest) else {
            return Err(Refusal::Invalid(format!("{service} has no release that could be deployed")));
        };
        let release = ReleaseRef { service: service.clone(), version };
        let manifest = releases::parse(&self.release(&release)?.release.manifest)?;
        Ok(Preflight::of(&self.preflight_facts(&release, &manifest, now)))
    }

    fn preflight_facts<'a>(
        &'a self,
        release: &'a ReleaseRef,
        manifest: &'a Manifest,
        now: Timestamp,
    ) -> Facts<'a> {
        let ReleaseRef { service, version } = release;
        let current = self.services.get(service).and_then(|record| record.current.as_ref());
        let lessons: Vec<_> = self.lessons_of(service).collect();
        let others = current.filter(|current| *current != version);
        let of_pair = |record: &RehearsalRecord| {
            record.ended.is_some() && Some(&record.from) == others && record.to == *version
        };
        let not_rehearsed = match (manifest.rollout.rehearsal, others) {
            (Rehearsal::Required, Some(from)) => {
                self.not_rehearsed(release, from, manifest.rollout.rehearsal_max_age, now)
            }
            (Rehearsal::Required, None) | (Rehearsal::Optional, _) => None,
        };
        let running = self.others_that_run(release);
        let reads = self.read_of_the_same(release, running.keys().copied());
        Facts {
            release,
            manifest,
            current,
            running,
            reads,
            starts: self.starts_with(&manifest.readiness.check, service, &lessons),
            rehearsals: self.rehearsals_of(service).rev().filter(|(_, record)| of_pair(record)).collect(),
            lessons,
            not_rehearsed,
            schema: self.preflight_schema(release, manifest, now),
            now,
        }
    }

    fn preflight_schema(&self, release: &ReleaseRef, manifest: &Manifest, now: Timestamp) -> Schema {
        let (Some(schema), Some(config)) = (self.schema_of(release), &manifest.schema) else {
            return Schema::NoneDeclared;
        };
        let refused =
            self.around(release, schema, manifest, config, now).err().map(|refusal| match refusal {
                Refusal::Schema { why, hint } => (why.into(), hint.into()),
                other => (other.to_string(), String::new()),
            });
        let known = self.schema_version(&schema.database);
        Schema::Declared(Box::new(Declared { schema: schema.clone(), known, refused }))
    }

    /// What hosts should run of a service besides a release, with what stands by.
    fn others_that_run<'a>(&'a self, release: &ReleaseRef) -> BTreeMap<&'a Version, BTreeSet<&'a HostName>> {
        let mut running: BTreeMap<&Version, BTreeSet<&HostName>> = BTreeMap::new();
        for (name, host) in &self.hosts {
            let placed = host.assignments.get(&release.service).into_iter();
            let placed = placed.flat_map(|record| &record.assignment.0);
            for other in placed.map(|placement| &placement.release.version) {
                if *other != release.version {
                    running.entry(other).or_default().insert(name);
                }
            }
        }
        running
    }

    /// What releases of the same service work with of the database whose schema a release reads.
    fn read_of_the_same<'a>(
        &self,
        release: &ReleaseRef,
        versions: impl Iterator<Item = &'a Version>,
    ) -> BTreeMap<&'a Version, Works> {
        let Some(own) = self.schema_of(release) else { return BTreeMap::new() };
        let reads = |version: &'a Version| {
            let other = ReleaseRef { service: release.service.clone(), version: version.clone() };
            let schema = self.schema_of(&other).filter(|schema| schema.database == own.database)?;
            Some((version, self.works(schema, None)))
        };
        versions.filter_map(reads).collect()
    }

    /// The starts of a service with this readiness check, of those that are remembered.
    fn starts_with<'a>(
        &self,
        wanted: &ReadinessCheck<Template>,
        service: &ServiceName,
        lessons: &[(DeploymentId, &'a LessonRecord)],
    ) -> Vec<SeenStart<'a>> {
        let asked_the_same = |version: &Version| {
            let name = ReleaseRef { service: service.clone(), version: version.clone() };
            let stored = self.releases.get(&name);
            let manifest = stored.and_then(|stored| releases::parse(&stored.release.manifest).ok());
            manifest.is_some_and(|manifest| same(&manifest.readiness.check, wanted))
        };
        let versions: BTreeSet<&Version> = lessons.iter().map(|(_, lesson)| &lesson.version).collect();
        let with_it: BTreeSet<&Version> =
            versions.into_iter().filter(|version| asked_the_same(version)).collect();
        let of_these = lessons.iter().filter(|(_, lesson)| with_it.contains(&lesson.version));
        let seen = of_these.flat_map(|(deployment, lesson)| {
            lesson.starts.iter().map(|start| SeenStart {
                deployment: *deployment,
                host: &start.host,
                ready_millis: start.ready_millis,
                unready_probes: start.unready_probes,
                unserved: start.unserved.as_deref(),
            })
        });
        seen.collect()
    }
}

/// Whether two releases become ready by the same.
fn same(one: &ReadinessCheck<Template>, other: &ReadinessCheck<Template>) -> bool {
    match (one, other) {
        (ReadinessCheck::Probe(one), ReadinessCheck::Probe(other)) => one.check.asks_the_same(&other.check),
        (ReadinessCheck::Notify, ReadinessCheck::Notify)
        | (ReadinessCheck::Alive { .. }, ReadinessCheck::Alive { .. }) => true,
        (ReadinessCheck::Probe(_) | ReadinessCheck::Notify | ReadinessCheck::Alive { .. }, _) => false,
    }
}
