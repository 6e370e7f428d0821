//! The load generator: HTTP/1.1 requests whose every failure is counted by its kind.
//!
//! It speaks HTTP itself, over plain sockets: a client library would retry, pool and notice closed
//! connections on its own, and each of these hides a failure that a real client would have seen.
//! Nothing is ever tried twice. It honours `Connection: close`, and it does not look whether the other side
//! closed an idle connection before it sends the next request: a service that closes those is caught.
//!
//! It sends to loopback only, unless the process is in a network namespace of its own and says which.

mod address;
mod config;
mod connection;
mod failure;
mod pace;
mod report;
mod response;
mod run;
mod tally;
mod worker;

pub use config::{Config, ConfigError, Mode};
pub use address::ForeignTarget;
pub use connection::{Answer, GetError, get};
pub use failure::{Failure, FailureKind};
pub use report::{Counts, Latency, Report, TargetReport, VersionSeen};
pub use run::{Load, LoadError, RunningLoad};
