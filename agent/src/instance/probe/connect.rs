//! Connecting from a pin.

use super::ProbeFailure;
use nix::sys::socket::{setsockopt, sockopt};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, ipproto, socket_with, sockopt as options};
use std::{io, net::SocketAddr, net::TcpStream as StdStream, time::Duration};
use tokio::net::{TcpSocket, TcpStream};

/// From where to where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The pin. With port 0 the kernel chooses one; a pin that is a port is given as it is.
    pub source: SocketAddr,
    /// The listener's address, as a client on this host would reach it.
    pub target: SocketAddr,
}

impl Route {
    /// Connects. The caller bounds the time.
    pub(super) async fn connect(&self) -> Result<TcpStream, ProbeFailure> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::ConnectionRefused => ProbeFailure::Refused(self.target),
            _ => ProbeFailure::Connect { target: self.target, origin: self.source, source },
        };
        let socket = self.socket().map_err(failed)?;
        let stream = socket.connect(self.target).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        Ok(stream)
    }

    fn socket(&self) -> io::Result<TcpSocket> {
        let family = if self.target.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
        if self.source.port() == 0 {
            // The port is chosen at connect(2), where it must be free for this target only: ip(7).
            setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)?;
        } else {
            // The same port again and again: an earlier probe may still be closing. And the end of this one must
            // not leave the port in TIME_WAIT, or the next could not connect from it for a minute.
            options::set_socket_reuseaddr(&socket, true)?;
            options::set_socket_linger(&socket, Some(Duration::ZERO))?;
        }
        bind(&socket, &self.source)?;
        Ok(TcpSocket::from_std_stream(StdStream::from(socket)))
    }
}
