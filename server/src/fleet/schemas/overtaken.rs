//! Backfills that are done, or begun, and are not right any more: code that does not know of one has run since, and what that wrote was not
//! carried over.
//!
//! Code knows of a backfill whose release has it, or a later migration, among its files, or reads no schema before it. Whatever
//! else got connections since wrote the old shape alone. So until the backfill is done again nothing is deployed that needs
//! it, and nothing takes the old shape away.

use super::{Backfills, ReleaseSchema};
use crate::{
    fleet::{effects::Effects, records::backfills_key, refusal::Refusal, state::State},
    store::Keyspace,
};
use handover_model::{Found, ReleaseRef, Resolution, SchemaVersion, ServiceName};
use std::collections::BTreeSet;

impl State {
    /// A backfill that has to be done again, the first of them.
    #[must_use]
    pub fn overtaken(&self, database: &str) -> Option<(SchemaVersion, &ReleaseRef)> {
        self.backfills_of(database).find_map(|(_, backfills)| backfills.overtaken())
    }

    /// The backfills of a database, by service.
    fn backfills_of(&self, database: &str) -> impl Iterator<Item = (&ServiceName, &Backfills)> {
        let of_it = self.backfills.iter().filter(move |((name, _), _)| name == database);
        of_it.map(|((_, service), backfills)| (service, backfills))
    }

    /// The releases of a service that clients are on, as ordered and as told, each with the last version that its code knows of.
    pub(super) fn serving(&self, service: &ServiceName) -> Vec<(ReleaseRef, SchemaVersion)> {
        let mut serving = BTreeSet::new();
        for host in self.hosts.values() {
            let ordered = host.assignments.get(service).into_iter().flat_map(|record| &record.assignment.0);
            let ordered = ordered.filter(|placement| !placement.share.is_hidden());
            serving.extend(ordered.map(|placement| placement.release.clone()));
            let told = host.report.iter().flat_map(|report| report.instances.values());
            let told = told.filter(|instance| instance.service == *service && !instance.share.is_hidden());
            serving.extend(told.map(|instance| instance.release.clone()));
        }
        let knows = |release: ReleaseRef| {
            let knows = self.schema_of(&release)?.knows();
            Some((release, knows))
        };
        serving.into_iter().filter_map(knows).collect()
    }

    /// A release gets connections, or has taken some over: written down before it does where it does not know of a
    /// backfill of its service.
    pub(in crate::fleet) fn note_served(
        &mut self,
        release: &ReleaseRef,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let Some(schema) = self.schema_of(release) else { return Ok(()) };
        let (database, knows) = (schema.database.clone(), schema.knows());
        let place = (database, release.service.clone());
        let Some(backfills) = self.backfills.get_mut(&place) else { return Ok(()) };
        if !backfills.serves(release, knows) {
            return Ok(());
        }
        let (database, service) = &place;
        tracing::warn!(%release, database, "does not know of a backfill that was begun: what it writes is not carried over");
        effects.put(Keyspace::Schemas, backfills_key(database, service), backfills)?;
        effects.changed = true;
        Ok(())
    }

    /// What tells a host to do a service's backfills again, from the first that is not right on; `None` where all are right, or the
    /// release cannot do all again that are not.
    pub(super) fn done_again(&self, release: &ReleaseRef, schema: &ReleaseSchema) -> Option<Resolution> {
        let stale = self.stale(&release.service, &schema.database);
        let own = schema.backfills();
        let version = *stale.first()?;
        let can = |version: &SchemaVersion| own.contains(version) && !schema.by_hand.contains(version);
        stale.iter().all(can).then_some(Resolution { version, found: Found::Again })
    }

    /// The backfills of a service that have to be done again, in order.
    fn stale(&self, service: &ServiceName, database: &str) -> Vec<SchemaVersion> {
        let backfills = self.backfills.get(&(database.to_owned(), service.clone()));
        backfills.map(|backfills| backfills.stale().collect()).unwrap_or_default()
    }

    /// That a release which needs a backfill finds it right.
    ///
    /// # Errors
    /// Where it has to be done again first.
    pub(super) fn finds_it_right(&self, release: &ReleaseRef, schema: &ReleaseSchema) -> Result<(), Refusal> {
        let who = format!("{release} reads {}", schema.reads);
        let needs = |version: SchemaVersion| schema.reads.first() >= version;
        self.are_right(&schema.database, needs, &who)
    }

    /// That all backfills of a release's service are right.
    ///
    /// # Errors
    /// Where one has to be done again first.
    pub(super) fn lose_nothing(&self, release: &ReleaseRef, schema: &ReleaseSchema) -> Result<(), Refusal> {
        let stale = self.stale(&release.service, &schema.database);
        let who = "what it wrote would be lost with the old shape";
        self.are_right(&schema.database, |version| stale.contains(&version), who)
    }

    fn are_right(
        &self,
        database: &str,
        concerns: impl Fn(SchemaVersion) -> bool,
        who: &str,
    ) -> Result<(), Refusal> {
        for (service, backfills) in self.backfills_of(database) {
            let Some((version, by)) = backfills.overtaken().filter(|(version, _)| concerns(*version)) else {
                continue;
            };
            let own = self.releases.iter().filter(|(name, _)| name.service == *service);
            let has_all = own.filter(|(name, _)| {
                self.schema_of(name).is_some_and(|schema| {
                    schema.database == database && self.done_again(name, schema).is_some()
                })
            });
            let newest = has_all.max_by_key(|(_, stored)| stored.record.created);
            let hint = match newest {
                Some((ReleaseRef { service, version }, _)) => {
                    format!("do it again: `handover migrate backfill {service} --release {version}`")
                }
                None => format!(
                    "no release can do it again by itself: carry over by hand what {by} wrote, then say that it is right: `handover migrate backfill {service} --resolve {version}=took-effect --reason WHY`"
                ),
            };
            return Err(Refusal::Schema {
                why: format!(
                    "backfill {version} of database {database} is not right any more: {by} has run since, which does not know of it; {who}"
                )
                .into(),
                hint: hint.into(),
            });
        }
        Ok(())
    }
}
