//! Where a service counts its requests, and what it counts.

use super::ListenerName;
use crate::Selector;
use std::time::Duration;

/// Where a service's own metrics are read, and which of them mean what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsConfig {
    /// Who is asked for them.
    pub source: MetricsSource,
    /// How often all instances are read, 1 s to 1 min.
    pub interval: Duration,
    /// After this long a reading has failed, 10 ms to `interval`.
    pub timeout: Duration,
}

/// Who is asked for a service's metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetricsSource {
    /// Each instance itself, by its host's agent.
    Endpoint(EndpointMetrics),
    /// The Prometheus server that the Handover server was given, for all instances at once.
    Prometheus(PrometheusMetrics),
}

impl MetricsSource {
    /// The instances' own endpoint, where that is asked.
    #[must_use]
    pub fn endpoint(&self) -> Option<&EndpointMetrics> {
        match self {
            Self::Endpoint(endpoint) => Some(endpoint),
            Self::Prometheus(_) => None,
        }
    }

    /// What a Prometheus server is asked for, where one is.
    #[must_use]
    pub fn prometheus(&self) -> Option<&PrometheusMetrics> {
        match self {
            Self::Endpoint(_) => None,
            Self::Prometheus(asked) => Some(asked),
        }
    }
}

/// An endpoint of each instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointMetrics {
    /// The listener whose pin is asked.
    pub listener: ListenerName,
    /// Whether it is asked over TLS (source `https`).
    pub tls: bool,
    /// Path and query, beginning with `/`.
    pub path: String,
    /// The `Host` header, and with TLS the name asked for; the listener's address where there is none.
    pub host: Option<String>,
    /// The counter of requests; the usual names are looked for where there is none.
    pub requests: Option<Selector>,
    /// The counter of errors, a part of the requests; where there is none, the requests whose status says so.
    pub errors: Option<Selector>,
    /// The histogram of latencies, without `_bucket`; the usual names are looked for where there is none.
    pub latency: Option<Selector>,
}

/// The label by which the parts of an answer are told apart: one query asks a Prometheus server for all of them.
pub const PARTS_LABEL: &str = "handover_part";

/// Series of a Prometheus server. Which one it is stands in the server's own configuration, never in a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrometheusMetrics {
    /// The counter of requests.
    pub requests: Selector,
    /// The counter of errors, a part of the requests.
    pub errors: Selector,
    /// The classic histogram of latencies, with or without `_bucket`; latencies are not compared where there is none.
    pub latency: Option<Selector>,
    /// The label that holds the host.
    pub host_label: String,
    /// The label that holds the release's version.
    pub release_label: String,
}
