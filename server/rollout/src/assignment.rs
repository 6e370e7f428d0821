//! What the engine orders for one service on one host.

use handover_model::{InstanceId, ReleaseRef, Share};
use serde::{Deserialize, Serialize};

/// One instance of a release with its share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// The instance's name.
    pub instance: InstanceId,
    /// What it runs.
    pub release: ReleaseRef,
    /// Its part of the new connections.
    pub share: Share,
}

impl Placement {
    /// The same instance with another share.
    #[must_use]
    pub fn with(&self, share: Share) -> Self {
        Self { instance: self.instance.clone(), release: self.release.clone(), share }
    }
}

/// The instances that one service should have on one host, the oldest first. Empty: the service is removed there.
///
/// The shares add up to all, or there is one instance alone whose share is 0: a first one that is being checked.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Assignment(pub Vec<Placement>);

impl Assignment {
    /// The instance with the greatest share: what the host runs for its clients. `None` where nothing is placed.
    #[must_use]
    pub fn main(&self) -> Option<&Placement> {
        self.0.iter().max_by_key(|placement| placement.share)
    }

    /// The instance beside that one that gets nothing: what is kept to go back to. `None` where there is none.
    #[must_use]
    pub fn standby(&self) -> Option<&Placement> {
        let main = self.main()?;
        self.0.iter().find(|placement| placement.share.is_hidden() && placement.instance != main.instance)
    }

    /// The sum of the shares, in basis points.
    #[must_use]
    pub fn sum(&self) -> u32 {
        self.0.iter().map(|placement| u32::from(placement.share.basis_points())).sum()
    }
}
