//! A member's listening socket.

use crate::{
    GateError, Pin, sys,
    wall::{self, Questions, Wall},
};
use rustix::{
    fs::fstat,
    io::Errno,
    net::{self, AddressFamily, SocketFlags, SocketType, sockopt},
};
use std::{
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
};

/// Creates a socket that is bound to the listener's address and behind the candidate's wall, but does not listen yet:
/// it is not in the group.
///
/// All sockets of a group must be made under one effective user id (`inet_rcv_saddr_equal` and the checks of
/// `sk_uid` in `inet_csk_bind_conflict` and `inet_reuseport_add_sock`): call this as the agent, never after a change
/// of user.
pub(crate) fn bound(address: SocketAddr, pin: Pin) -> Result<OwnedFd, GateError> {
    let system = |action| GateError::system::<Errno>(action, address);
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .map_err(system("make a socket"))?;
    // Connections of a former listener in TIME_WAIT must not keep the address.
    sockopt::set_socket_reuseaddr(&socket, true).map_err(system("set SO_REUSEADDR"))?;
    sockopt::set_socket_reuseport(&socket, true).map_err(system("set SO_REUSEPORT"))?;
    if let SocketAddr::V6(address) = address {
        // [::] listens for IPv4 as well, and so does ::ffff:a.b.c.d; whatever net.ipv6.bindv6only says.
        let dual_stack = address.ip().is_unspecified() || address.ip().to_ipv4_mapped().is_some();
        sockopt::set_ipv6_v6only(&socket, !dual_stack).map_err(system("set IPV6_V6ONLY"))?;
    }
    net::bind(&socket, &address).map_err(|error| in_use(address, "bind a socket", error))?;
    set_wall(&socket, Wall::Candidate, pin, Questions::None, address)?;
    Ok(socket)
}

/// listen(2): from here on the socket is the last one of the group.
pub(crate) fn listen(socket: &OwnedFd, address: SocketAddr, backlog: u32) -> Result<(), GateError> {
    // The kernel cuts it to net.core.somaxconn.
    let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
    net::listen(socket, backlog).map_err(|error| in_use(address, "listen", error))
}

fn in_use(address: SocketAddr, action: &'static str, error: Errno) -> GateError {
    match error {
        Errno::ADDRINUSE => GateError::AddressInUse { address, source: error.into() },
        error => GateError::System { action, address, source: error.into() },
    }
}

/// Puts up, changes or takes down a wall.
pub(crate) fn set_wall(
    socket: &OwnedFd,
    wall: Wall,
    pin: Pin,
    questions: Questions,
    address: SocketAddr,
) -> Result<(), GateError> {
    let filter = wall::filter(wall, pin, questions).map_err(crate::program::ProgramError::from)?;
    match filter {
        Some(filter) => sys::attach_filter(socket.as_fd(), &filter),
        None => sys::detach_filter(socket.as_fd()),
    }
    .map_err(GateError::system("set a socket filter", address))
}

/// The inode by which snapshots and sock_diag name a socket.
pub(crate) fn inode(socket: &OwnedFd) -> Result<u64, Errno> {
    Ok(fstat(socket)?.st_ino)
}
