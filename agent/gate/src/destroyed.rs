//! Hearing of TCP connections that are gone, and whether they ended well: the kernel tells whoever listens of each TCP socket that
//! it destroys.
//!
//! These are two multicast groups of sock_diag(7) (include/uapi/linux/sock_diag.h). Joining needs no privilege. While somebody in the
//! network namespace has joined one, `__sk_free` in net/core/sock.c gives each socket that is destroyed to
//! `sock_diag_broadcast_destroy` in net/core/sock_diag.c, which makes a message of it in a kernel thread: its addresses, its
//! cookie and its `tcp_info`, but no inode, because no descriptor is left. So a socket is told apart by the cookie that it had while it was open.
//!
//! A connection ended well where its peer acknowledged our FIN: it had everything that was sent, and heard that there is no
//! more. `tcpi_bytes_acked` counts the FIN as one byte (`tcp_snd_una_update` in net/ipv4/tcp_input.c counts sequence numbers),
//! `tcpi_bytes_sent` does not (`__tcp_transmit_skb` in net/ipv4/tcp_output.c counts data, each time that it is sent), and
//! `tcpi_bytes_retrans` is what was sent again. So exactly then acknowledged is more than sent without what was sent again. All
//! else is a reset, by whichever side, or a connection that was given up after its time-outs: nobody has told the
//! other side that it is over. `tcp_disconnect` in net/ipv4/tcp.c, by which a close(2) with `SO_LINGER` 0 resets, leaves all three at 0.
//!
//! What cannot be seen: a RST that answers what the peer sends after both FINs, or after ours: such a socket has been
//! destroyed before, as TIME_WAIT has none of its own. What may be seen wrongly: where this host's own queue drops a packet at once (`net_xmit_eval`),
//! its bytes count as sent twice and as sent again never, and the connection looks like a reset. Where memory is short the kernel
//! leaves a message out without a word.

use crate::{
    Instruction,
    bpf::{IF_EQUAL, LOAD_HALF, RETURN},
    sock_diag::{HEADER, SOCK_DIAG_BY_FAMILY, attribute, malformed, parse, u32_at},
    sys,
};
use rustix::{
    io::Errno,
    net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, netlink, recv, socket_with, sockopt},
};
use std::{
    collections::BTreeSet,
    io,
    os::fd::{AsFd as _, OwnedFd},
    sync::atomic::{AtomicBool, Ordering},
};

/// Connections of so many ports at most can be listened for: two instructions each, and a program has at most 4,096.
pub const MAX_PORTS: usize = 1024;

/// `SKNLGRP_INET_TCP_DESTROY` (1) and `SKNLGRP_INET6_TCP_DESTROY` (3), as the mask that bind(2) takes.
const GROUPS: u32 = 1 << 0 | 1 << 2;
/// Room for what waits to be read, bytes; the kernel doubles it, and counts about 1 KiB for each message.
const ROOM: usize = 8 << 20;
/// Where the local port of a socket stands in a message: `idiag_sport` behind the header.
const LOCAL_PORT: u32 = 20;
/// `INET_DIAG_INFO` of include/uapi/linux/inet_diag.h.
const INFO: u16 = 2;
/// Places in `struct tcp_info` of include/uapi/linux/tcp.h; the last of them since Linux 4.19.
const BYTES_ACKED: usize = 120;
const BYTES_SENT: usize = 200;
const BYTES_RETRANS: usize = 208;

/// Hears of the ends of connections. What is not read in time is lost, and [`Self::read`] says so.
#[derive(Debug)]
pub struct Destroyed {
    socket: OwnedFd,
    /// Whether messages were lost, and the queue was not empty since.
    overflowed: AtomicBool,
}

/// A connection that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The kernel's name for it, as [`Connection::cookie`](crate::sock_diag::Connection::cookie) was while it was open.
    pub cookie: u64,
    /// Whether it ended otherwise than with a FIN that the peer acknowledged.
    pub reset: bool,
}

impl Destroyed {
    /// From now on hears of this host's ends of connections with these local ports, in the network namespace of the calling
    /// thread.
    ///
    /// # Errors
    /// Where the kernel has no sock_diag(7), or there are more than [`MAX_PORTS`].
    pub fn of(ports: &BTreeSet<u16>) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(netlink::SOCK_DIAG))?;
        // Without CAP_NET_ADMIN as much as net.core.rmem_max allows.
        sockopt::set_socket_recv_buffer_size_force(&socket, ROOM)
            .or_else(|_| sockopt::set_socket_recv_buffer_size(&socket, ROOM))?;
        let destroyed = Self { socket, overflowed: AtomicBool::new(false) };
        // Before it joins: of others it is never to hear.
        destroyed.only(ports)?;
        bind(&destroyed.socket, &netlink::SocketAddrNetlink::new(0, GROUPS))?;
        Ok(destroyed)
    }

    /// From now on hears of connections with these local ports; the kernel drops the messages of others.
    ///
    /// # Errors
    /// Where there are more than [`MAX_PORTS`].
    pub fn only(&self, ports: &BTreeSet<u16>) -> io::Result<()> {
        if ports.len() > MAX_PORTS {
            return Err(io::Error::other(format!(
                "{} ports, and at most {MAX_PORTS} can be listened for",
                ports.len()
            )));
        }
        sys::attach_filter(self.socket.as_fd(), &filter(ports))
    }

    /// Reads what waits, at most `most` messages. Returns whether there was less.
    ///
    /// # Errors
    /// `ENOBUFS` where messages were lost, as they were not read in time, and as long as more may be lost; what was left is thrown
    /// away. Others where a message makes no sense.
    pub fn read(&self, ended: &mut Vec<Ended>, most: usize) -> io::Result<bool> {
        let (mut buffer, mut emptied) = ([0; 4096], false);
        for _ in 0..most {
            match recv(&self.socket, &mut buffer[..], RecvFlags::empty()) {
                Ok(_) if self.overflowed.load(Ordering::Relaxed) => {}
                Ok((length, _)) => {
                    let message = buffer.get(..length).unwrap_or_default();
                    ended.push(read(message).ok_or_else(malformed)?);
                }
                // The kernel says it once, and drops whatever comes from then on without a word until the queue is empty
                // (`netlink_overrun` and `netlink_rcv_wake` in net/netlink/af_netlink.c).
                Err(Errno::NOBUFS) => self.overflowed.store(true, Ordering::Relaxed),
                Err(Errno::AGAIN) => {
                    emptied = true;
                    break;
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if !self.overflowed.load(Ordering::Relaxed) {
            return Ok(emptied);
        }
        self.overflowed.store(!emptied, Ordering::Relaxed);
        Err(Errno::NOBUFS.into())
    }
}

/// Keeps messages of these local ports.
fn filter(ports: &BTreeSet<u16>) -> Vec<Instruction> {
    let instruction = |code, operand, jump_false| Instruction { code, jump_true: 0, jump_false, operand };
    let mut program = vec![instruction(LOAD_HALF, LOCAL_PORT, 0)];
    for port in ports {
        program.extend([instruction(IF_EQUAL, u32::from(*port), 1), instruction(RETURN, u32::MAX, 0)]);
    }
    program.push(instruction(RETURN, 0, 0));
    program
}

/// A message; there is one in each datagram.
fn read(message: &[u8]) -> Option<Ended> {
    if u16::from_ne_bytes(*message.get(4..)?.first_chunk()?) != SOCK_DIAG_BY_FAMILY {
        return None;
    }
    let length = usize::try_from(u32_at(message, 0)?).ok()?;
    let (connection, attributes) = parse(message.get(HEADER..length)?)?;
    let info = attribute(attributes, INFO)?;
    let number = |at: usize| Some(u64::from_ne_bytes(*info.get(at..)?.first_chunk()?));
    let sent_once = number(BYTES_SENT)?.saturating_sub(number(BYTES_RETRANS)?);
    Some(Ended { cookie: connection.cookie, reset: number(BYTES_ACKED)? <= sent_once })
}

#[cfg(test)]
#[path = "destroyed_tests.rs"]
mod tests;
