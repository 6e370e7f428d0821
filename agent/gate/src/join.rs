//! Joining a gate.

use crate::{Gate, GateError, Order, Pin, gate::Member, program::MAX_MEMBERS, sock_diag, socket, wall::Wall};
use handover_model::{InstanceId, Share};
use rustix::io::Errno;

impl Gate {
    /// Makes the listening socket of an instance and takes it into the group, hidden: only the pin reaches it.
    ///
    /// Connections are queued from here on, so a pinned client waits until the instance accepts. Retired members
    /// whose removal is safe are removed before and after.
    ///
    /// The wall stands before listen(2), and the program that stands there names numbers below the new one only, so
    /// there is no moment in which a stranger is answered by the new member.
    ///
    /// # Errors
    /// When the address is in use by somebody else, when somebody else's socket is in the group, when the pin is
    /// taken or the gate is full, or when a system call fails. The instance is no member then.
    pub fn join(&mut self, instance: InstanceId, pin: Pin) -> Result<(), GateError> {
        self.sweep()?;
        if self.members.is_empty() {
            self.order = Order::Verified;
        }
        self.verified()?;
        if self.members.iter().any(|member| member.instance == instance) {
            return Err(GateError::AlreadyMember(instance));
        }
        if let Some(taken) = self.members.iter().find(|member| member.pin == pin) {
            return Err(GateError::PinTaken { pin, instance: taken.instance.clone() });
        }
        if self.members.len() >= MAX_MEMBERS {
            return Err(GateError::Full(self.address));
        }
        let socket = socket::bound(self.address, pin)?;
        let inode =
            socket::inode(&socket).map_err(GateError::system::<Errno>("fstat a socket", self.address))?;
        // After bind(2), so that from here on nobody without SO_REUSEPORT or of another user can come in between.
        self.no_foreign_sockets()?;
        socket::listen(&socket, self.address, self.backlog)?;
        self.members.push(Member {
            instance,
            pin,
            inode,
            socket: Some(socket),
            share: Share::HIDDEN,
            wall: Wall::Candidate,
            retired: false,
        });
        if let Err(error) = self.steer() {
            // It is the last one of the group: its leaving changes no other's number.
            self.members.pop();
            return Err(error);
        }
        self.remove_retired()
    }

    /// A root process with SO_REUSEPORT can take part in the group without asking. Its sockets have numbers too.
    pub(crate) fn no_foreign_sockets(&self) -> Result<(), GateError> {
        let mut inodes = sock_diag::listeners(self.address)
            .map_err(GateError::system("list the listening sockets with sock_diag", self.address))?;
        inodes.retain(|inode| self.members.iter().all(|member| member.inode != *inode));
        if inodes.is_empty() {
            return Ok(());
        }
        Err(GateError::ForeignSockets { address: self.address, inodes })
    }
}
