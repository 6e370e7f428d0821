//! What can go wrong with a gate.

use crate::{Pin, program::MAX_MEMBERS, program::ProgramError};
use handover_model::InstanceId;
use std::{io, net::SocketAddr};

/// An operation on a gate that did not happen. What the operation would have changed is as before, except where the
/// variant says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// bind(2) or listen(2) gave `EADDRINUSE`.
    #[error(
        "{address} is in use by a program that handover did not start, or by a user other than the agent's (EADDRINUSE): find it with `ss -ltnp 'sport = :{port}'` and stop it, or give the listener another address",
        port = address.port()
    )]
    AddressInUse {
        /// The listener.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// Sockets that the gate does not know listen in the same group, so that the kernel's numbers are not the gate's.
    #[error(
        "{address} is also listened on by sockets that handover does not know (inodes {inodes:?}): find their program with `ss -ltnpe 'sport = :{port}'` and stop it",
        port = address.port()
    )]
    ForeignSockets {
        /// The listener.
        address: SocketAddr,
        /// Their inodes.
        inodes: Vec<u64>,
    },
    /// The group is full.
    #[error(
        "the gate of {0} has {MAX_MEMBERS} members, the most that are possible: wait until draining instances are gone"
    )]
    Full(SocketAddr),
    /// The instance is a member already.
    #[error("instance {0} is a member of the gate already")]
    AlreadyMember(InstanceId),
    /// The pin is taken, maybe by a member that is retired and waits to be removed.
    #[error(
        "{pin:?} belongs to instance {instance}, which is still a member of the gate: choose another pin"
    )]
    PinTaken {
        /// The pin.
        pin: Pin,
        /// Its owner.
        instance: InstanceId,
    },
    /// No member of that name.
    #[error("instance {0} is no member of the gate")]
    NoMember(InstanceId),
    /// The member's socket is not in the agent's hands, or listens no more.
    #[error("the gate has no listening socket of instance {0}: start the instance again as a new member")]
    NoSocket(InstanceId),
    /// A share for a retired member.
    #[error("instance {0} is retired and gets no share")]
    IsRetired(InstanceId),
    /// A member with a share cannot be retired.
    #[error("instance {0} still has a share: give its share to another instance before it is retired")]
    HasShare(InstanceId),
    /// Shares must add up to 10,000, or to 0.
    #[error("the shares of the gate add up to {0} basis points, not to 10000 or 0")]
    Shares(u32),
    /// The order of the group must be verified first.
    #[error(
        "the order of the sockets of {0} is not verified since the agent started: verify it before changing anything"
    )]
    Unverified(SocketAddr),
    /// Not a TCP listener's snapshot, or one that contradicts itself.
    #[error("the snapshot of the gate of {address} makes no sense: {problem}")]
    Snapshot {
        /// The listener.
        address: SocketAddr,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The entries make no program.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// A system call failed.
    #[error("cannot {action} for {address}")]
    System {
        /// What was tried.
        action: &'static str,
        /// The listener.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
}

impl GateError {
    /// For `map_err` on system calls.
    pub(crate) fn system<E: Into<io::Error>>(
        action: &'static str,
        address: SocketAddr,
    ) -> impl Fn(E) -> Self + use<E> {
        move |source| Self::System { action, address, source: source.into() }
    }
}
