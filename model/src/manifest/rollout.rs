//! How a new release is carried to the hosts.

use super::StepConfig;
use crate::Share;
use std::time::Duration;

/// How a new release is carried to the hosts, where the operator says nothing else at the deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutConfig {
    /// In which way.
    pub strategy: Strategy,
    /// Hosts of one batch, with [`Strategy::Rolling`].
    pub batch: Batch,
    /// The steps, with [`Strategy::Canary`]; at least one.
    pub steps: Vec<StepConfig>,
    /// A label's key: batches go through its values one after the other and never mix two.
    pub order_by: Option<String>,
    /// Hosts being changed at once inside a batch, at least 1; `None`: all that the strategy changes together.
    pub max_in_flight: Option<u32>,
    /// Hosts that may fail before the deployment has failed.
    pub failures_allowed: u32,
    /// How long each batch, or everything after the flip, must stay healthy, 0 to 24 h.
    pub bake: Duration,
    /// Whether a person has to promote the release before it flips, with [`Strategy::BlueGreen`].
    pub approve: Approve,
    /// How long the old instances stand by after the deployment, 0 to 7 d.
    pub keep_warm: Duration,
    /// How soon each flip to the release must be confirmed, 1 s to 1 h, or the host undoes it; zero: it needs not be.
    pub confirm: Duration,
    /// Whether a release has to be rehearsed before it is deployed.
    pub rehearsal: Rehearsal,
    /// How old the rehearsal may be, with [`Rehearsal::Required`]; 1 min to 365 d.
    pub rehearsal_max_age: Duration,
    /// What happens when the deployment has failed.
    pub on_failure: OnFailure,
    /// What happens with a host that is not connected.
    pub offline: Offline,
    /// How long it is waited for, with [`Offline::Wait`]; 1 s to 24 h.
    pub offline_deadline: Duration,
    /// From ready until the share must be in the kernel, 10 ms to 1 h.
    pub flip_deadline: Duration,
}

impl Default for RolloutConfig {
    fn default() -> Self {
        Self {
            strategy: Strategy::Rolling,
            batch: Batch::Hosts(1),
            steps: [500, 2_500, 5_000, 10_000]
                .into_iter()
                .filter_map(|part| Share::new(part).ok())
                .map(StepConfig::of)
                .collect(),
            order_by: None,
            max_in_flight: None,
            failures_allowed: 0,
            bake: Duration::from_secs(10),
            approve: Approve::Auto,
            keep_warm: Duration::ZERO,
            confirm: Duration::ZERO,
            rehearsal: Rehearsal::Optional,
            rehearsal_max_age: Duration::from_secs(7 * 24 * 3600),
            on_failure: OnFailure::Rollback,
            offline: Offline::Skip,
            offline_deadline: Duration::from_secs(600),
            flip_deadline: Duration::from_secs(30),
        }
    }
}

/// In which way a release comes to the hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Batch after batch, each host fully.
    Rolling,
    /// Hidden on every host, then all flip in one step.
    BlueGreen,
    /// A part of the connections, and more of them step by step.
    Canary,
}

/// Who lets a release flip that is ready everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Approve {
    /// Its readiness.
    Auto,
    /// A person.
    Manual,
}

/// Whether a release has to be rehearsed before it is deployed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rehearsal {
    /// It may be.
    Optional,
    /// A deployment is refused without one, a rollback never.
    Required,
}

/// Hosts of one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Batch {
    /// So many, at least 1.
    Hosts(u32),
    /// Such a part of the service's hosts, 1 to 100, rounded up.
    Percent(u8),
}

impl Batch {
    /// Hosts of one batch where the service has `hosts`: at least 1, even of none.
    #[must_use]
    pub fn size(self, hosts: usize) -> usize {
        let size = match self {
            Self::Hosts(number) => usize::try_from(number).unwrap_or(usize::MAX),
            Self::Percent(percent) => hosts.saturating_mul(usize::from(percent)).div_ceil(100),
        };
        size.max(1)
    }
}

/// What happens when more hosts failed than may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// Every host that was touched goes back to what it ran.
    Rollback,
    /// Nothing more is changed until a person says what.
    Pause,
}

/// What happens with a host that is not connected when its turn comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offline {
    /// It is waited for, until `offline_deadline`; then it has failed.
    Wait,
    /// It is left out; it gets the release when it comes back.
    Skip,
    /// It counts as failed at once.
    Fail,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_is_rounded_up_and_never_nothing() {
        for (hosts, size) in [(0, 1), (1, 1), (4, 1), (5, 2), (8, 2), (10_000, 2_500)] {
            assert_eq!(Batch::Percent(25).size(hosts), size, "of {hosts}");
        }
        assert_eq!(Batch::Hosts(0).size(5), 1);
        assert_eq!(Batch::Percent(100).size(7), 7);
    }
}
