//! The protocol's services: each call is converted, asked of the fleet, and converted back.

mod agents;
mod audit;
mod authorise;
mod caller;
mod ending;
mod enrolment;
mod operators;
mod permissions;
mod permit;
mod request;
mod rights;
mod uploads;
mod views;
mod watches;

pub use agents::Agents;
pub use authorise::{AuthoriseLayer, Locals, authorise};
pub use caller::Caller;
pub use enrolment::Enrolments;
pub use operators::Operators;
pub use permissions::{Kind, Permission, Rule, Scope, TABLE};
pub use permit::Operator;

use crate::{blobs::Bundles, fleet::Fleet};
use handover_identity::Ca;
use handover_model::Timestamp;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Longest message that a caller may send, in bytes.
pub const MAX_MESSAGE: usize = 1024 * 1024;

/// What every call needs.
#[derive(Clone, Debug)]
pub struct Context {
    /// The fleet.
    pub fleet: Fleet,
    /// Bundles on the disk.
    pub bundles: Bundles,
    /// Who signs.
    pub ca: Arc<Ca>,
    /// The fleet's name.
    pub fleet_name: String,
    /// Where agents reach the server, where nothing else is said: put into tokens.
    pub address: String,
    /// When the server began.
    pub started: Timestamp,
    /// Cancelled when the server stops: ends sessions and watches.
    pub stop: CancellationToken,
}
