//! Taking over a gate that an earlier run of the agent set up.

use crate::{
    Gate, GateError, GateSnapshot, Order, gate::Member, program::MAX_MEMBERS, sock_diag, socket, sys,
    wall::Wall,
};
use handover_model::InstanceId;
use rustix::io::Errno;
use std::{
    collections::{BTreeMap, BTreeSet},
    os::fd::{AsFd, OwnedFd},
};

/// A gate that was taken over, and what did not fit.
#[derive(Debug)]
pub struct Restored {
    /// The gate. Its order is unverified: call [`Gate::verify_order`].
    pub gate: Gate,
    /// Members of the snapshot whose sockets are gone.
    pub lost: Vec<InstanceId>,
    /// Sockets that belong to no member of the snapshot. Those that listen on the gate's address must be taken out of
    /// the group (shutdown(2)) before the order can be verified.
    pub unmatched: Vec<OwnedFd>,
}

impl Gate {
    /// Puts a gate together again from its snapshot and the sockets that were found: in systemd's descriptor store,
    /// or in the instances with pidfd_getfd(2). Sockets are recognised by their inodes.
    ///
    /// Nothing changes in the kernel: the program of the earlier run goes on. A member whose socket is not among
    /// `sockets` but still listens (sock_diag knows it) stays in the mirror without a socket, since it has a number; a
    /// member whose socket is gone is dropped by the kernel's rule, and is reported.
    ///
    /// # Errors
    /// When the snapshot contradicts itself, or when the kernel cannot be asked.
    pub fn restore(snapshot: GateSnapshot, sockets: Vec<OwnedFd>) -> Result<Restored, GateError> {
        let GateSnapshot { address, backlog, members } = snapshot;
        let pins: BTreeSet<_> = members.iter().map(|member| member.pin).collect();
        let names: BTreeSet<_> = members.iter().map(|member| &member.instance).collect();
        let problem = if members.len() > MAX_MEMBERS {
            Some("it has too many members")
        } else if pins.len() != members.len() || names.len() != members.len() {
            Some("two members have one name or one pin")
        } else {
            None
        };
        if let Some(problem) = problem {
            return Err(GateError::Snapshot { address, problem });
        }
        let mut by_inode = BTreeMap::new();
        let mut unmatched = Vec::new();
        for socket in sockets {
            let inode =
                socket::inode(&socket).map_err(GateError::system::<Errno>("fstat a socket", address))?;
            // Two descriptors of one socket: the first serves.
            by_inode.entry(inode).or_insert(socket);
        }
        let listening = sock_diag::listeners(address)
            .map_err(GateError::system("list the listening sockets with sock_diag", address))?;
        let mut gate = Self { order: Order::Unverified, ..Self::new(address, backlog) };
        for member in members {
            let socket = by_inode.remove(&member.inode);
            // The journal can be a flip behind. A candidate's wall must not come back once strangers were let in.
            let open = match &socket {
                Some(socket) => !sys::has_filter(socket.as_fd())
                    .map_err(GateError::system("read a socket filter", address))?,
                None => false,
            };
            gate.members.push(Member {
                instance: member.instance,
                pin: member.pin,
                inode: member.inode,
                socket,
                share: member.share,
                wall: if open { Wall::Open } else { member.wall },
                retired: member.retired,
            });
        }
        unmatched.extend(by_inode.into_values());
        let mut lost = Vec::new();
        for at in (0..gate.members.len()).rev() {
            let member = &gate.members[at];
            let listens = match &member.socket {
                Some(socket) => {
                    sys::listening(socket.as_fd())
                        .map_err(GateError::system("read TCP_INFO", address))?
                        .listens
                }
                None => listening.contains(&member.inode),
            };
            if !listens {
                lost.push(gate.members.swap_remove(at).instance);
            }
        }
        if gate.members.is_empty() {
            gate.order = Order::Verified;
        }
        Ok(Restored { gate, lost, unmatched })
    }
}
