//! Bringing an instance up: its bundle, its sockets, its process.

use super::{Event, Instance, Supervisor, actions::Outcome};
use crate::{
    bundles::FetchError,
    clock::now,
    instance::{
        CgroupLimits, LaunchError, LaunchSpec, LogSink, Prepared, ResourceLimits, Running, logs,
        notify::NotifySocket,
    },
    state::{BackingOff, Run, State},
};
use handover_gate::Pin;
use handover_model::{
    InstanceId, Release, ServiceName,
    config::{CoreLimit, HostManifest, LogTarget, Manifest, ReadinessCheck},
};
use std::{collections::BTreeSet, sync::Arc, time::Duration};

impl Supervisor {
    /// What an instance is to run: as the target has it, or, where the target does not name it any more, as before.
    fn release_of(&self, id: &InstanceId) -> Option<Release> {
        let services = self.target.iter().flat_map(|target| target.services.values());
        let mut wanted = services.flat_map(|service| &service.instances);
        let wanted = wanted.find(|wanted| wanted.instance == *id).map(|wanted| &wanted.release);
        wanted.or_else(|| self.instances.get(id).map(|instance| &instance.release)).cloned()
    }

    pub(super) fn is_wanted(&self, id: &InstanceId) -> bool {
        let services = self.target.iter().flat_map(|target| target.services.values());
        services.flat_map(|service| &service.instances).any(|wanted| wanted.instance == *id)
    }

    pub(super) fn fetch(&mut self, id: &InstanceId) -> Outcome {
        let Some(release) = self.release_of(id) else { return Ok(()) };
        self.lives += 1;
        let life = self.lives;
        if !self.instances.contains_key(id) {
            let taken: BTreeSet<u8> = self.instances.values().map(|instance| instance.pin).collect();
            let pin = self.gates.free_pin(&taken)?.number();
            let mut instance = Instance::new(release.clone(), pin, life);
            // Not none where its record was damaged while it had one.
            instance.share = self.gates.share(instance.service(), id).unwrap_or_default();
            instance.had_share = !instance.share.is_hidden();
            self.instances.insert(id.clone(), instance);
        }
        let manifest = self.resolve(&release);
        let Some(instance) = self.instances.get_mut(id) else { return Ok(()) };
        instance.renew(life);
        let (next, ok) = match manifest {
            Ok(manifest) => {
                instance.manifest = Some(manifest);
                (State::Fetching, true)
            }
            Err(reason) => (State::GaveUp { reason, since: now() }, false),
        };
        instance.state = next;
        if let Err(error) = self.write_down(id) {
            // Nothing was begun for it, and it has no process: it says on the host why it waits.
            self.wait_for_room(id, handover_model::chain(&error));
            return Ok(());
        }
        if ok {
            self.bring(id);
        }
        Ok(())
    }

    /// Gets an instance's bundle.
    pub(super) fn bring(&mut self, id: &InstanceId) {
        let Some(instance) = self.instances.get_mut(id) else { return };
        let bundle = instance.release.bundle.clone();
        instance.entered = now();
        instance.waits = format!("fetching bundle {}", bundle.digest.short());
        let bundles = self.bundles.clone();
        self.begin(id, |reporter| async move {
            let told = reporter.clone();
            let brought = bundles
                .bring(&bundle, |trouble| {
                    let (told, what) = (told.clone(), format!("bundle {}: {trouble}", bundle.digest.short()));
                    async move { told.tell(Event::NotYet(what)).await }
                })
                .await;
            reporter.tell(Event::Fetched(brought)).await;
        });
    }

    pub(super) fn fetched(&mut self, id: &InstanceId, fetched: &Result<std::path::PathBuf, FetchError>) {
        let Some(instance) = self.instances.get_mut(id) else { return };
        match fetched {
            Ok(_) => {
                instance.enter(State::Fetched);
                self.note(id);
            }
            Err(error) if error.wants_room() => self.wait_for_room(id, handover_model::chain(error)),
            Err(error) if error.is_permanent() => self.give_up(id, handover_model::chain(error)),
            Err(error) => self.failed(id, handover_model::chain(error), false),
        }
    }

    /// The manifest with this host's values in it.
    pub(super) fn resolve(&self, release: &Release) -> Result<HostManifest, String> {
        let target = self.target.as_ref().ok_or("no target was accepted yet")?;
        let manifest = Manifest::parse(&release.manifest).map_err(|error| {
            format!("this agent cannot read the manifest; is it older than the server? {error}")
        })?;
        manifest
            .for_host(&target.host)
            .map_err(|error| format!("the manifest does not fit this host: {error}"))
    }

    pub(super) fn start(&mut self, id: &InstanceId) -> Outcome {
        self.lives += 1;
        let life = self.lives;
        let config = Arc::clone(&self.config);
        let Some(instance) = self.instances.get_mut(id) else { return Ok(()) };
        let release_dir = self.bundles.folder(&instance.release.bundle.digest);
        let Some(manifest) = instance.manifest.clone().filter(|_| release_dir.is_dir()) else {
            // Without its files, or a manifest that was understood: from the beginning.
            return self.fetch(id);
        };
        instance.renew(life);
        let service = instance.service().clone();
        let pin = Pin::new(instance.pin)?;

        self.gates.join(&service, &manifest.listeners, id, pin)?;
        let sockets = self.gates.sockets(&service, &manifest.listeners, id)?;
        // A process of an earlier life that is not quite gone would be in the way of the limits.
        let place = self.containment.place(id.as_str(), cgroup_limits(&manifest))?;
        let notify = match manifest.readiness.check {
            ReadinessCheck::Notify => Some(Arc::new(NotifySocket::open(&config.runtime, id.as_str())?)),
            ReadinessCheck::Alive { .. } | ReadinessCheck::Probe(_) => None,
        };
        let log = log_sink(&manifest, &config.logs, &service, id)?;
        let Some(instance) = self.instances.get_mut(id) else { return Ok(()) };
        let spec = spec(&manifest, &instance.release, id.as_str(), &release_dir, notify.as_deref(), log);
        let before = std::mem::replace(&mut instance.state, State::Launching);
        if let Err(error) = self.write_down(id) {
            if let Some(instance) = self.instances.get_mut(id) {
                instance.state = before;
            }
            return Err(error.into());
        }
        let Some(instance) = self.instances.get_mut(id) else { return Ok(()) };
        instance.notify = notify;
        instance.entered = now();
        "its process is being started".clone_into(&mut instance.waits);
        let launcher = self.launcher.clone();
        self.begin(id, |reporter| async move {
            reporter.tell(Event::Prepared(launcher.prepare(&spec, sockets, place).await)).await;
        });
        Ok(())
    }

    /// The launcher waits for the word. First the journal knows of it, then it goes. Dropping it is saying no: the
    /// launcher ends and nothing was executed.
    pub(super) fn prepared(&mut self, id: &InstanceId, prepared: Result<Prepared, LaunchError>) {
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return self.not_launched(id, &error),
        };
        let wanted = self.is_wanted(id);
        let Some(instance) = self.instances.get_mut(id) else { return };
        if !wanted && instance.share.is_hidden() {
            return self.anew(id, "it was not wanted any more when its process was made");
        }
        let deadline = instance.manifest.as_ref().map(|m| m.readiness.deadline).unwrap_or_default();
        let run = Run::Starting { since: now(), deadline: now() + deadline, executed: false };
        let process = prepared.process().clone();
        let group = prepared.group().clone();
        instance.enter(State::Running { process, group, run });
        if let Err(error) = self.write_down(id) {
            self.hold_instance(id);
            return self.anew(id, &handover_model::chain(&error));
        }
        self.begin(id, |reporter| async move { reporter.tell(Event::Launched(prepared.go().await)).await });
    }

    pub(super) fn launched(&mut self, id: &InstanceId, launched: Result<Running, LaunchError>) {
        match launched {
            Ok(running) => {
                tracing::info!(instance = %id, pid = running.process.pid(), "started");
                if let Some(Instance { state: State::Running { run, .. }, .. }) = self.instances.get_mut(id)
                    && let Run::Starting { executed, .. } = run
                {
                    *executed = true;
                    self.note(id);
                }
                self.watch_over(id);
            }
            Err(error) => self.not_launched(id, &error),
        }
    }

    fn not_launched(&mut self, id: &InstanceId, error: &LaunchError) {
        if error.is_permanent() {
            self.give_up(id, handover_model::chain(error));
        } else {
            self.failed(id, handover_model::chain(error), true);
        }
    }

    /// It is not tried again: trying would not help.
    pub(super) fn give_up(&mut self, id: &InstanceId, reason: String) {
        self.lives += 1;
        let Some(instance) = self.instances.get_mut(id) else { return };
        tracing::warn!(instance = %id, reason, "cannot be started");
        instance.renew(self.lives);
        instance.enter(State::GaveUp { reason, since: now() });
        self.note(id);
    }

    /// A life that ended without a failure of its own: it is started again at once.
    pub(super) fn anew(&mut self, id: &InstanceId, why: &str) {
        self.lives += 1;
        let Some(instance) = self.instances.get_mut(id) else { return };
        tracing::info!(instance = %id, why, "is started anew");
        instance.renew(self.lives);
        instance.enter(State::Fetched);
        self.note(id);
    }

    /// A life failed: it is tried again after a pause, or not any more.
    pub(super) fn failed(&mut self, id: &InstanceId, reason: String, fetched: bool) {
        self.lives += 1;
        let Some(instance) = self.instances.get_mut(id) else { return };
        let restart = instance.manifest.as_ref().map(|manifest| manifest.restart).unwrap_or_default();
        instance.failures = instance.failures.saturating_add(1);
        instance.restarts = instance.restarts.saturating_add(1);
        self.metrics.failed(&instance.release.name.service);
        tracing::warn!(instance = %id, failures = instance.failures, reason, "failed");
        let state = if restart.attempts != 0 && instance.failures >= restart.attempts {
            let reason = format!("gave up after {} attempts; the last one: {reason}", instance.failures);
            State::GaveUp { reason, since: now() }
        } else {
            let pause = pause(restart.initial, restart.max, instance.failures);
            State::BackingOff(BackingOff { until: now() + pause, since: now(), fetched, reason })
        };
        instance.renew(self.lives);
        instance.enter(state);
        self.note(id);
    }
}

/// What to do with an instance's output.
fn log_sink(
    manifest: &HostManifest,
    folder: &std::path::Path,
    service: &ServiceName,
    id: &InstanceId,
) -> std::io::Result<LogSink> {
    let journald = match manifest.logs.to {
        LogTarget::Journald => true,
        LogTarget::Auto => logs::journald_is_there(),
        LogTarget::Files => false,
    };
    if journald {
        Ok(logs::journald_sink(service.as_str(), id.as_str()))
    } else {
        logs::file_sink(folder, service.as_str(), id.as_str())
    }
}

/// What the launcher needs to know.
pub(crate) fn spec(
    manifest: &HostManifest,
    release: &Release,
    instance: &str,
    folder: &std::path::Path,
    notify: Option<&NotifySocket>,
    log: LogSink,
) -> LaunchSpec {
    LaunchSpec {
        service: release.name.service.to_string(),
        release: release.name.version.to_string(),
        instance: instance.to_owned(),
        release_dir: folder.to_owned(),
        command: manifest.command.clone(),
        working_directory: manifest.working_directory.clone(),
        user: manifest.user.clone(),
        group: manifest.group.clone(),
        environment: manifest.environment.clone(),
        notify_socket: notify.map(|socket| socket.path().to_owned()),
        limits: ResourceLimits {
            open_files: manifest.limits.open_files,
            processes: manifest.limits.processes,
            core: manifest.limits.core.map(|core| match core {
                CoreLimit::Bytes(bytes) => bytes,
                CoreLimit::Unlimited => u64::MAX,
            }),
        },
        log,
    }
}

/// The limits of all processes of an instance together.
pub(crate) fn cgroup_limits(manifest: &HostManifest) -> CgroupLimits {
    CgroupLimits {
        memory: manifest.limits.memory,
        cpu: manifest.limits.cpu.map(|cpu| cpu.percent),
        tasks: manifest.limits.tasks,
    }
}

/// The pause before attempt `failures`: it doubles each time up to `max`; up to a quarter is taken off by chance, so
/// that instances that failed together do not come back together.
fn pause(initial: Duration, max: Duration, failures: u32) -> Duration {
    let doubled = initial.saturating_mul(1 << failures.saturating_sub(1).min(20)).min(max);
    doubled.mul_f64(1.0 - 0.25 * rand::random::<f64>())
}
