//! Hidden instances: those that run and that no client is sent to, and how they are reached.

use super::{hosts::values, refusal::Refusal, releases, state::State};
use handover_model::{
    HostName, InstanceId, InstancePhase, PinSource, ServiceName, Version, config::ListenerName, reached_at,
};
use std::{collections::BTreeSet, net::SocketAddr};

/// An instance with share 0: a candidate, or one that stands by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hidden {
    /// Where it runs.
    pub host: HostName,
    /// Which.
    pub instance: InstanceId,
    /// What it runs.
    pub version: Version,
    /// Where it is in its life.
    pub phase: InstancePhase,
    /// Where to connect from.
    pub pin: PinSource,
    /// Where to connect to, in the order of its manifest.
    pub addresses: Vec<(ListenerName, SocketAddr)>,
}

impl State {
    /// The hidden instances of a service, on these hosts; on all where none is named. As their hosts reported last, of
    /// hosts that are connected.
    ///
    /// # Errors
    /// When there is no such service, or a host that is named is not enrolled or not connected.
    pub fn hidden(&self, service: &ServiceName, named: &BTreeSet<HostName>) -> Result<Vec<Hidden>, Refusal> {
        if self.service(service).is_none() {
            return Err(Refusal::NoService(service.clone()));
        }
        for name in named {
            if self.host(name)?.online.is_none() {
                return Err(Refusal::Invalid(format!(
                    "host {name} is not connected: what it runs now is not known"
                )));
            }
        }
        let mut hidden = Vec::new();
        let asked = |name: &HostName| named.is_empty() || named.contains(name);
        for (name, host) in self.hosts().filter(|(name, host)| asked(name) && host.online.is_some()) {
            let reports = host.report.iter().flat_map(|report| &report.instances);
            for (id, report) in reports.filter(|(_, report)| report.service == *service) {
                let (true, true, Some(pin)) = (report.share.is_hidden(), is_up(report.phase), report.pin)
                else {
                    continue;
                };
                let stored = self.get_release(&report.release)?;
                let manifest = releases::parse(&stored.release.manifest)?;
                // Its agent has resolved it, so it can be; a label that was changed since is no reason to say nothing.
                let listeners = manifest.for_host(&values(name, host)).map(|manifest| manifest.listeners);
                let addresses = listeners.unwrap_or_default().into_iter();
                hidden.push(Hidden {
                    host: name.clone(),
                    instance: id.clone(),
                    version: report.release.version.clone(),
                    phase: report.phase,
                    pin,
                    addresses: addresses
                        .map(|listener| (listener.name, reached_at(listener.address)))
                        .collect(),
                });
            }
        }
        Ok(hidden)
    }
}

/// Whether its program runs and is not on its way out.
fn is_up(phase: InstancePhase) -> bool {
    match phase {
        InstancePhase::Starting | InstancePhase::Ready | InstancePhase::Unhealthy => true,
        InstancePhase::Fetching
        | InstancePhase::BackingOff
        | InstancePhase::GaveUp
        | InstancePhase::Draining
        | InstancePhase::Stopping
        | InstancePhase::Exited => false,
    }
}
