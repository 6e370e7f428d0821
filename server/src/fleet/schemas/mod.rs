//! Schemas of databases: what the fleet knows of them, and what that forbids.
//!
//! A database's schema is at the version that the last host to migrate it reported. A release says which versions its code
//! works with. From both, and from what runs, stands by, or would be gone back to, follows which release may be deployed and
//! which migrations may be applied. The host that migrates is told of all that read the schema, and looks once more at
//! what the database itself says.

mod backfills;
mod columns;
mod overtaken;
mod planning;
mod readers;
mod record;
mod soak;
mod status;

pub(super) use backfills::Backfills;
use columns::Step;
pub(super) use columns::Taken;
pub use columns::{Lost, ReleaseColumns, Works};
pub use readers::Reader;
use record::Heading;
pub(super) use record::MigrationRecord;
pub(crate) use record::REMEMBERED;
pub(super) use record::SchemaRecord;
pub use record::{LintRecord, ReleaseSchema, SeenSchema};
pub(super) use soak::Held;
#[cfg(test)]
pub(super) use soak::SOAK;
pub use soak::Soak;
pub use status::SchemaView;

use super::{
    effects::Effects,
    records::{assignment_key, backfills_key},
    refusal::Refusal,
    state::{Host, State},
};
use crate::store::Keyspace;
use handover_model::{
    DeploymentId, Found, HostName, MAX_READERS, MigrationState, MigrationTarget, ReleaseRef, Resolution,
    SchemaPhase, SchemaReader, SchemaVersion, ServiceName, Timestamp,
};
use handover_rollout::{Event, MigrationOrder, Record};
use std::collections::{BTreeMap, BTreeSet};

impl State {
    /// What a release needs of a schema and makes of it; `None` where it says nothing, or is not known.
    #[must_use]
    pub fn schema_of(&self, release: &ReleaseRef) -> Option<&ReleaseSchema> {
        self.releases.get(release)?.record.schema.as_ref()
    }

    /// A database's schema, as it was seen last; `None` where it was never seen.
    #[must_use]
    pub fn schema(&self, database: &str) -> Option<&SeenSchema> {
        self.schemas.get(database)?.seen.as_ref()
    }

    pub(super) fn schema_version(&self, database: &str) -> Option<SchemaVersion> {
        self.schema(database).map(|schema| schema.version)
    }

    /// Migrations of a database that were ordered and of which nobody has said that all are applied.
    pub(super) fn heading(&self, database: &str) -> Option<&Heading> {
        self.schemas.get(database)?.heading.as_ref()
    }

    /// Why a release's code does not work with its database's schema; `None` where it does, or nothing is known.
    #[must_use]
    pub fn does_not_read(&self, release: &ReleaseRef) -> Option<String> {
        let schema = self.schema_of(release)?;
        let (database, works) = (&schema.database, self.works(schema, None));
        let seen = self.schema(database).filter(|seen| !works.with(seen.version));
        let heading = self.heading(database).filter(|heading| !works.with(heading.to));
        match (seen, heading) {
            (Some(SeenSchema { version, by, phase, .. }), _) => Some(format!(
                "the schema of database {database} is at {version} since the {phase} of {by}, and {release} {}",
                works.why_not(*version)
            )),
            (None, Some(Heading { to, by, phase })) => Some(format!(
                "the {phase} of {by} was begun, and nobody has said what the schema of database {database} is now, up to {to}; {release} {}",
                works.why_not(*to)
            )),
            (None, None) => None,
        }
    }

    /// What the engine's records tell of a schema, written with them.
    pub(super) fn note_schema(
        &mut self,
        id: DeploymentId,
        records: &[Record],
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let Some(live) = self.live.get(&id) else { return Ok(()) };
        let Some(schema) = self.schema_of(live.engine.release()) else { return Ok(()) };
        let database = schema.database.clone();
        let mut known = self.schemas.get(&database).cloned().unwrap_or_default();
        let before = known.clone();
        let service = live.engine.service().clone();
        let serving = self.serving(&service);
        let place = (database.clone(), service);
        let mut backfills = self.backfills.get(&place).cloned();
        let backfills_before = backfills.clone();
        let resolve = live.engine.migration().and_then(|migration| migration.resolve);
        let release = live.engine.release().clone();
        let mut course = Vec::new();
        for record in records {
            match record {
                Record::Migrated { version, at, phase } => {
                    let seen = SeenSchema { version: *version, at: *at, by: id, phase: *phase };
                    (known.seen, known.heading) = (Some(seen), None);
                    course.push(Step::Reached(*version));
                    if let (SchemaPhase::Backfill, Some(backfills)) = (phase, &mut backfills) {
                        backfills.serve(&serving);
                        backfills.end();
                        if let Some(Resolution { version, found: Found::TookEffect }) = resolve {
                            backfills.is_right(version);
                        }
                    }
                }
                Record::MigrationStarted { .. } => {
                    let phase = live.engine.migration_order().map(|order| order.phase);
                    if phase == Some(SchemaPhase::Backfill) {
                        let again =
                            resolve.filter(|found| found.found == Found::Again).map(|found| found.version);
                        let mut begun = Backfills::begin(backfills.take(), schema.backfills(), id, again);
                        begun.serve(&serving);
                        backfills = Some(begun);
                    }
                    let at = known.seen.as_ref().map(|seen| seen.version);
                    let to = phase.and_then(|phase| Some((phase, schema.pending(phase, at)?)));
                    course.extend(to.map(|(_, to)| Step::Begun { above: at.unwrap_or_default(), to }));
                    // Another attempt leads no further back than the one before it has come.
                    let further = |to| known.heading.as_ref().is_none_or(|heading| heading.to < to);
                    if let Some((phase, to)) = to.filter(|(_, to)| further(*to)) {
                        known.heading = Some(Heading { to, by: id, phase });
                    }
                }
                _ => {}
            }
        }
        self.note_course(&release, &database, course, effects)?;
        if let Some(backfills) = backfills.filter(|backfills| Some(backfills) != backfills_before.as_ref()) {
            effects.put(Keyspace::Schemas, backfills_key(&place.0, &place.1), &backfills)?;
            self.backfills.insert(place, backfills);
        }
        if known != before {
            effects.put(Keyspace::Schemas, database.as_bytes().to_vec(), &known)?;
            self.schemas.insert(database, known);
        }
        Ok(())
    }

    /// What a host says of its migrations, held against what they were to make: that all are applied is no end where the schema
    /// is not what the release works with. A file of another phase in between makes an end before the last one.
    fn as_promised(&self, id: DeploymentId, state: MigrationState) -> MigrationState {
        let MigrationState::Done { version } = state else { return state };
        let Some(engine) = self.live.get(&id).map(|live| &live.engine) else { return state };
        let (Some(order), Some(schema)) = (engine.migration_order(), self.schema_of(engine.release())) else {
            return state;
        };
        let (release, reads) = (engine.release(), schema.reads);
        let reason = match schema.after(order.phase) {
            Some(to) if version < to => format!(
                "the schema is at {version}, and the {phase} of {release} makes it {to}: files of another phase come first; `handover migrate status {service}` shows them",
                phase = order.phase,
                service = release.service,
            ),
            // A backfill that is done again leaves the schema where it is, and its release need not run.
            _ if !reads.contains(version) && !does_again(order.resolve) => {
                format!("the schema is at {version}, and {release} reads {reads}")
            }
            _ => return state,
        };
        MigrationState::Failed { reason }
    }

    /// Writes down what a host should apply to a service's database, and counts its target up.
    pub(super) fn order_migration(
        &mut self,
        name: &HostName,
        release: &ReleaseRef,
        order: Option<MigrationOrder>,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let service = &release.service;
        let record = order.map(|order| self.migration_record(name, release, &order, now));
        let Some(host) = self.hosts.get_mut(name) else { return Ok(()) };
        if host.migrations.get(service) == record.as_ref() {
            return Ok(());
        }
        let key = assignment_key(name, service);
        match record {
            Some(record) => {
                effects.put(Keyspace::Migrations, key, &record)?;
                host.migrations.insert(service.clone(), record);
            }
            None => {
                effects.delete(Keyspace::Migrations, key);
                host.migrations.remove(service);
            }
        }
        host.record.revision += 1;
        effects.put(Keyspace::Hosts, name.as_str().as_bytes().to_vec(), &host.record)?;
        effects.targets.insert(name.clone());
        effects.changed = true;
        Ok(())
    }

    /// Who reads the schema is fixed when an attempt is ordered: nothing that reads it can come while it goes on.
    fn migration_record(
        &self,
        name: &HostName,
        release: &ReleaseRef,
        order: &MigrationOrder,
        now: Timestamp,
    ) -> MigrationRecord {
        let &MigrationOrder { id, phase, paused, resolve, .. } = order;
        let before = self.hosts.get(name).and_then(|host| host.migrations.get(&release.service));
        let readers = match before.filter(|before| before.id == id) {
            Some(before) => before.readers.clone(),
            None => self.told_readers(release, phase, does_again(resolve), now),
        };
        MigrationRecord { id, release: release.clone(), phase, readers, resolve, paused }
    }

    /// What cannot read the result and does not run was given up when the deployment was made: by a person's word, or because
    /// only a second rollback would come to it.
    fn told_readers(
        &self,
        release: &ReleaseRef,
        phase: SchemaPhase,
        again: bool,
        now: Timestamp,
    ) -> Vec<SchemaReader> {
        let Some(schema) = self.schema_of(release) else { return Vec::new() };
        let mut readers = self.schema_readers(&schema.database, Some(release), now);
        let reads = |reader: &Reader| schema.after(phase).is_none_or(|to| reader.works.with(to));
        readers.retain(|reader| reader.release != *release && (reader.is_running() || reads(reader)));
        let own = SchemaReader { who: format!("{release}, whose migrations they are"), reads: schema.reads };
        let mut told = readers::told(&readers, MAX_READERS.saturating_sub(1));
        if !again {
            told.insert(0, own);
        }
        told
    }

    /// The migrations of a host's target.
    pub(super) fn migration_targets(
        &self,
        host: &Host,
    ) -> Result<BTreeMap<ServiceName, MigrationTarget>, Refusal> {
        let target = |(service, record): (&ServiceName, &MigrationRecord)| {
            let MigrationRecord { id, release, phase, readers, resolve, paused } = record;
            let target = MigrationTarget {
                id: *id,
                release: self.release(release)?.release.clone(),
                phase: *phase,
                readers: readers.clone(),
                resolve: *resolve,
                paused: *paused,
            };
            Ok((service.clone(), target))
        };
        host.migrations.iter().map(target).collect()
    }

    /// What a host said of its migrations.
    pub(super) fn migrations_reported(
        &mut self,
        name: &HostName,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let Some(report) = self.hosts.get(name).and_then(|host| host.report.as_ref()) else { return Ok(()) };
        // A standby takes connections over by itself where the other instance ends.
        let serving = report.instances.values().filter(|instance| !instance.share.is_hidden());
        let serving: BTreeSet<ReleaseRef> = serving.map(|instance| instance.release.clone()).collect();
        let migrations = report.migrations.clone();
        for release in serving {
            self.note_served(&release, effects)?;
        }
        for (migration, state) in migrations {
            let state = self.as_promised(migration.deployment, state);
            let event = Event::MigrationReported { host: name.clone(), migration, state };
            self.drive(migration.deployment, event, now, effects)?;
        }
        Ok(())
    }
}

/// Whether what was found of a migration is that it is to be done again.
fn does_again(resolve: Option<Resolution>) -> bool {
    resolve.is_some_and(|found| found.found == Found::Again)
}
