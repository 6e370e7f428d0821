//! The protocol's services: each call is converted, asked of the fleet, and converted back.

mod agents;
mod audit;
mod authorise;
mod backups;
mod blocks;
mod caller;
mod calls;
mod canary;
mod commands;
mod control;
mod counted;
mod deployments;
mod ending;
mod enrolment;
mod events;
mod freezes;
mod held;
mod hosts;
mod logs;
mod operators;
mod outlet;
mod permissions;
mod permit;
mod previews;
mod rehearsals;
mod releases;
mod request;
mod rights;
mod services;
mod stories;
mod tokens;
mod uploads;
mod views;
mod watches;

pub use agents::Agents;
pub use authorise::{AuthoriseLayer, Locals, authorise};
pub use caller::Caller;
pub use calls::CallsLayer;
pub use counted::CountLayer;
pub use enrolment::Enrolments;
pub use operators::Operators;
pub use permissions::{Kind, Permission, Rule, Scope, TABLE};
pub use permit::Operator;

use crate::{
    backup::Backups, blobs::Bundles, commands::Orders, fleet::Fleet, limits::Limits, logs::LogRequests,
};
use handover_identity::Ca;
use handover_model::{Duration, Timestamp};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Longest message that a caller may send, in bytes.
pub const MAX_MESSAGE: usize = 1024 * 1024;
/// Longest message of a caller without a certificate, in bytes.
pub const MAX_ENROLMENT: usize = 16 * 1024;

/// What every call needs.
#[derive(Clone, Debug)]
pub struct Context {
    /// The fleet.
    pub fleet: Fleet,
    /// Bundles on the disk.
    pub bundles: Bundles,
    /// Backups of the store.
    pub backups: Backups,
    /// Who signs.
    pub ca: Arc<Ca>,
    /// How long the certificates of agents are good.
    pub agent_life: Duration,
    /// The fleet's name.
    pub fleet_name: String,
    /// Where agents reach the server, where nothing else is said: put into tokens.
    pub address: String,
    /// What callers may use.
    pub limits: Arc<Limits>,
    /// When the server began.
    pub started: Timestamp,
    /// Requests for logs that are open.
    pub logs: Arc<LogRequests>,
    /// Commands of operators that run.
    pub commands: Arc<Orders>,
    /// Cancelled when the server stops: ends sessions and watches.
    pub stop: CancellationToken,
}
