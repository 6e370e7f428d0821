//! What a run does: where to, how, how fast, until when.

use super::address::{self, ForeignTarget};
use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// How connections are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Each of `connections` clients keeps its connection until the service says `Connection: close` or it fails.
    KeepAlive,
    /// Each request has a connection of its own, sent with `Connection: close`.
    ConnectionEach,
}

impl Mode {
    /// The word for reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::KeepAlive => "keep-alive",
            Self::ConnectionEach => "one connection each",
        }
    }
}

/// What a run does. [`Config::new`] has the defaults; change the fields that matter.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to, at least one. Clients of a keep-alive run are spread over them evenly; otherwise each request takes the next.
    pub targets: Vec<SocketAddr>,
    /// How connections are used.
    pub mode: Mode,
    /// Clients working at the same time, 1 to 4096.
    pub connections: usize,
    /// The path of each request with its query; begins with `/`. Default `/`.
    pub path: String,
    /// Requests a second over all clients; none: as fast as it goes. Where the service is slower than that, requests wait
    /// for a free client and are sent late, and `max_lag_us` of the report tells by how much.
    pub rate: Option<f64>,
    /// Stop after this time; none: until stopped.
    pub duration: Option<Duration>,
    /// Stop after this many requests; none: until stopped.
    pub requests: Option<u64>,
    /// From the request's first byte to the response's last. Default 30 s.
    pub timeout: Duration,
    /// For requests that are meant to take long (`/sleep?ms=10000`): the time-out counts from then on, and the report
    /// carries it, so that nobody takes its latencies for slowness.
    pub expected: Option<Duration>,
    /// A word for the report.
    pub tag: String,
    /// Threads for the clients, 1 to 64. Default 1, which does some ten thousands of requests a second.
    pub threads: usize,
    /// The path of a network namespace, e.g. `/run/netns/fleet`. Allows targets that are not loopback, if the process is in exactly this
    /// namespace and it is not the machine's own.
    pub network_namespace: Option<PathBuf>,
}

/// A configuration that cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No target.
    #[error("no target address: give at least one")]
    NoTarget,
    /// A number outside its range.
    #[error("{what} is {value}, expected {expected}")]
    OutOfRange {
        /// Which field.
        what: &'static str,
        /// What it was.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
    /// A target that this generator must not send to.
    #[error(transparent)]
    ForeignTarget(#[from] ForeignTarget),
}

impl Config {
    /// A run to `targets` with the defaults: path `/`, as fast as it goes, until stopped.
    #[must_use]
    pub fn new(targets: Vec<SocketAddr>, mode: Mode, connections: usize) -> Self {
        Self {
            targets,
            mode,
            connections,
            path: "/".to_owned(),
            rate: None,
            duration: None,
            requests: None,
            timeout: Duration::from_secs(30),
            expected: None,
            tag: String::new(),
            threads: 1,
            network_namespace: None,
        }
    }

    /// From the request's first byte to the response's last, at most.
    pub(crate) fn request_timeout(&self) -> Duration {
        self.timeout.saturating_add(self.expected.unwrap_or_default())
    }

    /// Refuses what cannot run or must not: most of all targets that are not this machine.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.targets.is_empty() {
            return Err(ConfigError::NoTarget);
        }
        let out_of_range =
            |what, value: String, expected| Err(ConfigError::OutOfRange { what, value, expected });
        if !(1..=4096).contains(&self.connections) {
            return out_of_range("connections", self.connections.to_string(), "1 to 4096");
        }
        if !(1..=64).contains(&self.threads) {
            return out_of_range("threads", self.threads.to_string(), "1 to 64");
        }
        if let Some(rate) = self.rate
            && !(0.001..=1e7).contains(&rate)
        {
            return out_of_range("rate", rate.to_string(), "0.001 to 10,000,000 requests a second");
        }
        let plain = |b: u8| b.is_ascii_graphic();
        if !self.path.starts_with('/') || self.path.len() > 4096 || !self.path.bytes().all(plain) {
            return out_of_range("path", format!("{:?}", self.path), "printable ASCII without spaces that begins with '/'");
        }
        Ok(address::check(&self.targets, self.network_namespace.as_deref())?)
    }
}
