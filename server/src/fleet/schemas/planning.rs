//! Migrations in plans, and what is refused because of a schema or of somebody who reads it.

use super::{Lost, Reader, ReleaseSchema, readers::cannot_read};
use crate::fleet::{locks::reason_of, records::Purpose, refusal::Refusal, releases, state::State};
use handover_model::{
    Found, HostName, ReleaseRef, Resolution, SchemaPhase, SchemaVersion, ServiceName, Timestamp,
    config::{Manifest, SchemaConfig},
};
use handover_rollout::{Migration, OnFailure, Plan, PlanRequest, migrating};

/// How many releases a refusal names.
const NAMED: usize = 4;

impl State {
    /// A plan with the release's migrations around it, where it has some to apply.
    ///
    /// # Errors
    /// When the release does not read what the schema is or becomes, when something that runs does not, or when no host
    /// can migrate.
    pub(in crate::fleet) fn with_migrations(
        &self,
        plan: Plan,
        purpose: Purpose,
        manifest: &Manifest,
        now: Timestamp,
    ) -> Result<Plan, Refusal> {
        let release = plan.release.clone();
        let (Some(schema), Some(config)) = (self.schema_of(&release), &manifest.schema) else {
            return Ok(plan);
        };
        let known = self.schema_version(&schema.database);
        match purpose {
            Purpose::Release | Purpose::NamedHosts => {}
            Purpose::Rollback | Purpose::CatchUp | Purpose::Rehearsal | Purpose::Migration => {
                self.reads_what_is(&release, schema, known)?;
                // A host that comes late gets what the others run already.
                if purpose != Purpose::CatchUp {
                    self.finds_it_right(&release, schema)?;
                }
                return Ok(plan);
            }
        }
        self.database_is_free(&release.service, &schema.database)?;
        let [before, after] = self.around(&release, schema, manifest, config, now)?;
        Ok(plan.with_migrations(before, after))
    }

    /// What of its migrations a deployment of a release applies, before and behind it.
    ///
    /// # Errors
    /// As [`Self::with_migrations`].
    pub(in crate::fleet) fn around(
        &self,
        release: &ReleaseRef,
        schema: &ReleaseSchema,
        manifest: &Manifest,
        config: &SchemaConfig,
        now: Timestamp,
    ) -> Result<[Option<Migration>; 2], Refusal> {
        let known = self.schema_version(&schema.database);
        let expand = schema.pending(SchemaPhase::Expand, known);
        let at = expand.or(known);
        let again = self.done_again(release, schema);
        // One that is done again leaves the schema where it is.
        let backfill = schema.pending(SchemaPhase::Backfill, at).or(again.and(at.max(schema.backfill)));
        for (phase, to) in [(SchemaPhase::Expand, expand), (SchemaPhase::Backfill, backfill)] {
            if let Some(to) = to {
                self.is_read_by_all(release, schema, phase, to, None, now)?;
            }
        }
        self.reads_what_is(release, schema, at)?;
        self.finds_it_right(release, schema)?;
        // A schema of which nobody knows what it is now is looked at before anything else, also where there is nothing to add.
        let looks = expand.is_some() || known.is_none() || self.heading(&schema.database).is_some();
        let before = looks.then(|| self.migration(release, manifest, config, SchemaPhase::Expand, now));
        let after = backfill.map(|_| self.migration(release, manifest, config, SchemaPhase::Backfill, now));
        let after = after.transpose()?.map(|after| Migration { resolve: again, ..after });
        Ok([before.transpose()?, after])
    }

    /// The plan of one phase of a release's migrations, by itself. `forced`: although it takes away what could be gone
    /// back to, for this reason. `resolve`: what a person found of one.
    ///
    /// # Errors
    /// As [`Self::with_migrations`]; and when the release has nothing to apply in that phase.
    pub(in crate::fleet) fn plan_migration(
        &self,
        request: &PlanRequest,
        phase: SchemaPhase,
        forced: Option<&str>,
        resolve: Option<Resolution>,
        now: Timestamp,
    ) -> Result<Plan, Refusal> {
        let release = &request.release;
        let manifest = releases::parse(&self.release(release)?.release.manifest)?;
        let (Some(schema), Some(config)) = (self.schema_of(release), &manifest.schema) else {
            return Err(Refusal::Invalid(format!(
                "{release} declares no schema: its manifest has no [schema]"
            )));
        };
        if phase != SchemaPhase::Backfill && resolve.is_some_and(|found| found.found == Found::Again) {
            return Err(Refusal::Invalid(format!(
                "only backfills are done again: `handover migrate backfill {}`",
                release.service
            )));
        }
        self.database_is_free(&release.service, &schema.database)?;
        let known = self.schema_version(&schema.database);
        let unknown = phase == SchemaPhase::Expand && self.heading(&schema.database).is_some();
        if unknown && schema.pending(phase, known).is_none() {
            // Nothing to add, but to find out what the schema is: of migrations that were begun nobody has said how they ended.
            let migration = self.migration(release, &manifest, config, phase, now)?;
            return Ok(migrating(request, Migration { resolve, ..migration }));
        }
        if phase == SchemaPhase::Contract {
            self.lose_nothing(release, schema)?;
        }
        let again = self.done_again(release, schema).filter(|_| phase == SchemaPhase::Backfill);
        let resolve = resolve.or(again);
        let looks = resolve.and(known.max(schema.after(phase)));
        let Some(to) = schema.pending(phase, known).or(looks) else {
            return Err(Refusal::Schema {
                why: match (schema.after(phase), known) {
                    (Some(after), Some(known)) => {
                        format!("the schema is at {known} already; {phase} of {release} makes it {after}")
                    }
                    (Some(_) | None, _) => format!("{release} has no {phase} migrations"),
                }
                .into(),
                hint: format!("`handover migrate status {}` shows what there is", release.service).into(),
            });
        };
        self.is_read_by_all(release, schema, phase, to, forced, now)?;
        let migration = self.migration(release, &manifest, config, phase, now)?;
        Ok(migrating(request, Migration { resolve, ..migration }))
    }

    /// That no deployment of another service goes on whose release uses the same database.
    fn database_is_free(&self, service: &ServiceName, database: &str) -> Result<(), Refusal> {
        let other = self.live.iter().find(|(_, live)| {
            let release = live.engine.release();
            release.service != *service
                && self.schema_of(release).is_some_and(|schema| schema.database == database)
        });
        match other {
            None => Ok(()),
            Some((id, live)) => Err(Refusal::Schema {
                why: format!(
                    "deployment {id} of {} goes on, which uses database {database} too",
                    live.engine.release()
                )
                .into(),
                hint: "wait for it: who reads a schema must not change while it does".into(),
            }),
        }
    }

    /// That the release's code works with the schema as it is, or will be when the code begins.
    fn reads_what_is(
        &self,
        release: &ReleaseRef,
        schema: &ReleaseSchema,
        at: Option<SchemaVersion>,
    ) -> Result<(), Refusal> {
        let ReleaseSchema { database, reads, expand, .. } = schema;
        let works = self.works(schema, Some(release));
        // Where nobody has said how migrations ended, the schema may be as far as they lead.
        if let Some(heading) = self.heading(database)
            && !works.with(heading.to)
            && at.is_none_or(|at| works.with(at))
        {
            return Err(Refusal::Schema {
                why: self.does_not_read(release).unwrap_or_default().into(),
                hint: format!(
                    "wait for {by} where it goes on; then `handover migrate expand {service}` looks what the schema is, and adds nothing that is there",
                    by = heading.by,
                    service = release.service
                )
                .into(),
            });
        }
        match at {
            Some(at) if !works.with(at) => Err(Refusal::Schema {
                why: match self.does_not_read(release) {
                    Some(why) if *expand != Some(at) => why,
                    _ => format!(
                        "{release} {} (database {database}), and its own expand makes it {at}",
                        works.why_not(at)
                    ),
                }
                .into(),
                hint: match (at < reads.first(), expand) {
                    _ if works.lost_at(at).is_some_and(|lost| lost.by == *release) => {
                        "leave what the code uses out of the expand: a later contract takes it away"
                            .to_owned()
                    }
                    _ if works.lost_at(at).is_some() => {
                        "deploy a release that does not use it; or, where something else has its name now, one whose `reads` begins behind that migration".to_owned()
                    }
                    (true, Some(_)) => format!(
                        "apply what it needs first: `handover migrate expand {} --release {}`",
                        release.service, release.version
                    ),
                    (true, None) => {
                        "deploy the releases in between first: their migrations lead to what it reads"
                            .to_owned()
                    }
                    (false, _) => {
                        "deploy a release that reads it; this one was left behind by a contract".to_owned()
                    }
                }
                .into(),
            }),
            Some(_) | None => Ok(()),
        }
    }

    /// That each host which has something of the database has said what it runs since the server's start: what finishes its
    /// connections there, and what has taken connections over by itself, nobody else knows.
    fn have_reported(&self, database: &str, now: Timestamp) -> Result<(), Refusal> {
        let silent = self.hosts.iter().find(|(_, host)| {
            let placed = host.assignments.values().flat_map(|record| &record.assignment.0);
            let mut schemas = placed.filter_map(|placement| self.schema_of(&placement.release));
            host.report.is_none()
                && self.reachable(host, now)
                && schemas.any(|schema| schema.database == database)
        });
        match silent {
            None => Ok(()),
            Some((name, _)) => Err(Refusal::Schema {
                why: format!("{name} has not said yet what it runs, since the server was started").into(),
                hint: "ask again in a moment".into(),
            }),
        }
    }

    /// That everything that reads the schema works with the version that a phase makes.
    fn is_read_by_all(
        &self,
        release: &ReleaseRef,
        schema: &ReleaseSchema,
        phase: SchemaPhase,
        to: SchemaVersion,
        forced: Option<&str>,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        self.have_reported(&schema.database, now)?;
        let mut readers = self.schema_readers(&schema.database, Some(release), now);
        if phase != SchemaPhase::Contract {
            // What would be gone back to a second time is no reason to hold a release up: status says that it is lost.
            readers.retain(|reader| !reader.is_only_rollback());
        }
        let mut left: Vec<&Reader> = cannot_read(&readers, to);
        if left.is_empty() {
            return Ok(());
        }
        match forced.map(reason_of) {
            Some(reason) if reason.is_empty() => {
                return Err(Refusal::Invalid(
                    "--force needs a reason, which goes into the audit: --reason WHY".to_owned(),
                ));
            }
            // Code that runs would break at once, whatever the reason.
            Some(_) => left.retain(|reader| reader.is_running()),
            None => {}
        }
        if left.is_empty() {
            return Ok(());
        }
        let named: Vec<String> =
            left.iter().take(NAMED).map(|reader| format!("{reader} {}", reader.works.why_not(to))).collect();
        let more = match left.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!("; and {more} more releases"),
        };
        let lost =
            || left.iter().filter(|reader| reader.is_running()).find_map(|reader| reader.works.lost_at(to));
        let hint = if lost().is_some_and(Lost::is_untold) {
            "`handover migrate lint` in the release's folder says why it cannot be told: push a release whose migration can be read"
                .to_owned()
        } else if lost().is_some() {
            "deploy a release there first whose code does without it, and whose `uses` does not name it"
                .to_owned()
        } else if left.iter().any(|reader| reader.is_running()) {
            format!("deploy a release there that reads {to} first")
        } else if phase != SchemaPhase::Contract {
            "wait until what stands by has ended, and bring hosts that are offline back, or remove them: `handover hosts remove HOST`".to_owned()
        } else {
            format!(
                "wait until nothing is left that could be gone back to, or give it up: `handover migrate contract {} --force --reason WHY`, which stands in the audit",
                release.service
            )
        };
        Err(Refusal::Schema {
            why: format!(
                "the {phase} of {release} makes the schema of database {} {to}, and {}{more}",
                schema.database,
                named.join("; ")
            )
            .into(),
            hint: hint.into(),
        })
    }

    fn migration(
        &self,
        release: &ReleaseRef,
        manifest: &Manifest,
        config: &SchemaConfig,
        phase: SchemaPhase,
        now: Timestamp,
    ) -> Result<Migration, Refusal> {
        Ok(Migration {
            host: self.migrating_host(release, manifest, config, now)?,
            phase,
            within: config.time_for(phase),
            on_failure: match phase {
                SchemaPhase::Expand => OnFailure::RollBack,
                SchemaPhase::Backfill | SchemaPhase::Contract => OnFailure::Pause,
            },
            resolve: None,
        })
    }

    /// The first host by name that has the labels and is online.
    fn migrating_host(
        &self,
        release: &ReleaseRef,
        manifest: &Manifest,
        config: &SchemaConfig,
        now: Timestamp,
    ) -> Result<HostName, Refusal> {
        let labels = config.hosts.as_ref().unwrap_or(&manifest.hosts);
        let chosen = self.hosts.iter().filter(|(_, host)| Self::chosen(labels, &host.record.labels));
        let mut online = chosen.clone().filter(|(_, host)| self.reachable(host, now));
        online.next().map(|(name, _)| name.clone()).ok_or_else(|| Refusal::Schema {
            why: format!(
                "no host is online that could migrate database {} for {release}: {} have the labels",
                config.database,
                chosen.count()
            )
            .into(),
            hint: "bring one of them online, or choose others with `hosts` in [schema]".into(),
        })
    }
}
