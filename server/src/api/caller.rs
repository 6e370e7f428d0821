//! Who makes a call: from the connection, never from the message.

use handover_identity::{Identity, LocalPeer, Peer};
use handover_model::HostName;
use tonic::codegen::http::Extensions;

/// Who makes a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Somebody without a certificate.
    Nobody,
    /// The agent of a host.
    Agent {
        /// Which host.
        host: HostName,
        /// Serial number of the certificate that it came with.
        serial: String,
    },
    /// An operator.
    Operator {
        /// The name in the certificate, or `uid:0 (root)` over the Unix socket.
        name: String,
        /// Whether it came over the Unix socket.
        local: bool,
    },
}

impl Caller {
    /// Who is behind the connection on which a request came.
    #[must_use]
    pub fn of(extensions: &Extensions) -> Self {
        if let Some(local) = extensions.get::<LocalPeer>() {
            return Self::Operator { name: local_name(local.uid), local: true };
        }
        let certificate = extensions.get::<Peer>().and_then(|peer| peer.certificate.as_ref());
        match certificate.map(|certificate| (&certificate.identity, &certificate.serial)) {
            Some((Identity::Agent { host, .. }, serial)) => {
                Self::Agent { host: host.clone(), serial: serial.clone() }
            }
            Some((Identity::Operator { name, .. }, _)) => {
                Self::Operator { name: name.to_string(), local: false }
            }
            // The server's own certificate says nothing as a client.
            Some((Identity::Server { .. }, _)) | None => Self::Nobody,
        }
    }
}

/// A user of this machine: always by number, with the name that the number has now.
fn local_name(uid: u32) -> String {
    match nix::unistd::User::from_uid(uid.into()) {
        Ok(Some(user)) => format!("uid:{uid} ({})", user.name),
        Ok(None) | Err(_) => format!("uid:{uid}"),
    }
}
