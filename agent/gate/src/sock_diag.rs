//! Asking the kernel for TCP sockets: sock_diag(7), the interface behind `ss`.
//!
//! Written by hand: two messages of fixed layout (include/uapi/linux/inet_diag.h), and of their attributes those that are
//! asked for. The socket needs no privilege for what is asked here and sees the network namespace of the calling thread.

use crate::sys::MEMINFO_DROPS;
use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
        sockopt::{self, Timeout},
    },
};
use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::OwnedFd,
    time::Duration,
};

/// The most sockets that one question may give; beyond, the answer is an error and not a part.
pub const MAX_SOCKETS: usize = 1 << 20;
/// How long the kernel may take for the next part of an answer.
const PATIENCE: Duration = Duration::from_secs(2);

pub(crate) const SOCK_DIAG_BY_FAMILY: u16 = 20;
const FLAG_REQUEST: u16 = 0x1;
const FLAG_DUMP: u16 = 0x300;
const MESSAGE_ERROR: u16 = 2;
const MESSAGE_DONE: u16 = 3;
pub(crate) const HEADER: usize = 16;
const ANSWER: usize = 72;
/// `INET_DIAG_SKMEMINFO` of include/uapi/linux/inet_diag.h.
const SKMEMINFO: u16 = 7;
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

/// How many packets each of the sockets that listen on exactly this address dropped since it was made, by its inode. A
/// number wraps around. A socket of which the kernel does not say it is missing.
///
/// It is `sk_drops` (`sk_get_meminfo` in net/core/sock.c). Of a listening socket that counts, in net/ipv4/tcp_ipv4.c and
/// its like for IPv6:
///
/// * what `tcp_listendrop` of include/net/tcp.h is called for: a SYN while the accept queue or the queue of handshakes is
///   full, each time that the client sends it (`tcp_conn_request` in net/ipv4/tcp_input.c); the last packet of a handshake
///   while the accept queue is full, or where no room is left for the connection (`tcp_v4_syn_recv_sock`); a handshake that
///   an ICMP error ended (`tcp_req_err`);
/// * what its socket filter dropped, and IPsec (`tcp_v4_rcv`): so a member behind a [`wall`](crate::wall) counts strangers;
/// * what belongs to no connection and asks for none, like a second RST of a client that is gone (`tcp_rcv_state_process`).
///
/// # Errors
/// As [`connections`].
pub fn drops(address: SocketAddr) -> io::Result<BTreeMap<u64, u32>> {
    let mut drops = BTreeMap::new();
    ask(address, &[LISTEN], 1 << (SKMEMINFO - 1), |socket, attributes| {
        if socket.local == canonical(address) {
            let of_socket =
                || Some((socket.inode?, u32_at(attribute(attributes, SKMEMINFO)?, 4 * MEMINFO_DROPS)?));
            drops.extend(of_socket());
        }
        drops.len() <= MAX_SOCKETS
    })?;
    match drops.len() {
        ..=MAX_SOCKETS => Ok(drops),
        _ => Err(too_many(address)),
    }
}

/// The end of one connection, found by its two addresses; `None` where there is none.
///
/// # Errors
/// As [`connections`].
pub fn find(local: SocketAddr, peer: SocketAddr) -> io::Result<Option<Connection>> {
    let socket = open()?;
    send(&socket, &question(local, Some(peer), &[], 0, FLAG_REQUEST), SendFlags::empty())?;
    let mut found = None;
    let receive = receive(&socket, |connection, _| {
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
    let wanted = canonical(listener);
    let mut found = Vec::new();
    ask(listener, states, 0, |connection, _| {
        let local = connection.local;
        if local.port() == wanted.port() && (wanted.ip().is_unspecified() || local.ip() == wanted.ip()) {
            found.push(connection);
        }
        found.len() <= MAX_SOCKETS
    })?;
    match found.len() {
        ..=MAX_SOCKETS => Ok(found),
        _ => Err(too_many(listener)),
    }
}

fn too_many(listener: SocketAddr) -> io::Error {
    io::Error::other(format!("more than {MAX_SOCKETS} sockets on {listener}"))
}

/// Gives each socket of the listener's family and port that is in one of the states to `take`, with its attributes, until that
/// returns false.
fn ask(
    listener: SocketAddr,
    states: &[u8],
    extensions: u8,
    take: impl FnMut(Connection, &[u8]) -> bool,
) -> io::Result<()> {
    let socket = open()?;
    let question = question(listener, None, states, extensions, FLAG_REQUEST | FLAG_DUMP);
    send(&socket, &question, SendFlags::empty())?;
    receive(&socket, take)
}

/// `struct nlmsghdr` and `struct inet_diag_req_v2`. The kernel filters a dump by family, states and local port.
/// `extensions` are the attributes that it is to give, the bit of each being one less than its number.
fn question(
    local: SocketAddr,
    peer: Option<SocketAddr>,
    states: &[u8],
    extensions: u8,
    flags: u16,
) -> Vec<u8> {
    const LENGTH: u32 = 72;
    let mut bytes = Vec::with_capacity(72);
    bytes.extend(LENGTH.to_ne_bytes());
    bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend([0; 8]);
    // The family of the listener's own socket: connections of IPv4 through a dual-stack one are of AF_INET6.
    bytes.extend([if local.is_ipv4() { AF_INET } else { AF_INET6 }, IPPROTO_TCP, extensions, 0]);
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

/// Gives each socket of the answer with its attributes to `take`, until that returns false or the answer is at its end.
fn receive(socket: &OwnedFd, mut take: impl FnMut(Connection, &[u8]) -> bool) -> io::Result<()> {
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
                    let (connection, attributes) = parse(&message[HEADER..]).ok_or_else(malformed)?;
                    if !take(connection, attributes) {
                        return Ok(());
                    }
                }
                _ => {}
            }
        }
    }
}

pub(crate) fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a message of sock_diag that makes no sense")
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// `struct inet_diag_msg`, and the attributes behind it.
pub(crate) fn parse(bytes: &[u8]) -> Option<(Connection, &[u8])> {
    let (bytes, attributes) = bytes.split_at_checked(ANSWER)?;
    let ip = |at: usize| -> Option<IpAddr> {
        let octets: [u8; 16] = bytes.get(at..at + 16)?.try_into().ok()?;
        Some(match bytes[0] {
            AF_INET => Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3]).into(),
            _ => Ipv6Addr::from(octets).to_canonical(),
        })
    };
    let port = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    let inode = u64::from(u32_at(bytes, 68)?);
    let connection = Connection {
        local: SocketAddr::new(ip(8)?, port(4)),
        peer: SocketAddr::new(ip(24)?, port(6)),
        state: bytes[1],
        inode: (inode != 0).then_some(inode),
        cookie: u64::from(u32_at(bytes, 44)?) | u64::from(u32_at(bytes, 48)?) << 32,
    };
    Some((connection, attributes))
}

/// What the first attribute of this kind holds (`struct nlattr` of include/uapi/linux/netlink.h: length and kind, 16 bits
/// each, then the value, the next one at the next multiple of 4); `None` where there is none.
pub(crate) fn attribute(mut attributes: &[u8], kind: u16) -> Option<&[u8]> {
    const NLATTR: usize = 4;
    loop {
        let [a, b, c, d] = *attributes.first_chunk::<NLATTR>()?;
        let length = usize::from(u16::from_ne_bytes([a, b]));
        let value = attributes.get(NLATTR..length)?;
        if u16::from_ne_bytes([c, d]) == kind {
            return Some(value);
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
#[path = "sock_diag_tests.rs"]
mod tests;
