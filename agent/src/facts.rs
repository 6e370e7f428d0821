//! What the agent tells of its host besides what runs there.

use crate::{
    disks::{Condition, Disks},
    instance::{Containment, logs::journald_is_there},
};
use handover_identity::wall_clock;
use handover_model::{Digest, HostFacts};
use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::Path,
};
use tokio::sync::watch;

const MIGRATE: &str = "/proc/sys/net/ipv4/tcp_migrate_req";
const MACHINE: &str = "/etc/machine-id";

/// Looks at the host.
#[derive(Clone, Debug)]
pub struct Facts {
    disks: Disks,
    containment: String,
}

impl Facts {
    /// Of the host whose agent has its folders on these disks.
    #[must_use]
    pub fn of(disks: Disks, containment: &Containment) -> Self {
        Self { disks, containment: word(containment).to_owned() }
    }

    /// What is worth being told at once, whenever it changes.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Condition> {
        self.disks.subscribe()
    }

    /// As they are now. What cannot be found out is zero or absent: nothing here is worth an agent that does not run.
    #[must_use]
    pub fn now(&self) -> HostFacts {
        let disks = self.disks.now();
        let (disk_free, disk_total) = disks.first().map_or((0, 0), |disk| (disk.free, disk.total));
        HostFacts {
            clock: wall_clock(),
            disk_free,
            disk_total,
            containment: self.containment.clone(),
            journald: journald_is_there(),
            tcp_migrate_req: tcp_migrate_req(),
            disks,
            unwritten: self.disks.unwritten(),
        }
    }
}

/// What keeps processes together, in a word or two.
#[must_use]
pub const fn word(containment: &Containment) -> &'static str {
    match containment {
        Containment::Cgroup(_) => "cgroup",
        Containment::ProcessGroup { .. } => "process group",
    }
}

/// Bytes that this process may still use on a file system, and all of its bytes.
///
/// # Errors
/// When the path is not there.
pub fn disk(path: &Path) -> io::Result<(u64, u64)> {
    let found = rustix::fs::statvfs(path)?;
    Ok((found.f_bavail.saturating_mul(found.f_frsize), found.f_blocks.saturating_mul(found.f_frsize)))
}

/// The setting's value; `None` where the kernel has none.
#[must_use]
pub fn tcp_migrate_req() -> Option<u32> {
    fs::read_to_string(MIGRATE).ok()?.trim().parse().ok()
}

/// Names this boot of the machine together with the agent's state: of its lock file, which one agent at most holds.
///
/// # Errors
/// When the lock file cannot be looked at.
pub fn place(boot_id: &str, lock: &File) -> io::Result<String> {
    let found = lock.metadata()?;
    // Not there on machines without systemd; boot and file are enough where machines are not copied while they run.
    let machine = fs::read_to_string(MACHINE).unwrap_or_default();
    let text = format!("{}\n{boot_id}\n{}:{}", machine.trim(), found.dev(), found.ino());
    Ok(Digest::of(text.as_bytes()).hex())
}
