//! What a host says of itself besides what it runs.

use crate::Timestamp;

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
}
