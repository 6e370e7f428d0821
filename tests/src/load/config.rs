//! What a run does: where to, how, how fast, until when.

use std::{net::SocketAddr, time::Duration};

/// No run is longer.
pub const MAX_DURATION: Duration = Duration::from_secs(600);
/// Most clients of a run.
const MAX_CLIENTS: usize = 4096;

/// How connections are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Each client keeps its connection until the service says `Connection: close` or it fails. The clients are spread
    /// over the targets evenly.
    KeepAlive {
        /// Clients at the same time, 1 to 4096.
        connections: usize,
    },
    /// Each request has a connection of its own, sent with `Connection: close`; each goes to the next target.
    OnePerRequest {
        /// Clients at the same time, 1 to 4096.
        workers: usize,
    },
}

impl Mode {
    /// Clients at the same time.
    #[must_use]
    pub fn clients(self) -> usize {
        match self {
            Self::KeepAlive { connections: clients } | Self::OnePerRequest { workers: clients } => clients,
        }
    }

    /// The words for reports.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::KeepAlive { .. } => "keep-alive",
            Self::OnePerRequest { .. } => "one connection per request",
        }
    }
}

/// What a run does. [`Config::new`] has the defaults; change the fields that matter.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to: at least one, each of them loopback.
    pub targets: Vec<SocketAddr>,
    /// How connections are used.
    pub mode: Mode,
    /// The path of each request with its query; begins with `/`. Default `/`.
    pub path: String,
    /// Requests a second over all clients; none: as fast as it goes. Where the service is slower than that, requests wait
    /// for a free client and are sent late, and `max_lag_us` of the report tells by how much.
    pub rate: Option<u32>,
    /// Begin no request after this time, at most [`MAX_DURATION`], which is the default.
    pub duration: Duration,
    /// Stop after this many requests.
    pub max_requests: Option<u64>,
    /// For a connection to be made. Default 5 s.
    pub connect_timeout: Duration,
    /// From the request's first byte to the response's last. Default 30 s.
    pub request_timeout: Duration,
}

/// A configuration that cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No target.
    #[error("no target address: give at least one")]
    NoTarget,
    /// A target that this generator must not send to.
    #[error("{0} is no loopback address: the load generator never sends to another machine")]
    NotLoopback(SocketAddr),
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
}

impl Config {
    /// A run to `targets` with the defaults: path `/`, as fast as it goes, until stopped.
    #[must_use]
    pub fn new(targets: Vec<SocketAddr>, mode: Mode) -> Self {
        Self {
            targets,
            mode,
            path: "/".to_owned(),
            rate: None,
            duration: MAX_DURATION,
            max_requests: None,
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(30),
        }
    }

    /// Refuses what cannot run or must not: most of all targets that are not this machine.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.targets.is_empty() {
            return Err(ConfigError::NoTarget);
        }
        if let Some(&target) = self.targets.iter().find(|target| !target.ip().to_canonical().is_loopback()) {
            return Err(ConfigError::NotLoopback(target));
        }
        let out_of_range =
            |what, value: String, expected| Err(ConfigError::OutOfRange { what, value, expected });
        if !(1..=MAX_CLIENTS).contains(&self.mode.clients()) {
            return out_of_range("the number of clients", self.mode.clients().to_string(), "1 to 4096");
        }
        if self.rate == Some(0) {
            return out_of_range("the rate", "0".to_owned(), "at least one request a second");
        }
        if self.duration > MAX_DURATION {
            return out_of_range("the duration", format!("{:?}", self.duration), "at most 600 s");
        }
        let plain = |b: u8| b.is_ascii_graphic();
        if !self.path.starts_with('/') || self.path.len() > 4096 || !self.path.bytes().all(plain) {
            return out_of_range(
                "the path",
                format!("{:?}", self.path),
                "printable ASCII without spaces that begins with '/'",
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(targets: &[&str]) -> Result<(), ConfigError> {
        let targets = targets.iter().map(|target| target.parse().unwrap()).collect();
        Config::new(targets, Mode::OnePerRequest { workers: 1 }).check()
    }

    #[test]
    fn a_target_on_another_machine_is_refused() {
        for target in [
            "10.0.0.1:80",
            "0.0.0.0:80",
            "192.168.1.1:80",
            "[::]:80",
            "[2001:db8::1]:80",
            "[::ffff:10.0.0.1]:80",
        ] {
            assert!(matches!(check(&[target]), Err(ConfigError::NotLoopback(_))), "{target}");
            assert!(
                matches!(check(&["127.0.0.1:80", target]), Err(ConfigError::NotLoopback(_))),
                "behind another: {target}"
            );
        }
        check(&["127.0.0.1:80", "127.9.8.7:80", "[::1]:80"]).unwrap();
        assert!(matches!(check(&[]), Err(ConfigError::NoTarget)));
    }

    #[test]
    fn a_number_out_of_its_range_is_refused_by_name() {
        let good = Config::new(vec!["127.0.0.1:80".parse().unwrap()], Mode::KeepAlive { connections: 4096 });
        good.check().unwrap();
        let bad = [
            (Config { mode: Mode::KeepAlive { connections: 0 }, ..good.clone() }, "clients"),
            (Config { mode: Mode::OnePerRequest { workers: 4097 }, ..good.clone() }, "clients"),
            (Config { rate: Some(0), ..good.clone() }, "rate"),
            (Config { duration: Duration::from_secs(601), ..good.clone() }, "duration"),
            (Config { path: "ready".to_owned(), ..good.clone() }, "path"),
            (Config { path: "/ HTTP/1.1\r\nx: y".to_owned(), ..good }, "path"),
        ];
        for (config, word) in bad {
            let refused = config.check().unwrap_err().to_string();
            assert!(refused.contains(word), "{refused}");
        }
    }
}
