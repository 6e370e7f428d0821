//! A manifest with a host's own values in it.

use super::{
    Drain, JudgeConfig, Listener, Liveness, Logs, Manifest, MetricsConfig, Mistakes, Readiness,
    ResourceLimits, Restart, Template, Verify,
    listener::socket_address,
    read::{passable, program},
    template::Filling,
};
use crate::{HostValues, ServiceName, language::Problems};
use std::{
    collections::{BTreeMap, btree_map::Entry},
    net::SocketAddr,
    path::PathBuf,
};

/// A service as one host runs it: nothing is left to be resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostManifest {
    /// Its name.
    pub service: ServiceName,
    /// Program and arguments, at least one word. A relative program lies beneath the release's directory.
    pub command: Vec<String>,
    /// User that the program runs as, by name or number; the agent's own where there is none.
    pub user: Option<String>,
    /// Group that the program runs as, by name or number; the user's own where there is none.
    pub group: Option<String>,
    /// Where the program starts: beneath the release's directory, or absolute. Never contains `..` where relative.
    pub working_directory: PathBuf,
    /// Environment variables. Those of the agent's own (`LISTEN_FDS` and so on) are never among them.
    pub environment: BTreeMap<String, String>,
    /// In the order of the descriptors from 3. No two have the same address.
    pub listeners: Vec<Listener>,
    /// When an instance may get a share.
    pub readiness: Readiness,
    /// What must go on holding afterwards, where it is watched.
    pub liveness: Option<Liveness>,
    /// What a candidate must pass before it counts as ready, where it must.
    pub verify: Option<Verify>,
    /// Where it counts its requests; `None` where it does not, or nobody looks.
    pub metrics: Option<MetricsConfig>,
    /// How its canaries are judged: some of that only a host can count.
    pub judge: JudgeConfig,
    /// How an instance is taken out.
    pub drain: Drain,
    /// How an instance that ended by itself is started again.
    pub restart: Restart,
    /// What an instance may use.
    pub limits: ResourceLimits,
    /// Where its output goes.
    pub logs: Logs,
}

impl Manifest {
    /// Puts a host's values in.
    ///
    /// # Errors
    /// All at once: a label that the host lacks, an address that is none with the host's values, a text that no
    /// program can be given, two listeners with one address.
    pub fn for_host(&self, host: &HostValues) -> Result<HostManifest, Mistakes> {
        let mut filler = Filler { host, problems: Problems::new("") };
        let command = filler.command("command", &self.command);
        let environment = self.environment.iter();
        let environment = environment
            .map(|(key, value)| (key.clone(), filler.text(&format!("environment.{key}"), value)))
            .collect();
        let listeners = filler.listeners(&self.listeners);
        let readiness = self.readiness.map(|words| filler.command("readiness.command", words));
        let liveness = self.liveness.as_ref().map(|liveness| Liveness {
            probe: liveness.probe.map(|words| filler.command("liveness.command", words)),
            failures: liveness.failures,
        });
        let verify = self.verify.as_ref();
        let verify = verify.map(|verify| verify.map(|words| filler.command("verify.commands", words)));
        if !filler.problems.is_empty() {
            return Err(filler.problems.into_errors());
        }
        Ok(HostManifest {
            service: self.service.clone(),
            command,
            user: self.user.clone(),
            group: self.group.clone(),
            working_directory: self.working_directory.clone(),
            environment,
            listeners,
            readiness,
            liveness,
            verify,
            metrics: self.metrics.clone(),
            judge: self.judge,
            drain: self.drain,
            restart: self.restart,
            limits: self.limits,
            logs: self.logs,
        })
    }
}

struct Filler<'h> {
    host: &'h HostValues,
    problems: Problems<'h>,
}

impl Filler<'_> {
    /// The text with the host's values; where that cannot be, the mistake is noted.
    fn fill(&mut self, key: &str, template: &Template, filling: Filling) -> Option<String> {
        let (message, hint) = match template.fill(self.host, filling) {
            Ok(text) => match passable(&text) {
                Ok(()) => return Some(text),
                Err(message) => (message, None),
            },
            Err(label) => {
                let name = &self.host.name;
                let hint = format!("set it: handover hosts label {name} {label}=VALUE");
                (format!("host {name} has no label {label}"), Some(hint))
            }
        };
        self.problems.push(template.place.clone(), key, message, hint);
        None
    }

    fn text(&mut self, key: &str, template: &Template) -> String {
        // What stands in for a text with a mistake is never seen: a noted mistake refuses the whole.
        self.fill(key, template, Filling::Plain).unwrap_or_default()
    }

    fn command(&mut self, key: &str, words: &[Template]) -> Vec<String> {
        let filled: Vec<_> = words.iter().map(|word| self.fill(key, word, Filling::Plain)).collect();
        if let (Some(template), Some(Some(first))) = (words.first(), filled.first())
            && let Err(message) = program(first)
        {
            self.problems.push(template.place.clone(), key, message, None);
        }
        filled.into_iter().map(Option::unwrap_or_default).collect()
    }

    fn listeners(&mut self, listeners: &[Listener<Template>]) -> Vec<Listener<SocketAddr>> {
        let mut taken = BTreeMap::new();
        let mut resolved = Vec::with_capacity(listeners.len());
        for listener in listeners {
            let key = format!("listeners.{}", listener.name);
            let place = listener.address.place.clone();
            let Some(text) = self.fill(&key, &listener.address, Filling::Address) else { continue };
            let address = match socket_address(&text) {
                Ok(address) => address,
                Err(message) => {
                    self.problems.push(place, &key, message, None);
                    continue;
                }
            };
            match taken.entry(address) {
                Entry::Occupied(other) => {
                    let message = format!("{address} is the address of listener {} too", other.get());
                    self.problems.push(place, &key, message, None);
                }
                Entry::Vacant(free) => {
                    free.insert(listener.name.clone());
                }
            }
            let Listener { name, backlog, handoff, .. } = listener.clone();
            resolved.push(Listener { name, address, backlog, handoff });
        }
        resolved
    }
}
