//! Leaving a gate without opening a window to a hidden member.
//!
//! # When is a removal safe?
//!
//! When the socket with number i leaves a group of n, the kernel moves the last one, L (number n-1), to number i, and
//! only then counts down to n-1 (`__reuseport_detach_sock` in net/core/sock_reuseport.c: first
//! `socks[i] = socks[num_socks - 1]`, then `num_socks - 1`). The program that stands there does not know. A number out
//! of range then means the hash over all members. With P the program before:
//!
//! 1. i = n-1: nobody moves. A program without i is right before and after. Safe.
//! 2. L is hidden. No stranger is ever sent to i or n-1. Only L's pin is wrong for a moment, and a probe answered by
//!    somebody else would be a false readiness. So the program Q is set first, which has L's pin at i: right after
//!    the removal; before it, a probe from L's pin meets the wall of the leaving member, is dropped, and is sent again
//!    by the kernel a second later. Safe.
//! 3. L has a share. P sends strangers to n-1, which is out of range after the removal; Q would send them to the leaving
//!    member before it. Neither is right on both sides. With P the kernel falls back to the hash over the n-1
//!    members that are left: safe if and only if each of them has a share (with two members, the usual case, L is the
//!    only one left, and the fallback is exact). Otherwise a hidden member would get strangers: the leaving one stays in
//!    the group, behind its wall, until a later join gives the group a hidden last member, or a flip hides L.
//!
//! And its queue: where net.ipv4.tcp_migrate_req is 1 the kernel moves what waits in the accept queue of a socket
//! that leaves, and it chooses by hash, not by the program (`reuseport_migrate_sock`: classic BPF has no say in
//! migrations). So a member with a connection in its accept queue leaves only where every other member has a share.
//!
//! # How does it leave?
//!
//! By shutdown(2), not by close(2): close(2) takes a socket out of the group only with its last descriptor, and a
//! child of the instance may hold one. shutdown(2) does it at once (`inet_shutdown`: a listening socket is
//! disconnected), so the mirror knows the moment.
//!
//! An instance can do the same to its own listening socket while it drains; [`Gate::sweep`] finds that.

use crate::{Gate, GateError, Order, Retired, gate::nobody, sock_diag, wall::Wall};
use handover_model::InstanceId;
use rustix::net::{Shutdown, SocketFlags, accept_with, shutdown, sockopt};
use std::time::Duration;

impl Gate {
    /// Marks a member as retired: its pin is gone, it never gets a share again, and its socket is closed as soon as
    /// that is safe: now, or in a later call that changes the gate. Its instance must be gone, or have no use for
    /// the socket any more: accept(2) gives it `EINVAL` from then on. What is no member is closed already.
    ///
    /// # Errors
    /// When it has a share, when the order is not verified, or when a system call fails.
    pub fn retire(&mut self, instance: &InstanceId) -> Result<Retired, GateError> {
        self.sweep()?;
        self.verified()?;
        let Ok(at) = self.position(instance) else { return Ok(Retired::Closed) };
        if !self.members[at].share.is_hidden() {
            return Err(GateError::HasShare(instance.clone()));
        }
        if self.members[at].wall == Wall::Open && self.members[at].socket.is_some() {
            self.set_wall(at, Wall::Standby)?;
        }
        self.members[at].retired = true;
        self.steer()?;
        self.remove_retired()?;
        Ok(if self.position(instance).is_ok() { Retired::Waiting } else { Retired::Closed })
    }

    /// Accepts and resets what is left in the accept queue of a retired member, so that it can leave although hidden
    /// members are there. For the time after the queue deadline. Returns how many connections were reset.
    ///
    /// # Errors
    /// When it is no member, is not retired, or when a system call fails.
    pub fn reset_queue(&mut self, instance: &InstanceId) -> Result<u64, GateError> {
        let member = self.member(instance)?;
        if !member.retired {
            return Err(GateError::HasShare(instance.clone()));
        }
        let socket = member.socket.as_ref().ok_or_else(|| GateError::NoSocket(instance.clone()))?;
        // The description is shared with the instance, which has no use for it any more.
        rustix::io::ioctl_fionbio(socket, true)
            .map_err(GateError::system("make a socket non-blocking", self.address))?;
        let mut reset = 0;
        // Its wall lets nobody new in; the bound is for what pins and ends of handshakes could still bring.
        while reset < 2 * u64::from(self.backlog) + 64 {
            let Ok(connection) = accept_with(socket, SocketFlags::CLOEXEC) else { break };
            // Closing sends RST instead of FIN.
            let _ = sockopt::set_socket_linger(&connection, Some(Duration::ZERO));
            reset += 1;
        }
        self.remove_retired()?;
        Ok(reset)
    }

    /// Finds members whose sockets left the group by themselves (the instance called shutdown(2) on its listening
    /// socket, or the last holder of one that the agent does not have is gone), corrects the mirror and sets the
    /// program anew. Returns them. Cheap (one getsockopt(2) for each member): call it after each drain signal and
    /// regularly.
    ///
    /// Where several left at once nobody knows in which order: the order is then unverified.
    ///
    /// # Errors
    /// When a system call fails.
    pub fn sweep(&mut self) -> Result<Vec<InstanceId>, GateError> {
        let mut gone = Vec::new();
        let listed = if self.members.iter().all(|member| member.socket.is_some()) {
            None
        } else {
            let inodes = sock_diag::listeners(self.address);
            Some(
                inodes
                    .map_err(GateError::system("list the listening sockets with sock_diag", self.address))?,
            )
        };
        for at in (0..self.members.len()).rev() {
            let member = &self.members[at];
            let listens = match &listed {
                Some(inodes) if member.socket.is_none() => inodes.contains(&member.inode),
                _ => self.listening(member)?.listens,
            };
            if !listens {
                gone.push(self.members.swap_remove(at).instance);
            }
        }
        if gone.len() > 1 && self.members.len() > 1 {
            self.order = Order::Unverified;
        }
        if !gone.is_empty() || !self.installed {
            self.steer()?;
        }
        if self.order == Order::Verified {
            self.remove_retired()?;
        }
        Ok(gone)
    }

    /// Removes every retired member whose removal is safe. One removal can make another safe.
    pub(crate) fn remove_retired(&mut self) -> Result<(), GateError> {
        while self.order == Order::Verified {
            let mut next = None;
            // From the last one down: a retired last member must not be moved into another's place first.
            for at in (0..self.members.len()).rev() {
                if self.members[at].retired && self.removable(at)? {
                    next = Some(at);
                    break;
                }
            }
            let Some(at) = next else { break };
            self.remove(at)?;
        }
        Ok(())
    }

    /// Whether the retired member at `at` can leave now: see the module's documentation.
    fn removable(&self, at: usize) -> Result<bool, GateError> {
        let member = &self.members[at];
        if member.socket.is_none() {
            return Ok(false);
        }
        let others_have_shares =
            self.members.iter().enumerate().all(|(other, member)| other == at || !member.share.is_hidden());
        if others_have_shares {
            return Ok(true);
        }
        let last_is_hidden = self.members.last().is_none_or(|last| last.share.is_hidden());
        Ok(last_is_hidden && self.listening(member)?.accept_queue == 0)
    }

    fn remove(&mut self, at: usize) -> Result<(), GateError> {
        let last = self.members.len() - 1;
        if self.members[last].share.is_hidden() {
            // The members as they stand after the removal. Before it, the leaving one is where the last will be.
            let mut after: Vec<_> = self.members.iter().collect();
            after.swap_remove(at);
            let nobody = nobody(&after.iter().copied());
            let entries: Vec<_> =
                after.into_iter().zip(0..).filter_map(|(member, number)| member.entry(number)).collect();
            self.install(&entries, nobody)?;
        }
        if let Some(socket) = &self.members[at].socket {
            shutdown(socket, Shutdown::Both)
                .map_err(GateError::system("take a retired socket out of the group", self.address))?;
        }
        self.members.swap_remove(at);
        self.steer()
    }
}
