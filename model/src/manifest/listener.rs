//! Listeners: named addresses of a service that the agent holds open across releases.

use serde::{Deserialize, Serialize};
use std::{fmt, net::SocketAddr, str::FromStr};

/// A listener of a service. Its address is a text with placeholders in a manifest and a socket address on a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener<A = SocketAddr> {
    /// Its name, unique in the service; the program finds it in `LISTEN_FDNAMES`.
    pub name: ListenerName,
    /// Where it listens: an IP address and a port other than 0. Names are never looked up.
    pub address: A,
    /// Length of its accept queue, 1 to 65,535; the kernel cuts it to `net.core.somaxconn`.
    pub backlog: u32,
    /// How the program gets it.
    pub handoff: Handoff,
}

/// How a program gets its listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handoff {
    /// By the socket activation convention: descriptors from 3, `LISTEN_FDS`, `LISTEN_PID`, `LISTEN_FDNAMES`
    /// (`sd_listen_fds(3)`).
    Inherit,
}

/// A listener's name: 1 to 63 of `a-z 0-9 - _`. It goes into `LISTEN_FDNAMES`, where a colon separates.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ListenerName(String);

/// A text that is no listener's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no listener name: expected 1 to 63 of the characters a-z, 0-9, '-' and '_'")]
pub struct ListenerNameError(String);

impl ListenerName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ListenerName {
    type Err = ListenerNameError;

    fn from_str(text: &str) -> Result<Self, ListenerNameError> {
        let good = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
        if text.is_empty() || text.len() > 63 || !text.bytes().all(good) {
            return Err(ListenerNameError(text.chars().take(100).collect()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for ListenerName {
    type Error = ListenerNameError;

    fn try_from(text: String) -> Result<Self, ListenerNameError> {
        text.parse()
    }
}

impl From<ListenerName> for String {
    fn from(name: ListenerName) -> Self {
        name.0
    }
}

impl fmt::Display for ListenerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for ListenerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads an IP address with a port.
pub(super) fn socket_address(text: &str) -> Result<SocketAddr, String> {
    let quoted = crate::language::quoted(text);
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() == 0 => Err(format!(
            "{quoted} has port 0: a listener keeps its port across releases, so it needs one of its own"
        )),
        Ok(address) => Ok(address),
        Err(_) => Err(format!(
            "{quoted} is no address: expected an IP address and a port, like \"0.0.0.0:8080\" or \"[::]:8080\"; names are not looked up"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_name_is_safe_in_a_list_separated_by_colons() {
        for good in ["http", "http_2", "a-b", "0"] {
            assert!(good.parse::<ListenerName>().is_ok(), "{good:?} was refused");
        }
        for bad in ["", "a:b", "HTTP", "a b", "a.b", "ä", &"a".repeat(64)] {
            assert!(bad.parse::<ListenerName>().is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn addresses_are_literal() {
        for good in ["0.0.0.0:80", "[::]:80", "[fe80::1%2]:80"] {
            assert!(socket_address(good).is_ok(), "{good:?} was refused");
        }
        for bad in
            ["localhost:80", ":80", "80", "0.0.0.0", "::1:80", "0.0.0.0:0", "0.0.0.0:65536", " 0.0.0.0:80"]
        {
            assert!(socket_address(bad).is_err(), "{bad:?} was taken");
        }
    }
}
