//! Pins: loopback sources that reach one instance through the gate, whatever its share is.
//!
//! For IPv4 a pin is the source address 127.77.0.N. A client binds any address of 127/8 without any set-up, and the
//! kernel drops packets with such a source that come from outside (`ip_route_input_slow`, "martian source").
//! IPv6 has one loopback address only, so there a pin is a range of source ports on a connection of the host to
//! itself (source address = destination address).

use crate::program::MAX_MEMBERS;
use handover_model::reached_at;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with, sockopt},
};
use serde::{Deserialize, Serialize};
use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6, TcpStream},
    ops::RangeInclusive,
    os::fd::OwnedFd,
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

/// The network of all IPv4 pins, 127.77.0.0/24, as a number.
pub(crate) const IPV4_NETWORK: u32 = u32::from_be_bytes([127, 77, 0, 0]);
/// Its mask.
pub(crate) const IPV4_MASK: u32 = 0xFFFF_FF00;
/// The first source port of IPv6 pins: above the default of `net.ipv4.ip_local_port_range`, 32768 to 60999.
pub(crate) const IPV6_FIRST_PORT: u16 = 61_000;
/// Each pin has 2 to the power of this many source ports: 16.
pub(crate) const IPV6_PORT_BITS: u16 = 4;
/// The source number that the gate keeps for its own questions (see `order`); no member has it.
pub(crate) const QUESTION: u8 = 255;
/// A question's source port is this plus the number in the group that it asks for, for IPv4 and IPv6.
pub(crate) const QUESTION_FIRST_PORT: u16 = IPV6_FIRST_PORT + ((QUESTION as u16) << IPV6_PORT_BITS);
/// The last source port of pins and questions.
pub(crate) const LAST_PORT: u16 = QUESTION_FIRST_PORT + MAX_MEMBERS as u16 - 1;

/// The number of a pin, 1 to 254, unique among the members of a gate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Pin(u8);

/// A number that no pin can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no pin: expected 1 to 254")]
pub struct PinError(pub u8);

/// Counted up with each IPv6 socket, so that consecutive connections of a pin use different source ports.
static NEXT_PORT: AtomicU16 = AtomicU16::new(0);

impl Pin {
    /// The pin with this number.
    ///
    /// # Errors
    /// When the number is 0 or 255.
    pub const fn new(number: u8) -> Result<Self, PinError> {
        match number {
            0 | 255 => Err(PinError(number)),
            _ => Ok(Self(number)),
        }
    }

    /// Its number, 1 to 254.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// The source address that reaches its member at IPv4 listeners: `127.77.0.N`.
    #[must_use]
    pub const fn ipv4_source(self) -> Ipv4Addr {
        Ipv4Addr::new(127, 77, 0, self.0)
    }

    /// The source ports that reach its member at IPv6 listeners, from the destination's own address.
    #[must_use]
    pub fn ipv6_ports(self) -> RangeInclusive<u16> {
        let first = IPV6_FIRST_PORT + (u16::from(self.0) << IPV6_PORT_BITS);
        first..=first + (1 << IPV6_PORT_BITS) - 1
    }

    /// An address to bind to before connecting to [`reached_at`]`(listener)`: `127.77.0.N:0`, or for IPv6 the
    /// destination's own address with the first of the pin's source ports.
    #[must_use]
    pub fn source_for(self, listener: SocketAddr) -> SocketAddr {
        self.source(listener, 0)
    }

    /// All addresses that the pin can bind to for this listener: one for IPv4, 16 for IPv6. Where one of them is in
    /// use or its former connection lingers in TIME_WAIT, the next one serves.
    pub fn sources_for(self, listener: SocketAddr) -> impl Iterator<Item = SocketAddr> {
        let count = if reached_at(listener).is_ipv4() { 1 } else { 1 << IPV6_PORT_BITS };
        (0..count).map(move |which| self.source(listener, which))
    }

    fn source(self, listener: SocketAddr, which: u16) -> SocketAddr {
        match reached_at(listener) {
            SocketAddr::V4(_) => SocketAddr::new(self.ipv4_source().into(), 0),
            SocketAddr::V6(to) => {
                SocketAddrV6::new(*to.ip(), self.ipv6_ports().start() + which, 0, to.scope_id()).into()
            }
        }
    }

    /// A socket that is bound to the pin's source and not connected yet: non-blocking, close-on-exec.
    ///
    /// For IPv6 it has `SO_REUSEADDR`, since the source port is fixed, and `SO_LINGER` with zero seconds: closing it
    /// sends RST, so that it leaves no TIME_WAIT behind that would keep the next connection from the same source
    /// port. Each call takes the next of the pin's 16 ports. If connecting gives `EADDRNOTAVAIL`, call again.
    ///
    /// # Errors
    /// Those of socket(2) and bind(2); `EADDRINUSE` when none of the pin's sources is free.
    pub fn socket_for(self, listener: SocketAddr) -> io::Result<OwnedFd> {
        let to = reached_at(listener);
        let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(family, SocketType::STREAM, flags, None)?;
        if to.is_ipv4() {
            bind(&socket, &self.source(listener, 0))?;
            return Ok(socket);
        }
        sockopt::set_socket_reuseaddr(&socket, true)?;
        sockopt::set_socket_linger(&socket, Some(Duration::ZERO))?;
        let ports = 1 << IPV6_PORT_BITS;
        let first = NEXT_PORT.fetch_add(1, Ordering::Relaxed);
        for which in 0..ports {
            match bind(&socket, &self.source(listener, first.wrapping_add(which) % ports)) {
                Ok(()) => return Ok(socket),
                Err(Errno::ADDRINUSE) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Errno::ADDRINUSE.into())
    }

    /// Connects to the pin's instance through the gate, blocking for at most `timeout`.
    ///
    /// # Errors
    /// Those of connect(2); `TimedOut` when the connection is not there in time.
    pub fn connect(self, listener: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
        let to = reached_at(listener);
        for _ in self.sources_for(listener) {
            let socket = self.socket_for(listener)?;
            match connect(&socket, &to) {
                Ok(()) | Err(Errno::INPROGRESS) => {}
                // A former connection of this source port is still in the kernel's tables.
                Err(Errno::ADDRNOTAVAIL) => continue,
                Err(error) => return Err(error.into()),
            }
            let deadline = Timespec::try_from(timeout).map_err(|_| io::ErrorKind::InvalidInput)?;
            if poll(&mut [PollFd::new(&socket, PollFlags::OUT)], Some(&deadline))? == 0 {
                return Err(io::ErrorKind::TimedOut.into());
            }
            sockopt::socket_error(&socket)??;
            let stream = TcpStream::from(socket);
            stream.set_nonblocking(false)?;
            return Ok(stream);
        }
        Err(Errno::ADDRNOTAVAIL.into())
    }
}

/// A socket for asking which member has number `index` in the group, bound and not connected yet.
pub(crate) fn question_socket(listener: SocketAddr, index: u16) -> io::Result<OwnedFd> {
    let to = reached_at(listener);
    let port = QUESTION_FIRST_PORT + index;
    let (family, source) = match to {
        SocketAddr::V4(_) => {
            (AddressFamily::INET, SocketAddr::new(Ipv4Addr::new(127, 77, 0, QUESTION).into(), port))
        }
        SocketAddr::V6(to) => {
            (AddressFamily::INET6, SocketAddrV6::new(*to.ip(), port, 0, to.scope_id()).into())
        }
    };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_linger(&socket, Some(Duration::ZERO))?;
    bind(&socket, &source)?;
    Ok(socket)
}

/// Whether a connection from `peer` to `local` came from a pin, or from the gate itself: from this host's agent, not from a
/// client.
#[must_use]
pub fn is_from_pin(local: SocketAddr, peer: SocketAddr) -> bool {
    match peer.ip().to_canonical() {
        IpAddr::V4(address) => u32::from(address) & IPV4_MASK == IPV4_NETWORK,
        IpAddr::V6(address) => {
            IpAddr::V6(address) == local.ip() && (IPV6_FIRST_PORT..=LAST_PORT).contains(&peer.port())
        }
    }
}

impl TryFrom<u8> for Pin {
    type Error = PinError;

    fn try_from(number: u8) -> Result<Self, PinError> {
        Self::new(number)
    }
}

impl From<Pin> for u8 {
    fn from(pin: Pin) -> Self {
        pin.0
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pin {}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_an_address_for_ipv4_and_a_range_of_ports_for_ipv6() {
        let pin = Pin::new(254).unwrap();
        let v4: SocketAddr = "10.1.2.3:80".parse().unwrap();
        assert_eq!(pin.source_for(v4), "127.77.0.254:0".parse().unwrap());
        assert_eq!(pin.sources_for(v4).count(), 1);
        let v6: SocketAddr = "[::]:80".parse().unwrap();
        assert_eq!(pin.source_for(v6), "[::1]:65064".parse().unwrap());
        assert_eq!(pin.sources_for(v6).last(), Some("[::1]:65079".parse().unwrap()));
        let specific: SocketAddr = "[fd00::7]:80".parse().unwrap();
        assert_eq!(Pin::new(1).unwrap().source_for(specific), "[fd00::7]:61016".parse().unwrap());
    }

    #[test]
    fn connections_from_pins_are_known_and_those_of_clients_are_none() {
        let from = |local: &str, peer: &str| is_from_pin(local.parse().unwrap(), peer.parse().unwrap());
        assert!(from("127.0.0.1:80", "127.77.0.5:40000") && from("[::1]:80", "[::1]:61016"));
        assert!(!from("127.0.0.1:80", "127.76.0.5:61016") && !from("[::1]:80", "[::1]:50000"));
        assert!(!from("[fd00::1]:80", "[fd00::2]:61016"));
    }

    #[test]
    fn pins_are_1_to_254() {
        assert_eq!(Pin::new(0), Err(PinError(0)));
        assert_eq!(Pin::new(255), Err(PinError(255)));
        assert!(serde_json::from_str::<Pin>("255").is_err());
    }
}
