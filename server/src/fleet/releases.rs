//! Releases: pushed, never changed, their bundles dropped when nobody needs them.

use super::{
    effects::Effects,
    records::{CHUNK_BYTES, ReleaseRecord, chunk_key, release_key},
    refusal::Refusal,
    schemas::ReleaseSchema,
    state::{State, StoredRelease},
};
use crate::{
    events::{Event, EventKind},
    store::Keyspace,
};
use handover_model::{
    Digest, Release, ReleaseRef, ServiceName, Timestamp,
    config::{Manifest, Mistake},
};
use std::collections::BTreeSet;

/// How many of the newest releases of a service keep their bundles, needed or not.
const KEEP_NEWEST: usize = 5;
/// Most releases of the whole fleet.
const MAX_RELEASES: usize = 100_000;

/// A manifest as it must be read.
///
/// # Errors
/// All mistakes at once.
pub(super) fn parse(manifest: &str) -> Result<Manifest, Refusal> {
    Manifest::parse(manifest)
        .map_err(|errors| Refusal::Manifest(errors.all().iter().map(Mistake::to_violation).collect()))
}

impl State {
    /// Takes a release whose bundle lies on the server. The same content again is no change.
    ///
    /// # Errors
    /// A manifest with mistakes or of another service; the version with other content.
    pub fn create_release(
        &mut self,
        release: Release,
        schema: Option<ReleaseSchema>,
        by: &str,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<StoredRelease, Refusal> {
        let manifest = parse(&release.manifest)?;
        if manifest.service != release.name.service {
            return Err(Refusal::OtherService { manifest: manifest.service, release: release.name.service });
        }
        super::hosts::check_labels(&manifest.hosts)?;
        if let Some(known) = self.releases.get_mut(&release.name) {
            // The same files may be compressed by another version of the library: the tree is what counts.
            if known.release.bundle.tree != release.bundle.tree || known.release.manifest != release.manifest
            {
                return Err(Refusal::ReleaseExists(release.name));
            }
            // One that was pushed to a server that did not look what its migrations take away.
            let looked_at = schema.map(|schema| schema.columns).unwrap_or_default();
            if let Some(schema) = &mut known.record.schema
                && schema.columns.is_empty()
                && !looked_at.is_empty()
            {
                effects.put(Keyspace::Columns, release_key(&release.name), &looked_at)?;
                schema.columns = looked_at;
            }
            if known.record.pruned {
                known.record.pruned = false;
                known.record.bundle = release.bundle.clone();
                known.release.bundle = release.bundle;
                effects.put(Keyspace::Releases, release_key(&release.name), &known.record)?;
            }
            return Ok(known.clone());
        }
        if self.releases.len() >= MAX_RELEASES {
            return Err(Refusal::TooMany(format!("there are {MAX_RELEASES} releases already")));
        }
        let mut chunks = 0;
        for chunk in release.manifest.as_bytes().chunks(CHUNK_BYTES) {
            effects.put_bytes(Keyspace::Manifests, chunk_key(&release.name, chunks), chunk);
            chunks += 1;
        }
        if let Some(schema) = schema.as_ref().filter(|schema| !schema.columns.is_empty()) {
            effects.put(Keyspace::Columns, release_key(&release.name), &schema.columns)?;
        }
        let record = ReleaseRecord {
            bundle: release.bundle.clone(),
            chunks,
            hosts: manifest.hosts,
            created: now,
            created_by: by.to_owned(),
            pruned: false,
            schema,
        };
        effects.put(Keyspace::Releases, release_key(&release.name), &record)?;
        if !self.services.contains_key(&release.name.service) {
            effects.put(
                Keyspace::Services,
                release.name.service.as_str().as_bytes().to_vec(),
                self.services.entry(release.name.service.clone()).or_default(),
            )?;
        }
        effects.changed = true;
        effects.events.push(Event::new(EventKind::ReleasePushed, now).release(&release.name).by(by));
        let stored = StoredRelease { release: release.clone(), record };
        self.releases.insert(release.name, stored.clone());
        Ok(stored)
    }

    /// The releases, of one service or all, the newest first.
    #[must_use]
    pub fn list_releases(&self, service: Option<&ServiceName>) -> Vec<&StoredRelease> {
        let mut releases: Vec<_> = self
            .releases
            .values()
            .filter(|release| service.is_none_or(|service| release.release.name.service == *service))
            .collect();
        releases.sort_by_key(|release| std::cmp::Reverse(release.record.created));
        releases
    }

    /// One release.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn get_release(&self, name: &ReleaseRef) -> Result<&StoredRelease, Refusal> {
        self.release(name)
    }

    /// Marks releases whose bundles nobody needs, and orders their deletion. Kept are bundles of what any host
    /// should run, of current and previous releases, of deployments that go on, and the newest of each service.
    ///
    /// # Errors
    /// When a record cannot be written.
    pub fn prune(&mut self, effects: &mut Effects) -> Result<(), Refusal> {
        let mut keep: BTreeSet<ReleaseRef> = BTreeSet::new();
        for host in self.hosts.values() {
            let placements = host.assignments.values().flat_map(|record| &record.assignment.0);
            keep.extend(placements.map(|placement| placement.release.clone()));
            let running = host.report.iter().flat_map(|report| report.instances.values());
            keep.extend(running.map(|instance| instance.release.clone()));
        }
        for (service, record) in &self.services {
            for version in record.current.iter().chain(record.history.last()) {
                keep.insert(ReleaseRef { service: service.clone(), version: version.clone() });
            }
            let newest = self.list_releases(Some(service)).into_iter().take(KEEP_NEWEST);
            keep.extend(newest.map(|release| release.release.name.clone()));
        }
        keep.extend(
            self.live.keys().filter_map(|id| self.deployments.get(id)).map(|record| record.release.clone()),
        );
        let kept: BTreeSet<Digest> =
            keep.iter().filter_map(|name| self.releases.get(name)).map(|r| r.record.bundle.digest).collect();
        for (name, release) in &mut self.releases {
            if !release.record.pruned && !kept.contains(&release.record.bundle.digest) {
                release.record.pruned = true;
                effects.put(Keyspace::Releases, release_key(name), &release.record)?;
            }
        }
        effects.keep_bundles = Some(kept);
        Ok(())
    }
}
