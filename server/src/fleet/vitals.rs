//! What a living fleet says of itself in one line.

use super::state::State;
use std::fmt;

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vitals {
    /// Hosts whose agents are in session.
    pub agents: usize,
    /// Hosts that are enrolled.
    pub hosts: usize,
    /// Deployments that go on.
    pub deployments: usize,
}

impl State {
    /// How much there is now.
    #[must_use]
    pub fn vitals(&self) -> Vitals {
        Vitals {
            agents: self.hosts.values().filter(|host| host.online.is_some()).count(),
            hosts: self.hosts.len(),
            deployments: self.live.len(),
        }
    }
}

impl fmt::Display for Vitals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { agents, hosts, deployments } = self;
        write!(f, "agents connected: {agents} of {hosts}; deployments running: {deployments}")
    }
}
