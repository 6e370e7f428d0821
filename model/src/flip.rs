//! Flips, as hosts tell of them: when one was in the kernel, and whether it was confirmed.

use crate::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// That a flip to a target's shares has to be confirmed: otherwise the agent undoes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirm {
    /// How soon after the flip.
    pub within: Duration,
    /// Names the order of the service on its host: the revision of the target that had it first. The target's own
    /// revision counts up for other services, too, and that is no new order.
    pub revision: u64,
}

/// What a host says of the last flip of a service.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FlipReport {
    /// When it was in the kernel, in nanoseconds by the host's clock since its boot. `None` where an earlier run of the
    /// agent made it.
    pub at_nanos: Option<u64>,
    /// What became of its confirmation; `None` where it needs none.
    pub confirmation: Option<Confirmation>,
}

/// What became of a confirmation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmation {
    /// Of which order: see [`Confirm::revision`].
    pub revision: u64,
    /// What became of it.
    pub state: ConfirmationState,
}

/// What became of a confirmation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConfirmationState {
    /// It is waited for.
    Awaited {
        /// Then the flip is undone.
        until: Timestamp,
    },
    /// It came.
    Given,
    /// It did not come in time: the flip is undone, as far as it can be.
    Missed {
        /// In an operator's words.
        reason: String,
    },
}

/// Readings of a host's clock that go with a report, in nanoseconds since its boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readings {
    /// When the report was sent.
    pub sent_nanos: u64,
    /// When the target that the report is about had come; `None` where it came in an earlier session.
    pub target_nanos: Option<u64>,
}
