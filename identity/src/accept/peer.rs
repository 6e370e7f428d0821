//! Who is at the other end: what handlers find in a request's extensions.

use crate::{certificate::CertificateFacts, identity::Identity};
use handover_model::Timestamp;
use std::net::SocketAddr;

/// Whoever is connected over TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Where they connect from.
    pub address: SocketAddr,
    /// Their certificate, verified; `None` where they showed none, as a host that enrols.
    pub certificate: Option<PeerCertificate>,
}

/// A verified certificate: an agent's or an operator's of this fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    /// Whose it is.
    pub identity: Identity,
    /// Its serial number, lowercase hexadecimal.
    pub serial: String,
    /// Until when it is valid. A connection is not cut at that moment by itself.
    pub expires: Timestamp,
}

/// Whoever is connected over the Unix socket, by SO_PEERCRED: what they were when they connected (unix(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalPeer {
    /// Their effective user.
    pub uid: u32,
    /// Their effective group.
    pub gid: u32,
    /// Their process; it may be gone, and its number used again.
    pub pid: Option<i32>,
}

impl Peer {
    /// Whose certificate was shown; `None` where none was.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        self.certificate.as_ref().map(|certificate| &certificate.identity)
    }
}

impl From<CertificateFacts> for PeerCertificate {
    fn from(facts: CertificateFacts) -> Self {
        let CertificateFacts { identity, serial, not_before: _, not_after } = facts;
        Self { identity, serial, expires: not_after }
    }
}
