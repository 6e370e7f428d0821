//! How a service stands with its database's schema, to be shown.

use super::{Reader, ReleaseSchema, SeenSchema, Soak, readers::cannot_read};
use crate::fleet::{refusal::Refusal, state::State};
use handover_model::{ReleaseRef, SchemaPhase, SchemaVersion, ServiceName, Timestamp, Version};

/// A service's database with all that reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaView {
    /// The database; empty where no release that counts declares one.
    pub database: String,
    /// What it is; `None` where it was never seen.
    pub schema: Option<SeenSchema>,
    /// The releases that count: the current one, the one that a rollback goes to, the newest; each once.
    pub releases: Vec<(ReleaseRef, Option<ReleaseSchema>)>,
    /// All that reads it, of any service.
    pub readers: Vec<Reader>,
    /// The contract of the current release, where it comes by itself.
    pub soak: Option<Soak>,
    /// A backfill that has to be done again, and the release that has run since and does not know of it.
    pub overtaken: Option<(SchemaVersion, ReleaseRef)>,
    /// What cannot be gone back to, or will not be after a contract; empty where all can.
    pub no_return: Option<String>,
}

impl State {
    /// How a service stands with its database's schema.
    ///
    /// # Errors
    /// When there is no such service.
    pub fn schema_view(&self, service: &ServiceName, now: Timestamp) -> Result<SchemaView, Refusal> {
        let record = self.services.get(service).ok_or_else(|| Refusal::NoService(service.clone()))?;
        let newest = self.list_releases(Some(service)).first().map(|stored| stored.release.name.clone());
        let named = |version: &Version| ReleaseRef { service: service.clone(), version: version.clone() };
        let mut names: Vec<ReleaseRef> = Vec::new();
        for name in record.current.iter().chain(record.history.last()).map(named).chain(newest) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let releases: Vec<_> = names
            .into_iter()
            .map(|name| {
                let schema = self.schema_of(&name).cloned();
                (name, schema)
            })
            .collect();
        let database = releases.iter().find_map(|(_, schema)| schema.as_ref());
        let database = database.map(|schema| schema.database.clone()).unwrap_or_default();
        Ok(SchemaView {
            schema: self.schema(&database).cloned(),
            readers: if database.is_empty() { Vec::new() } else { self.schema_readers(&database, None, now) },
            overtaken: self.overtaken(&database).map(|(version, by)| (version, by.clone())),
            soak: self.soak(service),
            no_return: self.no_return(service, now),
            database,
            releases,
        })
    }

    /// Where the point of no return is: what a contract that waits will take away; `None` where none waits, or it takes
    /// nothing away that could be gone back to.
    #[must_use]
    pub fn no_return(&self, service: &ServiceName, now: Timestamp) -> Option<String> {
        let current = self.services.get(service)?.current.clone()?;
        let release = ReleaseRef { service: service.clone(), version: current };
        let schema = self.schema_of(&release)?;
        let to = schema.pending(SchemaPhase::Contract, self.schema_version(&schema.database))?;
        let readers = self.schema_readers(&schema.database, Some(&release), now);
        let lost: Vec<String> = cannot_read(&readers, to)
            .into_iter()
            .map(|reader| format!("{reader} {}", reader.works.why_not(to)))
            .collect();
        if lost.is_empty() {
            return None;
        }
        let comes = match schema.contract_after {
            Some(_) => "comes by itself",
            None => "waits",
        };
        Some(format!(
            "the contract of {release} to schema {to} {comes}; after it there is no way back: {}",
            lost.join("; ")
        ))
    }
}
