//! What hosts say of themselves.

use super::plain;
use crate::v1;
use handover_model::{HostFacts, Timestamp};

/// Longest word for what keeps processes together, in characters.
const MAX_CONTAINMENT_CHARS: usize = 64;

impl From<v1::HostFacts> for HostFacts {
    fn from(wire: v1::HostFacts) -> Self {
        let v1::HostFacts { time_unix_millis, disk_free, disk_total, containment, journald, tcp_migrate_req } =
            wire;
        Self {
            clock: Timestamp::from_unix_millis(time_unix_millis),
            disk_free,
            disk_total,
            containment: plain(&containment, MAX_CONTAINMENT_CHARS),
            journald,
            tcp_migrate_req,
        }
    }
}

impl From<&HostFacts> for v1::HostFacts {
    fn from(facts: &HostFacts) -> Self {
        let HostFacts { clock, disk_free, disk_total, containment, journald, tcp_migrate_req } = facts;
        Self {
            time_unix_millis: clock.unix_millis(),
            disk_free: *disk_free,
            disk_total: *disk_total,
            containment: containment.clone(),
            journald: *journald,
            tcp_migrate_req: *tcp_migrate_req,
        }
    }
}
