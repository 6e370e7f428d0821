//! What the agent's journal keeps of a gate.

use crate::{Gate, Pin, wall::Wall};
use handover_model::{InstanceId, Share};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// A gate without its sockets. At most some kilobytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateSnapshot {
    /// The listener.
    pub address: SocketAddr,
    /// The length of each accept queue.
    pub backlog: u32,
    /// In the kernel's order.
    pub members: Vec<MemberSnapshot>,
}

/// One member of a gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberSnapshot {
    /// Whose socket.
    pub instance: InstanceId,
    /// What reaches it.
    pub pin: Pin,
    /// The inode of its listening socket, by which it is found again.
    pub inode: u64,
    /// Its share.
    pub share: Share,
    /// What its socket lets through.
    pub wall: Wall,
    /// Whether it waits to be removed.
    pub retired: bool,
}

impl Gate {
    /// The gate as it is. Write it to the journal after each call that changes the gate, before the next one.
    #[must_use]
    pub fn snapshot(&self) -> GateSnapshot {
        let members = self.members.iter().map(|member| MemberSnapshot {
            instance: member.instance.clone(),
            pin: member.pin,
            inode: member.inode,
            share: member.share,
            wall: member.wall,
            retired: member.retired,
        });
        GateSnapshot { address: self.address, backlog: self.backlog, members: members.collect() }
    }
}
