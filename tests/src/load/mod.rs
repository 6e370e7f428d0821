//! The load generator: HTTP/1.1 requests whose every failure is counted by its kind.
//!
//! It speaks HTTP itself, over plain sockets: a client library would retry, pool and notice closed
//! connections on its own, and each of these hides a failure that a real client would have seen.
//! Nothing is ever tried twice. It honours `Connection: close`, and it does not look whether the other side
//! closed an idle connection before it sends the next request: a service that closes those is caught.
//!
//! It sends to loopback only.

mod config;
mod connection;
mod failure;
mod latency;
mod pace;
mod report;
mod response;
mod run;
mod sources;
mod tally;
#[cfg(test)]
mod tests;
mod worker;

pub use config::{Config, ConfigError, MAX_DURATION, Mode};
pub use failure::{Failure, FailureKind};
pub use latency::Latency;
pub use report::{Counts, Report, TargetReport, VersionSeen};
pub use run::{Load, LoadError, RunningLoad};
