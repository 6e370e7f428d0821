//! Names and figures that the simulated fleet is made of.

use handover_model::{Duration, HostName, InstanceId, ReleaseRef, Share};
use handover_rollout::Placement;

pub(crate) fn host(number: usize) -> HostName {
    format!("h{number}").parse().unwrap()
}

pub(crate) fn release(version: &str) -> ReleaseRef {
    ReleaseRef { service: "web".parse().unwrap(), version: version.parse().unwrap() }
}

pub(crate) fn instance(name: &str) -> InstanceId {
    name.parse().unwrap()
}

/// The instance that ran before: v1, with everything.
pub(crate) fn old_placement() -> Placement {
    Placement { instance: instance("web-d1"), release: release("1"), share: Share::ALL }
}

pub(crate) fn share(basis_points: u32) -> Share {
    Share::new(basis_points).unwrap()
}

pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
