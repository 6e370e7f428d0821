//! One attempt: the release's files are brought, its migrations read, and applied to the database.
//!
//! Nothing of it is written down here. What is applied stands in the database, and only there: an agent that is killed
//! begins the same attempt anew, which goes on where the database says.

use super::{
    database::described,
    program::{Ground, ServicePrograms},
};
use crate::{
    bundles::Bundles,
    instance::LogSink,
    supervisor::{cgroup_limits, spec},
};
use handover_model::{
    HostValues, MigrationState, MigrationTarget, SchemaPhase,
    config::{DatabaseKind, Manifest, Mistakes, SchemaConfig},
};
use handover_schema::{Control, Job, Limits, Progress, Scripts, Target, Throttle, resolve, run};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::time::Instant;

/// Batches of a backfill are told no more often.
const TOLD: Duration = Duration::from_millis(500);

/// What an attempt needs.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    /// What is to be applied.
    pub(super) target: MigrationTarget,
    /// What the host's own values in manifests stand for.
    pub(super) host: HostValues,
    /// Where programs run.
    pub(super) ground: Ground,
    /// Where releases come from.
    pub(super) bundles: Bundles,
    /// Where databases are described.
    pub(super) databases: PathBuf,
    /// Who migrates: the host's name.
    pub(super) by: String,
    /// Pauses, goes on, ends.
    pub(super) control: Control,
}

impl Attempt {
    /// Runs it to its end; `tell` hears what goes on.
    pub(super) async fn run(self, tell: impl Fn(MigrationState) + Send + Sync) -> MigrationState {
        let failed = |error: &(dyn std::error::Error + 'static)| MigrationState::Failed {
            reason: handover_model::chain(error),
        };
        let doing = |doing: String, rows| tell(MigrationState::Running { doing, rows });
        doing("the release's files are brought".to_owned(), None);
        let bundle = &self.target.release.bundle;
        let trouble = |what: String| {
            doing(what, None);
            std::future::ready(())
        };
        let brought = tokio::select! {
            brought = self.bundles.bring(bundle, trouble) => brought,
            () = self.control.cancelled() => {
                return MigrationState::Failed { reason: "it was ended before it began".to_owned() };
            }
        };
        let folder = match brought {
            Ok(folder) => folder,
            Err(error) => return failed(&error),
        };
        let manifest = match Manifest::parse(&self.target.release.manifest) {
            Ok(manifest) => manifest,
            Err(error) => return failed(&error),
        };
        let Some(config) = manifest.schema.clone() else {
            let reason =
                "the release's manifest has no [schema] that this agent understands: upgrade the agent";
            return MigrationState::Failed { reason: reason.to_owned() };
        };
        let service = self.target.release.name.service.as_str();
        if let Err(reason) = self.ground.clear(service).await {
            return MigrationState::Failed { reason };
        }
        let database = match described(&self.databases, &config.database) {
            Ok(database) => database,
            Err(error) => return failed(&error),
        };
        let kind = database.address.kind();
        if let Err(reason) = is_of_kind(&config, kind) {
            return MigrationState::Failed { reason };
        }
        let scripts = match tokio::task::block_in_place(|| scripts(kind, &folder, &config)) {
            Ok(scripts) => scripts,
            Err(error) => return failed(&error),
        };
        let limits = limits(&config, self.target.phase);
        let programs = match self.programs(&manifest, &folder, &database, &limits) {
            Ok(programs) => programs,
            Err(error) => return failed(&error),
        };
        let deployment = self.target.id.deployment.to_string();
        let job = Job {
            target: &database,
            service,
            by: &self.by,
            deployment: &deployment,
            phase: self.target.phase,
            scripts: &scripts,
            readers: &self.target.readers,
            limits: &limits,
            programs: Some(&programs),
        };
        let mut last = None::<Instant>;
        let mut listener = |progress: Progress| {
            let rows = match &progress {
                Progress::Batch { rows, of, .. } => Some((*rows, *of)),
                _other => None,
            };
            let often = matches!(progress, Progress::Batch { .. } | Progress::Said { .. });
            let soon = last.is_some_and(|last| last.elapsed() < TOLD);
            tracing::debug!(%progress, "migrates");
            if !(often && soon) {
                last = often.then(Instant::now);
                doing(progress.to_string(), rows);
            }
        };
        if let Some(found) = self.target.resolve {
            match resolve(&job, found, &self.control, &mut listener).await {
                Ok(()) => tracing::info!(%found, "what a person found is written down"),
                // An attempt of this deployment that was cut off had done so.
                Err(error @ handover_schema::Error::NothingHalf { .. }) => tracing::info!(%error),
                Err(error) => return failed(&error),
            }
        }
        match run(&job, &self.control, &mut listener).await {
            Ok(outcome) => MigrationState::Done { version: outcome.to },
            Err(error) => failed(&error),
        }
    }
}

impl Attempt {
    /// How the release's programs run on this host.
    fn programs(
        &self,
        manifest: &Manifest,
        folder: &Path,
        database: &Target,
        limits: &Limits,
    ) -> Result<ServicePrograms, Mistakes> {
        let manifest = manifest.for_host(&self.host)?;
        let name = format!("{}.migration", self.target.release.name.service);
        Ok(ServicePrograms {
            ground: self.ground.clone(),
            spec: spec(&manifest, &self.target.release, &name, folder, None, LogSink::Inherited),
            limits: cgroup_limits(&manifest),
            database: database.clone(),
            bounds: limits.clone(),
        })
    }
}

/// What the release was looked at for is what it is applied to.
fn is_of_kind(config: &SchemaConfig, kind: DatabaseKind) -> Result<(), String> {
    if config.kind == kind {
        return Ok(());
    }
    Err(format!(
        "database {} is {kind} as this host describes it, and the manifest says kind = \"{}\": one of the two is wrong",
        config.database,
        config.kind.name()
    ))
}

/// All migrations of the release: what is applied already is held against them as well.
fn scripts(
    kind: DatabaseKind,
    folder: &Path,
    config: &SchemaConfig,
) -> Result<Scripts, handover_schema::FolderError> {
    let mut scripts = Scripts::default();
    for phase in SchemaPhase::ALL {
        if let Some(path) = config.migrations(phase) {
            scripts.read_phase(kind, phase, &folder.join(path))?;
        }
    }
    Ok(scripts)
}

fn limits(config: &SchemaConfig, phase: SchemaPhase) -> Limits {
    let usual = Limits::default();
    Limits {
        // Of an attempt that was cut off: the database needs the lease to notice where nothing tells it. That nobody else
        // migrates this database meanwhile is the server's care.
        wait_for_lock: usual.lease * 2,
        lock_timeout: config.lock_timeout,
        statement_timeout: config.statement_timeout,
        whole: config.time_for(phase),
        throttle: Throttle { most_lag: config.max_lag, ..Throttle::default() },
        ..usual
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_waits_for_the_lock_of_one_that_was_cut_off() {
        let manifest = "service = \"web\"\ncommand = [\"web\"]\n[schema]\ndatabase = \"shop\"\nreads = \"1..=2\"\nexpand = \"expand\"\n";
        let config = Manifest::parse(manifest).unwrap().schema.unwrap();
        let limits = limits(&config, SchemaPhase::Expand);
        assert!(limits.wait_for_lock > limits.lease, "{limits:?}");
        assert!(limits.wait_for_lock < limits.whole, "{limits:?}");
    }
}
