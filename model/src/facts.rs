//! What a host says of itself besides what it runs.

use crate::{Disk, Timestamp, Unwritten};

/// What matters to an operator who asks whether a host is fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostFacts {
    /// Its clock when it said this.
    pub clock: Timestamp,
    /// Bytes that the agent may still use on the file system of its state.
    pub disk_free: u64,
    /// Bytes of that file system.
    pub disk_total: u64,
    /// What keeps the processes of an instance together, in a word or two.
    pub containment: String,
    /// Whether journald takes logs.
    pub journald: bool,
    /// `net.ipv4.tcp_migrate_req`; `None` where the kernel has no such setting.
    pub tcp_migrate_req: Option<u32>,
    /// The file systems of the agent's folders, that of its state first; none from an agent that does not tell.
    pub disks: Vec<Disk>,
    /// Set while the agent cannot write down what it does.
    pub unwritten: Option<Unwritten>,
}
