//! What hosts say of themselves.

use super::plain;
use crate::v1;
use handover_model::{Disk, HostFacts, Timestamp, Unwritten};

/// Longest word for what keeps processes together, in characters.
const MAX_CONTAINMENT_CHARS: usize = 64;
/// Most file systems and folders: an agent has three folders.
const MAX_FOLDERS: usize = 8;
/// Longest path and longest reason, in characters. Longer ones are cut: they must not cost an agent its session.
const MAX_TEXT_CHARS: usize = 1000;

impl From<v1::HostFacts> for HostFacts {
    fn from(wire: v1::HostFacts) -> Self {
        let v1::HostFacts {
            time_unix_millis,
            disk_free,
            disk_total,
            containment,
            journald,
            tcp_migrate_req,
            disks,
            unwritten,
        } = wire;
        Self {
            clock: Timestamp::from_unix_millis(time_unix_millis),
            disk_free,
            disk_total,
            containment: plain(&containment, MAX_CONTAINMENT_CHARS),
            journald,
            tcp_migrate_req,
            disks: disks.into_iter().take(MAX_FOLDERS).map(Into::into).collect(),
            unwritten: unwritten.map(|v1::Unwritten { what, since_unix_millis }| Unwritten {
                what: plain(&what, MAX_TEXT_CHARS),
                since: Timestamp::from_unix_millis(since_unix_millis),
            }),
        }
    }
}

impl From<v1::HostDisk> for Disk {
    fn from(wire: v1::HostDisk) -> Self {
        let v1::HostDisk { folders, path, free, total } = wire;
        let folders = folders.iter().take(MAX_FOLDERS).map(|word| plain(word, MAX_CONTAINMENT_CHARS));
        Self { folders: folders.collect(), path: plain(&path, MAX_TEXT_CHARS), free, total }
    }
}

impl From<&Disk> for v1::HostDisk {
    fn from(disk: &Disk) -> Self {
        let Disk { folders, path, free, total } = disk;
        Self { folders: folders.clone(), path: path.clone(), free: *free, total: *total }
    }
}

impl From<&HostFacts> for v1::HostFacts {
    fn from(facts: &HostFacts) -> Self {
        let HostFacts {
            clock,
            disk_free,
            disk_total,
            containment,
            journald,
            tcp_migrate_req,
            disks,
            unwritten,
        } = facts;
        Self {
            time_unix_millis: clock.unix_millis(),
            disk_free: *disk_free,
            disk_total: *disk_total,
            containment: containment.clone(),
            journald: *journald,
            tcp_migrate_req: *tcp_migrate_req,
            disks: disks.iter().map(Into::into).collect(),
            unwritten: unwritten.as_ref().map(|unwritten| v1::Unwritten {
                what: unwritten.what.clone(),
                since_unix_millis: unwritten.since.unix_millis(),
            }),
        }
    }
}
