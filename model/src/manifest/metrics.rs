//! Where a service counts its requests, and what it counts.

use super::ListenerName;
use crate::Selector;
use std::time::Duration;

/// Where a service's own metrics are read from each instance, and which of them mean what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsConfig {
    /// The listener whose pin is asked.
    pub listener: ListenerName,
    /// Whether it is asked over TLS (source `https`).
    pub tls: bool,
    /// Path and query, beginning with `/`.
    pub path: String,
    /// The `Host` header, and with TLS the name asked for; the listener's address where there is none.
    pub host: Option<String>,
    /// How often all instances are read, 1 s to 1 min.
    pub interval: Duration,
    /// After this long a reading has failed, 10 ms to `interval`.
    pub timeout: Duration,
    /// The counter of requests; the usual names are looked for where there is none.
    pub requests: Option<Selector>,
    /// The counter of errors, a part of the requests; where there is none, the requests whose status says so.
    pub errors: Option<Selector>,
    /// The histogram of latencies, without `_bucket`; the usual names are looked for where there is none.
    pub latency: Option<Selector>,
}
