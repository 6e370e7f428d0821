//! Probes: how an instance shows that it is ready, and goes on showing that it lives.

use super::ListenerName;
use std::{ops::RangeInclusive, time::Duration};

/// When an instance may get a share. `T` is the text of commands: with placeholders in a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness<T = String> {
    /// What must hold.
    pub check: ReadinessCheck<T>,
    /// From exec until it must hold, 10 ms to 24 h.
    pub deadline: Duration,
}

/// What makes an instance ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadinessCheck<T = String> {
    /// The program says `READY=1` on `NOTIFY_SOCKET` (`sd_notify(3)`).
    Notify,
    /// The program was started and is still alive after `settle`, 0 to 1 h. Default of services without listeners.
    Alive {
        /// How long it must have lived.
        settle: Duration,
    },
    /// A probe succeeds.
    Probe(Probe<T>),
}

/// What must go on holding once an instance was ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Liveness<T = String> {
    /// What is asked.
    pub probe: Probe<T>,
    /// How often in a row it must fail before the instance is started again, 1 to 1000.
    pub failures: u32,
}

/// Something that is asked again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe<T = String> {
    /// What is asked.
    pub check: Check<T>,
    /// From the end of one to the start of the next, 10 ms to 1 h.
    pub interval: Duration,
    /// After this long one counts as failed, 10 ms to 1 h.
    pub timeout: Duration,
}

/// What one probe asks. What goes over the network goes to the instance's pin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check<T = String> {
    /// A GET request.
    Http(HttpCheck),
    /// `grpc.health.v1.Health/Check` answers `SERVING`.
    Grpc {
        /// Where it is asked.
        listener: ListenerName,
        /// The service it asks for; empty for the whole server.
        service_name: String,
    },
    /// A connection is accepted.
    Tcp {
        /// Where it is opened.
        listener: ListenerName,
    },
    /// A command ends with 0.
    Exec {
        /// Program and arguments. A relative program lies beneath the release's directory.
        command: Vec<T>,
    },
}

/// A GET request whose answer counts by its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpCheck {
    /// Where it goes.
    pub listener: ListenerName,
    /// Whether it goes over TLS (kind `https`).
    pub tls: bool,
    /// Path and query, beginning with `/`.
    pub path: String,
    /// The `Host` header, and with TLS the name asked for; the listener's address where there is none.
    pub host: Option<String>,
    /// The status codes that count as success.
    pub status: RangeInclusive<u16>,
}

impl<T> Check<T> {
    /// The word for it in a manifest.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Http(http) if http.tls => "https",
            Self::Http(_) => "http",
            Self::Grpc { .. } => "grpc",
            Self::Tcp { .. } => "tcp",
            Self::Exec { .. } => "exec",
        }
    }

    /// Whether one answer is the answer to both: what is asked is the same, however often and with whatever patience.
    #[must_use]
    pub fn asks_the_same(&self, other: &Self) -> bool
    where
        T: PartialEq,
    {
        match (self, other) {
            (Self::Http(one), Self::Http(other)) => {
                (&one.listener, &one.path, one.tls) == (&other.listener, &other.path, other.tls)
            }
            (Self::Http(_) | Self::Grpc { .. } | Self::Tcp { .. } | Self::Exec { .. }, _) => self == other,
        }
    }

    /// The same check with the words of its command turned into something else.
    pub(super) fn map<U>(&self, command: impl FnOnce(&[T]) -> Vec<U>) -> Check<U> {
        match self {
            Self::Http(http) => Check::Http(http.clone()),
            Self::Grpc { listener, service_name } => {
                Check::Grpc { listener: listener.clone(), service_name: service_name.clone() }
            }
            Self::Tcp { listener } => Check::Tcp { listener: listener.clone() },
            Self::Exec { command: words } => Check::Exec { command: command(words) },
        }
    }
}

impl<T> Probe<T> {
    pub(super) fn map<U>(&self, command: impl FnOnce(&[T]) -> Vec<U>) -> Probe<U> {
        Probe { check: self.check.map(command), interval: self.interval, timeout: self.timeout }
    }
}

impl<T> Readiness<T> {
    pub(super) fn map<U>(&self, command: impl FnOnce(&[T]) -> Vec<U>) -> Readiness<U> {
        let check = match &self.check {
            ReadinessCheck::Notify => ReadinessCheck::Notify,
            ReadinessCheck::Alive { settle } => ReadinessCheck::Alive { settle: *settle },
            ReadinessCheck::Probe(probe) => ReadinessCheck::Probe(probe.map(command)),
        };
        Readiness { check, deadline: self.deadline }
    }
}
