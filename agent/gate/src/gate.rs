//! The group of sockets of one listener, and the mirror of the kernel's order.

use crate::{
    GateError, Order, Pin,
    program::{Entry, MAX_MEMBERS, steering},
    sock_diag::{self, Connection},
    socket,
    sys::{self, Listening},
    wall::{Questions, Wall},
};
use handover_model::{InstanceId, Share, reached_at};
use std::{
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

/// A listener's group on this host.
///
/// The members stand in the kernel's order: the member at position i is the socket with number i in the group
/// (socket(7), `SO_ATTACH_REUSEPORT_CBPF`: in the order of listen(2); where one goes, the last one takes its number).
#[derive(Debug)]
pub struct Gate {
    pub(crate) address: SocketAddr,
    pub(crate) backlog: u32,
    pub(crate) members: Vec<Member>,
    pub(crate) order: Order,
    /// Whether the program of the kernel is the one for `members`. False after a setsockopt that failed.
    pub(crate) installed: bool,
}

/// One socket of the group.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) instance: InstanceId,
    pub(crate) pin: Pin,
    pub(crate) inode: u64,
    /// `None` after a restore that did not get it back although it still listens (in the hands of its instance).
    pub(crate) socket: Option<OwnedFd>,
    pub(crate) share: Share,
    pub(crate) wall: Wall,
    pub(crate) retired: bool,
}

/// What became of a member that was retired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retired {
    /// Its socket is closed.
    Closed,
    /// Its removal is not safe yet; its socket stays in the group until it is.
    Waiting,
}

impl Gate {
    /// A listener without any socket. Nothing listens until the first member joins.
    ///
    /// `backlog` is the length of each member's accept queue; the kernel cuts it to `net.core.somaxconn`.
    #[must_use]
    pub const fn new(address: SocketAddr, backlog: u32) -> Self {
        Self { address, backlog, members: Vec::new(), order: Order::Verified, installed: true }
    }

    /// The listener's address.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether the mirror of the kernel's order is known to be right.
    #[must_use]
    pub const fn order(&self) -> Order {
        self.order
    }

    /// The members in the kernel's order, retired ones included.
    pub fn members(&self) -> impl Iterator<Item = &InstanceId> {
        self.members.iter().map(|member| &member.instance)
    }

    /// The member's listening socket: what its instance gets, once or again after a crash.
    #[must_use]
    pub fn socket(&self, instance: &InstanceId) -> Option<BorrowedFd<'_>> {
        self.member(instance).ok()?.socket.as_ref().map(AsFd::as_fd)
    }

    /// The member's pin.
    #[must_use]
    pub fn pin(&self, instance: &InstanceId) -> Option<Pin> {
        self.member(instance).ok().map(|member| member.pin)
    }

    /// The share that the kernel gives the member now.
    #[must_use]
    pub fn share(&self, instance: &InstanceId) -> Option<Share> {
        self.member(instance).ok().map(|member| member.share)
    }

    /// A pin that no member has, retired ones included; `None` where the gate is full.
    #[must_use]
    pub fn free_pin(&self) -> Option<Pin> {
        if self.members.len() >= MAX_MEMBERS {
            return None;
        }
        (1..=254)
            .filter_map(|number| Pin::new(number).ok())
            .find(|pin| self.members.iter().all(|m| m.pin != *pin))
    }

    /// Connections that wait in the member's accept queue.
    ///
    /// # Errors
    /// When it is no member, or its socket is not in the agent's hands.
    pub fn accept_queue(&self, instance: &InstanceId) -> Result<u32, GateError> {
        Ok(self.listening(self.member(instance)?)?.accept_queue)
    }

    /// Every connection to the listener's address that the kernel knows, with the inode of its socket: whose it is
    /// says /proc/PID/fd. Connections that wait in an accept queue have no inode.
    ///
    /// # Errors
    /// When sock_diag cannot be asked.
    pub fn connections(&self) -> Result<Vec<Connection>, GateError> {
        sock_diag::connections(self.address)
            .map_err(GateError::system("list the connections with sock_diag", self.address))
    }

    pub(crate) fn member(&self, instance: &InstanceId) -> Result<&Member, GateError> {
        let found = self.members.iter().find(|member| member.instance == *instance);
        found.ok_or_else(|| GateError::NoMember(instance.clone()))
    }

    pub(crate) fn verified(&self) -> Result<(), GateError> {
        match self.order {
            Order::Verified => Ok(()),
            Order::Unverified => Err(GateError::Unverified(self.address)),
        }
    }

    pub(crate) fn listening(&self, member: &Member) -> Result<Listening, GateError> {
        let socket = member.socket.as_ref().ok_or_else(|| GateError::NoSocket(member.instance.clone()))?;
        sys::listening(socket.as_fd()).map_err(GateError::system("read TCP_INFO", self.address))
    }

    /// The first member whose socket the agent has: any of them speaks for the group.
    pub(crate) fn any_socket(&self) -> Option<&OwnedFd> {
        self.members.iter().find_map(|member| member.socket.as_ref())
    }

    /// Sets the program for the mirror as it is.
    pub(crate) fn steer(&mut self) -> Result<(), GateError> {
        let entries: Vec<_> =
            self.members.iter().zip(0..).filter_map(|(member, at)| member.entry(at)).collect();
        self.install(&entries, nobody(&self.members.iter()))
    }

    /// Sets the program for these entries. Nothing to do where there is no socket.
    pub(crate) fn install(&mut self, entries: &[Entry], nobody: u32) -> Result<(), GateError> {
        let program = steering(entries, nobody)?;
        self.installed = false;
        if let Some(socket) = self.any_socket() {
            sys::attach_steering(socket.as_fd(), &program)
                .map_err(GateError::system("set the gate's program", self.address))?;
        }
        self.installed = true;
        Ok(())
    }

    /// Changes a member's wall, where its socket is at hand.
    pub(crate) fn set_wall(&mut self, at: usize, wall: Wall) -> Result<(), GateError> {
        let address = self.address;
        if let Some(member) = self.members.get_mut(at)
            && member.wall != wall
        {
            let socket =
                member.socket.as_ref().ok_or_else(|| GateError::NoSocket(member.instance.clone()))?;
            socket::set_wall(socket, wall, member.pin, Questions::None, address)?;
            member.wall = wall;
        }
        Ok(())
    }

    /// Where a client of this host connects to.
    #[must_use]
    pub fn connect_address(&self) -> SocketAddr {
        reached_at(self.address)
    }
}

/// Who is named to strangers where nobody has a share: the number of a member behind a wall, the strictest first.
pub(crate) fn nobody<'a>(members: &(impl Iterator<Item = &'a Member> + Clone)) -> u32 {
    let behind = |wall| members.clone().zip(0..).find(|(member, _)| member.wall == wall).map(|(_, at)| at);
    behind(Wall::Candidate).or_else(|| behind(Wall::Standby)).unwrap_or(0)
}

impl Member {
    /// What the program must know of the member at number `index`; a retired one is not in the program.
    pub(crate) const fn entry(&self, index: u32) -> Option<Entry> {
        if self.retired { None } else { Some(Entry { index, pin: self.pin, share: self.share }) }
    }
}
