//! Where the server is reached.

use std::{fmt, str::FromStr};

/// The longest address, in bytes: it must fit a join token's one-byte length.
const MAX_ADDRESS_BYTES: usize = 255;

/// The server's address, `HOST:PORT`: a DNS name, an IPv4 address, or an IPv6 address in brackets; a port from 1 to
/// 65535. It is no part of the server's identity.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerAddress {
    host: String,
    port: u16,
}

/// A text that is no server address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no server address: expected HOST:PORT, with a DNS name, an IPv4 address or an IPv6 address in brackets, and a port from 1 to 65535"
)]
pub struct AddressError(String);

impl ServerAddress {
    /// The DNS name or address, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The TCP port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for ServerAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let error = || AddressError(text.chars().take(100).collect());
        if text.len() > MAX_ADDRESS_BYTES {
            return Err(error());
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(error)?;
        let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let port: u16 = port.parse().map_err(|_| error())?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bracketed {
            Some(inner) => inner.parse::<std::net::Ipv6Addr>().map_err(|_| error())?.to_string(),
            None if is_dns_name(host) => host.to_owned(),
            None => return Err(error()),
        };
        if port == 0 || !digits { Err(error()) } else { Ok(Self { host, port }) }
    }
}

/// Also true for an IPv4 address, whose characters are a subset.
fn is_dns_name(host: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    host.len() <= 249 && host.strip_suffix('.').unwrap_or(host).split('.').all(label)
}

impl From<std::net::SocketAddr> for ServerAddress {
    fn from(address: std::net::SocketAddr) -> Self {
        Self { host: address.ip().to_string(), port: address.port() }
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Debug for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_host_and_port() {
        for good in ["deploy.example.org:7443", "127.0.0.1:1", "[::1]:7443", "server:65535"] {
            assert_eq!(good.parse::<ServerAddress>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "server",
            "server:",
            ":7443",
            "server:0",
            "server:65536",
            "server:+1",
            "::1:7443",
            "[x]:1",
            "a b:1",
            "http://server:1",
            "a..b:1",
            "-a:1",
            "server:7443/",
        ] {
            assert!(bad.parse::<ServerAddress>().is_err(), "{bad:?} was taken");
        }
    }
}
