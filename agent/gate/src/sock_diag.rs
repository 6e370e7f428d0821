//! Asking the kernel for TCP sockets: sock_diag(7), the interface behind `ss`.
//!
//! Written by hand: two messages of fixed layout (include/uapi/linux/inet_diag.h), no attributes. The socket needs no
//! privilege for what is asked here and sees the network namespace of the calling thread.

use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
        sockopt::{self, Timeout},
    },
};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::OwnedFd,
    time::Duration,
};

/// The most sockets that one question may give; beyond, the answer is an error and not a part.
pub const MAX_SOCKETS: usize = 1 << 20;
/// How long the kernel may take for the next part of an answer.
const PATIENCE: Duration = Duration::from_secs(2);

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const FLAG_REQUEST: u16 = 0x1;
const FLAG_DUMP: u16 = 0x300;
const MESSAGE_ERROR: u16 = 2;
const MESSAGE_DONE: u16 = 3;
const HEADER: usize = 16;
const ANSWER: usize = 72;
const IPPROTO_TCP: u8 = 6;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

const ESTABLISHED: u8 = 1;
const SYN_RECV: u8 = 3;
const FIN_WAIT_1: u8 = 4;
const FIN_WAIT_2: u8 = 5;
const CLOSE_WAIT: u8 = 8;
const LAST_ACK: u8 = 9;
const LISTEN: u8 = 10;
const CLOSING: u8 = 11;

/// The end of a TCP connection that belongs to this host, or a handshake under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Connection {
    /// The address of this end.
    pub local: SocketAddr,
    /// The address of the other end.
    pub peer: SocketAddr,
    /// As numbered in include/net/tcp_states.h: 1 is ESTABLISHED, 3 SYN_RECV, 8 CLOSE_WAIT.
    pub state: u8,
    /// The inode of its descriptor. `None` while it waits in an accept queue, and once it is closed by its program.
    pub inode: Option<u64>,
    /// The kernel's name for it, unique until the next boot. A connection keeps that of its handshake.
    pub cookie: u64,
}

impl Connection {
    /// Whether both ends still have the connection open, or the program has not yet seen that the peer closed it.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self.state, ESTABLISHED | CLOSE_WAIT)
    }
}

/// The connections of a listener: this host's ends, without handshakes and without TIME_WAIT.
///
/// # Errors
/// When the kernel refuses the question or does not answer within 2 s, or with more than [`MAX_SOCKETS`] sockets.
pub fn connections(listener: SocketAddr) -> io::Result<Vec<Connection>> {
    dump(listener, &[ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2, CLOSE_WAIT, LAST_ACK, CLOSING])
}

/// The handshakes under way with a listener: SYN answered, last packet not yet there.
///
/// Which socket of the group a handshake belongs to the kernel does not say (`inet_diag_req_fill` in
/// net/ipv4/inet_diag.c leaves inode and owner 0).
///
/// # Errors
/// As [`connections`].
pub fn requests(listener: SocketAddr) -> io::Result<Vec<Connection>> {
    dump(listener, &[SYN_RECV])
}

/// The inodes of the sockets that listen on exactly this address.
///
/// # Errors
/// As [`connections`].
pub fn listeners(address: SocketAddr) -> io::Result<Vec<u64>> {
    let exactly = |connection: &Connection| connection.local.ip() == address.ip().to_canonical();
    let sockets = dump(address, &[LISTEN])?;
    Ok(sockets.into_iter().filter(exactly).filter_map(|socket| socket.inode).collect())
}

/// The end of one connection, found by its two addresses; `None` where there is none.
///
/// # Errors
/// As [`connections`].
pub fn find(local: SocketAddr, peer: SocketAddr) -> io::Result<Option<Connection>> {
    let socket = open()?;
    send(&socket, &question(local, Some(peer), &[], FLAG_REQUEST), SendFlags::empty())?;
    let mut found = None;
    let receive = receive(&socket, |connection| {
        // Where there is no such connection the kernel may give the listener.
        if connection.state != LISTEN
            && connection.local == canonical(local)
            && connection.peer == canonical(peer)
        {
            found = Some(connection);
        }
        false
    });
    match receive {
        Err(error) if error.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => Ok(None),
        receive => receive.map(|()| found),
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn open() -> io::Result<OwnedFd> {
    let protocol = Some(netlink::SOCK_DIAG);
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
    sockopt::set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
    Ok(socket)
}

fn dump(listener: SocketAddr, states: &[u8]) -> io::Result<Vec<Connection>> {
    let socket = open()?;
    send(&socket, &question(listener, None, states, FLAG_REQUEST | FLAG_DUMP), SendFlags::empty())?;
    let wanted = canonical(listener);
    let mut found = Vec::new();
    let mut too_many = false;
    receive(&socket, |connection| {
        let local = connection.local;
        if local.port() == wanted.port() && (wanted.ip().is_unspecified() || local.ip() == wanted.ip()) {
            found.push(connection);
        }
        too_many = found.len() > MAX_SOCKETS;
        !too_many
    })?;
    if too_many {
        return Err(io::Error::other(format!("more than {MAX_SOCKETS} sockets on {listener}")));
    }
    Ok(found)
}

/// `struct nlmsghdr` and `struct inet_diag_req_v2`. The kernel filters a dump by family, states and local port.
fn question(local: SocketAddr, peer: Option<SocketAddr>, states: &[u8], flags: u16) -> Vec<u8> {
    const LENGTH: u32 = 72;
    let mut bytes = Vec::with_capacity(72);
    bytes.extend(LENGTH.to_ne_bytes());
    bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend([0; 8]);
    // The family of the listener's own socket: connections of IPv4 through a dual-stack one are of AF_INET6.
    bytes.extend([if local.is_ipv4() { AF_INET } else { AF_INET6 }, IPPROTO_TCP, 0, 0]);
    bytes.extend(states.iter().fold(0_u32, |mask, state| mask | 1 << state).to_ne_bytes());
    bytes.extend(local.port().to_be_bytes());
    bytes.extend(peer.map_or(0, |peer| peer.port()).to_be_bytes());
    let ip = |address: Option<SocketAddr>| match address.map(|address| address.ip()) {
        None => [0; 16],
        Some(IpAddr::V6(ip)) => ip.octets(),
        Some(IpAddr::V4(ip)) => {
            let mut octets = [0; 16];
            octets[..4].copy_from_slice(&ip.octets());
            octets
        }
    };
    bytes.extend(ip(peer.and(Some(local))));
    bytes.extend(ip(peer));
    bytes.extend([0; 4]);
    // INET_DIAG_NOCOOKIE
    bytes.extend([0xFF; 8]);
    bytes
}

/// Gives each socket of the answer to `take`, until that returns false or the answer is at its end.
fn receive(socket: &OwnedFd, mut take: impl FnMut(Connection) -> bool) -> io::Result<()> {
    // The kernel fills at most 32 KiB at once.
    let mut buffer = vec![0; 1 << 16];
    loop {
        let (length, _) = recv(socket, &mut buffer[..], RecvFlags::empty())?;
        let mut rest = buffer.get(..length).unwrap_or_default();
        while rest.len() >= HEADER {
            let size = u32_at(rest, 0).and_then(|size| usize::try_from(size).ok()).unwrap_or(0);
            let Some(message) = rest.get(..size).filter(|message| message.len() >= HEADER) else {
                return Err(malformed());
            };
            rest = rest.get(size.next_multiple_of(4)..).unwrap_or_default();
            match u16::from_ne_bytes([message[4], message[5]]) {
                MESSAGE_DONE => return Ok(()),
                MESSAGE_ERROR => {
                    let code = u32_at(message, HEADER).ok_or_else(malformed)?.cast_signed();
                    return Err(io::Error::from_raw_os_error(code.wrapping_neg()));
                }
                SOCK_DIAG_BY_FAMILY => {
                    let more = take(parse(&message[HEADER..]).ok_or_else(malformed)?);
                    if !more {
                        return Ok(());
                    }
                }
                _ => {}
            }
        }
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "an answer of sock_diag that makes no sense")
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// `struct inet_diag_msg`.
fn parse(bytes: &[u8]) -> Option<Connection> {
    let bytes = bytes.get(..ANSWER)?;
    let ip = |at: usize| -> Option<IpAddr> {
        let octets: [u8; 16] = bytes.get(at..at + 16)?.try_into().ok()?;
        Some(match bytes[0] {
            AF_INET => Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3]).into(),
            _ => Ipv6Addr::from(octets).to_canonical(),
        })
    };
    let port = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    let inode = u64::from(u32_at(bytes, 68)?);
    Some(Connection {
        local: SocketAddr::new(ip(8)?, port(4)),
        peer: SocketAddr::new(ip(24)?, port(6)),
        state: bytes[1],
        inode: (inode != 0).then_some(inode),
        cookie: u64::from(u32_at(bytes, 44)?) | u64::from(u32_at(bytes, 48)?) << 32,
    })
}

#[cfg(test)]
#[path = "sock_diag_tests.rs"]
mod tests;
