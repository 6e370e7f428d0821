//! Migrations that are programs: each runs as its service's user, with its environment and limits and the way to the database,
//! in a place of its own. Which processes it has is written down before it executes anything, so that what an agent leaves
//! behind that is killed is ended before another attempt begins.

use crate::{
    durable,
    instance::{
        CgroupLimits, Containment, ExitStatus, Group, GroupRecord, LaunchSpec, Launcher, SideCommand,
        account, process::boot_id,
    },
};
use handover_schema::{Kind, Limits, ProgramCall, ProgramEnd, Programs, RunsProgram, Secret, Target};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    error::Error,
    fs, io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, fchown},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// How long what is killed may take to be gone.
const KILL_WAIT: Duration = Duration::from_secs(10);
/// Bytes of its output that are kept for the reason why it failed.
const KEPT_BYTES: usize = 4096;
/// Characters of a line that is told.
const LINE: usize = 200;

/// Where programs run, and what is kept of them.
#[derive(Clone, Debug)]
pub(super) struct Ground {
    pub(super) launcher: Launcher,
    pub(super) containment: Arc<Containment>,
    /// The folder with what must survive the agent.
    pub(super) state: PathBuf,
    /// The folder with what must not survive a reboot.
    pub(super) runtime: PathBuf,
}

/// The programs of one attempt.
#[derive(Debug)]
pub(super) struct ServicePrograms {
    pub(super) ground: Ground,
    /// As an instance of the release would be started, but for its command; under a name that no instance can have.
    pub(super) spec: LaunchSpec,
    /// The cgroup's limits of an instance.
    pub(super) limits: CgroupLimits,
    /// Which database, and how to be let in.
    pub(super) database: Target,
    /// How long a program may take, and its statements may wait.
    pub(super) bounds: Limits,
}

/// What is written down of a program that runs.
#[derive(Debug, Serialize, Deserialize)]
struct Running {
    /// Its processes.
    group: GroupRecord,
    /// The boot in which they run.
    boot_id: String,
}

impl Ground {
    fn record(&self, service: &str) -> PathBuf {
        self.state.join("migrating").join(format!("{service}.json"))
    }

    /// Ends what any attempt left running when the agent ended, and removes copies of passwords. Best effort: an attempt looks
    /// once more for what is its own.
    pub(super) async fn clear_all(&self) {
        let names = |folder: PathBuf, ending: &'static str| {
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
            let names = names.filter_map(|name| name.strip_suffix(ending).map(str::to_owned));
            names.collect::<Vec<String>>()
        };
        for service in names(self.state.join("migrating"), ".json") {
            if let Err(error) = self.clear(&service).await {
                tracing::error!(service, error, "what a migration left behind");
            }
        }
        for service in names(self.runtime.join("migrating"), ".password") {
            self.forget_password(&service);
        }
    }

    fn password(&self, service: &str) -> PathBuf {
        self.runtime.join("migrating").join(format!("{service}.password"))
    }

    fn forget_password(&self, service: &str) {
        remove(&self.password(service));
    }

    /// Ends what an earlier attempt of the service left running.
    ///
    /// # Errors
    /// When it cannot be read what that is, or it does not end.
    pub(super) async fn clear(&self, service: &str) -> Result<(), String> {
        let path = self.record(service);
        self.forget_password(service);
        let failed = |what: &str, error: &dyn Error| {
            format!("a program that an earlier attempt left behind {what} ({}): {error}", path.display())
        };
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed("cannot be found", &error)),
        };
        let running: Running =
            serde_json::from_slice(&text).map_err(|error| failed("cannot be found", &error))?;
        let boot = boot_id().map_err(|error| failed("cannot be found", &error))?;
        if running.boot_id == boot {
            let group = Group::reopen(running.group).map_err(|error| failed("cannot be found", &error))?;
            if !group.is_empty().map_err(|error| failed("cannot be found", &error))? {
                tracing::warn!(%group, "a migration's program left processes behind: they end");
            }
            group.kill(KILL_WAIT).await.map_err(|error| failed("does not end", &error))?;
            // Best effort: an empty folder does no harm, and is used again.
            let _ = group.remove();
        }
        durable::remove(&path).map_err(|error| failed("cannot be forgotten", &error))
    }

    fn note(&self, service: &str, group: &Group) -> io::Result<()> {
        let running = Running { group: group.record(), boot_id: boot_id()? };
        durable::replace(&self.record(service), &serde_json::to_vec(&running)?)
    }
}

impl Programs for ServicePrograms {
    fn run<'a>(&'a self, call: ProgramCall<'a>) -> RunsProgram<'a> {
        Box::pin(self.run_to_its_end(call))
    }
}

impl ServicePrograms {
    async fn run_to_its_end(&self, call: ProgramCall<'_>) -> Result<(), ProgramEnd> {
        let chain = |error: &(dyn Error + 'static)| {
            ProgramEnd::NotRun(format!("cannot be run: {}", handover_model::chain(error)))
        };
        let service = self.spec.service.clone();
        self.ground.clear(&service).await.map_err(ProgramEnd::NotRun)?;
        let place =
            self.ground.containment.place(&self.spec.instance, self.limits).map_err(|error| chain(&error))?;
        let secret = self.database.secret().map_err(|error| chain(&error))?;
        // Looking up the program's user may ask the network.
        let password = tokio::task::block_in_place(|| {
            secret.map(|secret| Password::of(&secret, &self.ground, &self.spec)).transpose()
        });
        let password = password.map_err(|error| chain(&error))?;
        let mut spec = LaunchSpec { command: vec![call.path.display().to_string()], ..self.spec.clone() };
        spec.environment = self.environment(&call, password.as_ref().map(|password| password.0.as_path()));
        let command = SideCommand { launcher: self.ground.launcher.clone(), spec, place };
        let limit = self.bounds.whole;
        let mut ends = None;
        let begins = |group: &Group| {
            ends = Some(EndOnDrop(group.clone()));
            self.ground.note(&service, group)
        };
        let said = |line: &str| {
            // One that finds no room is followed by another.
            let _ = call.said.try_send(line.chars().take(LINE).collect());
        };
        tracing::info!(program = %call.path.display(), "a migration's program begins");
        let ran = command.run_told(limit, KEPT_BYTES, begins, said).await.map_err(|error| chain(&error))?;
        let failure = ran.failure(limit);
        tracing::info!(program = %call.path.display(), failure, "a migration's program has ended");
        // What it left running would go on without the lock.
        self.ground.clear(&service).await.map_err(ProgramEnd::CutOff)?;
        match (failure, ran.status) {
            (None, _) => Ok(()),
            (Some(failure), Some(ExitStatus::Code(_))) => Err(ProgramEnd::Failed(failure)),
            (Some(failure), _) => Err(ProgramEnd::CutOff(failure)),
        }
    }

    /// What a program finds in its environment beside what an instance would.
    fn environment(&self, call: &ProgramCall<'_>, password: Option<&Path>) -> BTreeMap<String, String> {
        let mut variables = self.spec.environment.clone();
        let kind = self.database.address.kind();
        let mut set = |name: &str, value: String| variables.insert(name.to_owned(), value);
        set("HANDOVER_PHASE", call.phase.name().to_owned());
        set("HANDOVER_SCHEMA_VERSION", call.version.to_string());
        set("HANDOVER_MIGRATION_AGAIN", if call.again { "1" } else { "0" }.to_owned());
        set("HANDOVER_DATABASE_URL", self.database.address.url().to_owned());
        if let Some(password) = password {
            set("HANDOVER_DATABASE_PASSWORD_FILE", password.display().to_string());
        }
        if kind == Kind::Postgres && !self.spec.environment.contains_key("PGOPTIONS") {
            // What libpq gives to each session: a program that waits for a lock should not stop all traffic behind it.
            let millis = self.bounds.lock_timeout.as_millis();
            set("PGOPTIONS", format!("-c lock_timeout={millis}"));
        }
        variables
    }
}

/// A password in a file that only the program's user may read, on no disk, and not for longer than the program runs.
#[derive(Debug)]
struct Password(PathBuf);

impl Password {
    fn of(secret: &Secret, ground: &Ground, spec: &LaunchSpec) -> io::Result<Self> {
        let path = ground.password(&spec.service);
        let folder = path.parent().unwrap_or(&ground.runtime);
        fs::DirBuilder::new().recursive(true).mode(0o711).create(folder)?;
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o400).open(&path)?;
        let password = Self(path);
        let (user, group) = account(spec).map_err(io::Error::other)?;
        fchown(&file, user, group)?;
        secret.write_to(&mut file)?;
        Ok(password)
    }
}

impl Drop for Password {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

fn remove(password: &Path) {
    match fs::remove_file(password) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %password.display(), error = &error as &dyn Error, "a password cannot be removed");
        }
        Ok(()) | Err(_) => {}
    }
}

/// A program whose future is dropped has lost the lock, and all of its processes end.
struct EndOnDrop(Group);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        // One round. What forks meanwhile is ended before another attempt begins.
        if let Err(error) = self.0.kill_once() {
            tracing::warn!(%error, group = %self.0, "cannot end a migration's program");
        }
    }
}
