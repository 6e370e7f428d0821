//! Backfills that are done, or begun, and are not right any more: code that does not know of one has run since, and what that wrote was not
//! carried over.
//!
//! Code knows of a backfill whose release has it, or a later migration, among its files, or reads no schema before it. Whatever
//! else got connections since wrote the old shape alone. So until the backfill is done again nothing is deployed that needs
//! it, and nothing takes the old shape away.

use super::{ReleaseSchema, record::Backfilled};
use crate::{
    fleet::{effects::Effects, refusal::Refusal, state::State},
    store::Keyspace,
};
use handover_model::{Found, ReleaseRef, Resolution, SchemaPhase, SchemaVersion};

impl ReleaseSchema {
    /// Whether its code was written with that migration in mind.
    fn knows(&self, version: SchemaVersion) -> bool {
        let has_later = |phase| self.after(phase).is_some_and(|last| last >= version);
        SchemaPhase::ALL.into_iter().any(has_later) || self.reads.first() >= version
    }
}

impl State {
    /// A backfill that has to be done again.
    #[must_use]
    pub fn overtaken(&self, database: &str) -> Option<(SchemaVersion, &ReleaseRef)> {
        let Backfilled { version, overtaken_by, .. } = self.schemas.get(database)?.backfilled.as_ref()?;
        overtaken_by.as_ref().map(|release| (*version, release))
    }

    /// A release gets connections, or has taken some over: written down before it does where it does not know of the last
    /// backfill of its service.
    pub(in crate::fleet) fn note_served(
        &mut self,
        release: &ReleaseRef,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let Some(schema) = self.schema_of(release).cloned() else { return Ok(()) };
        let Some(record) = self.schemas.get_mut(&schema.database) else { return Ok(()) };
        let Some(backfilled) = &mut record.backfilled else { return Ok(()) };
        let behind = backfilled.service == release.service && !schema.knows(backfilled.version);
        if !behind || !backfilled.overtaken(release) {
            return Ok(());
        }
        tracing::warn!(%release, database = schema.database, backfill = %backfilled.version, "does not know of a backfill that was begun: what it writes is not carried over");
        effects.put(Keyspace::Schemas, schema.database.as_bytes().to_vec(), record)?;
        effects.changed = true;
        Ok(())
    }

    /// What tells a host to do a release's backfill again; `None` where that is right, or another's.
    pub(super) fn done_again(&self, schema: &ReleaseSchema) -> Option<Resolution> {
        let (version, _) = self.overtaken(&schema.database)?;
        (schema.backfill == Some(version)).then_some(Resolution { version, found: Found::Again })
    }

    /// That a release which needs a backfill finds it right.
    ///
    /// # Errors
    /// Where it has to be done again first.
    pub(super) fn finds_it_right(&self, release: &ReleaseRef, schema: &ReleaseSchema) -> Result<(), Refusal> {
        match self.overtaken(&schema.database) {
            Some((version, _)) if schema.reads.first() >= version => {
                Err(self.not_right(schema, &format!("{release} reads {}", schema.reads)))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The refusal of what needs a backfill that has to be done again.
    pub(super) fn not_right(&self, schema: &ReleaseSchema, who: &str) -> Refusal {
        let Some((version, by)) = self.overtaken(&schema.database) else {
            return Refusal::Invalid(format!("the backfills of {} are right", schema.database));
        };
        let has_it = |(name, _): &(&ReleaseRef, _)| {
            self.schema_of(name)
                .is_some_and(|other| other.database == schema.database && other.backfill == Some(version))
        };
        let newest = self.releases.iter().filter(has_it).max_by_key(|(_, stored)| stored.record.created);
        let command = newest.map_or_else(
            || "push a release with another backfill, and deploy that".to_owned(),
            |(name, _)| {
                let ReleaseRef { service, version } = name;
                format!("do it again: `handover migrate backfill {service} --release {version}`")
            },
        );
        Refusal::Schema {
            why: format!(
                "backfill {version} of database {} is not right any more: {by} has run since, which does not know of it; {who}",
                schema.database
            )
            .into(),
            hint: command.into(),
        }
    }
}
