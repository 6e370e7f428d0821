//! Where to connect from, so as to reach one instance whatever its share is.

use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// An instance's pin, as its agent tells it: the sources that lead to it on its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinSource {
    /// For IPv4 listeners: the source address, of 127/8.
    pub address: Ipv4Addr,
    /// For IPv6 listeners: the first of the source ports, with the destination's own address as the source.
    pub first_port: u16,
    /// The last of them.
    pub last_port: u16,
}

/// Where a listener is reached on its own host: a wildcard address becomes the loopback address of its family, an
/// IPv4 address in IPv6's clothes a plain one.
#[must_use]
pub fn reached_at(listener: SocketAddr) -> SocketAddr {
    let ip = match listener.ip().to_canonical() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    match (listener, ip) {
        (SocketAddr::V6(with_scope), IpAddr::V6(ip)) => {
            SocketAddrV6::new(ip, listener.port(), 0, with_scope.scope_id()).into()
        }
        (_, ip) => SocketAddr::new(ip, listener.port()),
    }
}

/// The variable that carries the address of a listener of this name to a command.
#[must_use]
pub fn address_variable(listener: &str) -> String {
    format!("HANDOVER_ADDRESS_{}", listener.to_uppercase().replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_is_reached_at_its_loopback() {
        assert_eq!(reached_at("0.0.0.0:1".parse().unwrap()), "127.0.0.1:1".parse().unwrap());
        assert_eq!(reached_at("[::]:1".parse().unwrap()), "[::1]:1".parse().unwrap());
        assert_eq!(reached_at("192.0.2.1:1".parse().unwrap()), "192.0.2.1:1".parse().unwrap());
    }
}
