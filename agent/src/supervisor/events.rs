//! Taking in what happened to an instance.

use super::{Event, Supervisor, actions::millis, probing};
use crate::{
    clock::now,
    instance::{ExitStatus, logs, rotate},
    state::{Run, State, Then},
};
use handover_model::{
    DrainLedger, InstanceId,
    config::{ListenerName, LogTarget},
};
use std::error::Error;

/// Lines of a program's own output behind the reason why it failed.
const TAIL_LINES: usize = 3;
const TAIL_BYTES: usize = 600;

impl Supervisor {
    /// One thing that happened. What an earlier life sends is not heard.
    pub(super) fn take(&mut self, id: &InstanceId, life: u64, event: Event) {
        let Some(instance) = self.instances.get_mut(id) else { return };
        if instance.life != life {
            return;
        }
        let span = super::span(id, instance.service());
        let _within = span.enter();
        match event {
            Event::Fetched(fetched) => self.fetched(id, &fetched),
            Event::Prepared(prepared) => self.prepared(id, prepared),
            Event::Launched(launched) => self.launched(id, launched),
            Event::Exited(status) => self.exited(id, status),
            Event::NotYet(reason) | Event::Status(reason) => instance.waits = reason,
            Event::Ready { unready_probes } => {
                instance.unready_probes = unready_probes;
                self.answers(id);
            }
            Event::Unserved(listeners) => {
                if let State::Running { run: Run::Ready { unserved, .. }, .. } = &mut instance.state {
                    if !listeners.is_empty() {
                        let names: Vec<&str> = listeners.iter().map(ListenerName::as_str).collect();
                        tracing::warn!(instance = %id, listeners = names.join(", "), "is ready and accepts nothing");
                    }
                    *unserved = Some(listeners);
                    self.note(id);
                }
            }
            Event::Verified(Ok(())) => self.ready(id),
            Event::Verified(Err(reason)) => self.not_verified(id, &reason),
            Event::Unhealthy(reason) => {
                if let State::Running { run: run @ Run::Ready { .. }, .. } = &mut instance.state {
                    *run = Run::Unhealthy { since: now(), reason };
                    self.note(id);
                }
            }
        }
    }

    pub(super) fn ready(&mut self, id: &InstanceId) {
        let Some(instance) = self.instances.get_mut(id) else { return };
        let State::Running { run: run @ Run::Starting { .. }, .. } = &mut instance.state else { return };
        let Run::Starting { since, .. } = run else { return };
        let ready_millis = millis(now().since(*since));
        *run = Run::Ready {
            since: now(),
            ready_millis,
            unready_probes: instance.unready_probes,
            unserved: None,
        };
        instance.entered = now();
        instance.waits.clear();
        tracing::info!(instance = %id, millis = ready_millis, "ready");
        self.note(id);
        probing::liveness(self, id);
        self.look_whether_it_serves(id);
    }

    /// All of its processes are gone.
    fn exited(&mut self, id: &InstanceId, status: ExitStatus) {
        let Some(instance) = self.instances.get_mut(id) else { return };
        let State::Running { run, .. } = &instance.state else { return };
        match run.clone() {
            // An agent died before it could say whether the program was executed at all.
            Run::Starting { executed: false, .. } => {
                self.anew(id, "the agent was started again while its process was being made");
            }
            Run::Starting { .. } => {
                let reason = format!("it {status} before it was ready{}", self.last_words(id));
                self.failed(id, reason, true);
            }
            Run::Ready { since, .. } => {
                instance.forgive(since);
                let reason = format!("it {status}{}", self.last_words(id));
                self.failed(id, reason, true);
            }
            Run::Unhealthy { reason, .. } => self.failed(id, format!("{reason}; then it {status}"), true),
            Run::Stopping { then: Then::Restart { reason }, .. } => {
                let reason = format!("{reason}{}", self.last_words(id));
                self.failed(id, reason, true);
            }
            Run::Stopping { then: Then::Anew { reason }, .. } => self.anew(id, &reason),
            Run::Stopping { then: Then::GiveUp { reason }, .. } => self.give_up(id, reason),
            Run::Emptying { .. } => self.left(id, DrainLedger::default()),
            Run::Draining { since, ledger, .. } => {
                self.left(id, DrainLedger { drain_millis: millis(now().since(since)), ..ledger });
            }
            Run::Stopping { then: Then::Gone { ledger, drained_from }, .. } => {
                self.left(id, DrainLedger { drain_millis: millis(now().since(drained_from)), ..ledger });
            }
        }
    }

    /// What the program wrote last, where that went to a file.
    fn last_words(&self, id: &InstanceId) -> String {
        let Some(instance) = self.instances.get(id) else { return String::new() };
        let file = logs::file_of(&self.config.logs, instance.service().as_str(), id.as_str());
        match logs::tail(&file, TAIL_LINES, TAIL_BYTES) {
            Ok(lines) if !lines.is_empty() => format!("; its last words: {}", lines.join(" | ")),
            Ok(_) | Err(_) => String::new(),
        }
    }

    /// Writes down what has happened already. Where that fails it is written once it can be: an agent that is started
    /// again before then finds it out from the processes.
    pub(super) fn note(&mut self, id: &InstanceId) {
        match self.write_down(id) {
            Ok(()) => drop(self.unnoted.remove(id)),
            Err(error) => {
                tracing::debug!(instance = %id, error = &error as &dyn Error, "is written down later");
                self.unnoted.insert(id.clone());
            }
        }
    }

    /// What is done now and then: connections are counted, log files rotated.
    pub(super) fn look_after(&mut self) {
        self.gates.sweep();
        self.time_of_day.follow();
        self.look_at_disks();
        self.note_flips();
        self.count_connections();
        for (id, instance) in &self.instances {
            let Some(manifest) = &instance.manifest else { continue };
            if manifest.logs.to == LogTarget::Journald || !self.rotating.insert(id) {
                continue;
            }
            let file = logs::file_of(&self.config.logs, instance.service().as_str(), id.as_str());
            let rotation = rotate::Rotation { max_size: manifest.logs.max_size, keep: manifest.logs.keep };
            let done = self.rotating.done(id);
            tokio::task::spawn_blocking(move || {
                if let Err(error) = rotate::rotate(&file, rotation)
                    && error.kind() != std::io::ErrorKind::NotFound
                {
                    tracing::warn!(file = %file.display(), error = &error as &dyn Error, "cannot be rotated");
                }
                drop(done);
            });
        }
    }
}
