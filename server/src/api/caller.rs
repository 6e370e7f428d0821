//! Who makes a call: from the connection, never from the message.

use crate::audit::Deed;
use handover_identity::{Identity, LocalPeer, OperatorName, Peer};
use handover_model::{HostName, Timestamp};
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
    /// An operator with a certificate.
    Operator {
        /// The name in the certificate.
        name: OperatorName,
        /// Its serial number.
        serial: String,
        /// When it ends.
        expires: Timestamp,
    },
    /// A user of the server's machine, over the Unix socket.
    Local {
        /// The user.
        uid: u32,
    },
}

impl Caller {
    /// Who is behind the connection on which a request came.
    #[must_use]
    pub fn of(extensions: &Extensions) -> Self {
        if let Some(local) = extensions.get::<LocalPeer>() {
            return Self::Local { uid: local.uid };
        }
        let Some(certificate) = extensions.get::<Peer>().and_then(|peer| peer.certificate.as_ref()) else {
            return Self::Nobody;
        };
        let serial = certificate.serial.clone();
        match &certificate.identity {
            Identity::Agent { host, .. } => Self::Agent { host: host.clone(), serial },
            Identity::Operator { name, .. } => {
                Self::Operator { name: name.clone(), serial, expires: certificate.expires }
            }
            // The server's own certificate says nothing as a client.
            Identity::Server { .. } => Self::Nobody,
        }
    }

    /// What it is called in records, in the audit and to other operators.
    #[must_use]
    pub fn title(&self) -> String {
        match self {
            Self::Nobody => "nobody".to_owned(),
            Self::Agent { host, .. } => format!("host {host}"),
            Self::Operator { name, .. } => name.to_string(),
            Self::Local { uid } => local_name(*uid),
        }
    }

    /// An entry of the audit that has nothing yet but who it was, in which role, and from where.
    #[must_use]
    pub fn deed(&self, role: &str, from: &str) -> Deed {
        let role = match self {
            Self::Nobody => "none",
            Self::Agent { .. } => "agent",
            Self::Operator { .. } | Self::Local { .. } => role,
        };
        let credential = match self {
            Self::Nobody => String::new(),
            Self::Agent { serial, .. } | Self::Operator { serial, .. } => format!("certificate {serial}"),
            Self::Local { uid } => format!("uid {uid}"),
        };
        Deed {
            who: self.title(),
            role: role.to_owned(),
            credential,
            from: from.to_owned(),
            count: 1,
            ..Deed::default()
        }
    }
}

/// From where a call came.
#[must_use]
pub(super) fn origin(extensions: &Extensions) -> String {
    match (extensions.get::<LocalPeer>(), extensions.get::<Peer>()) {
        (Some(LocalPeer { pid: Some(pid), .. }), _) => format!("unix, pid {pid}"),
        (Some(LocalPeer { pid: None, .. }), _) => "unix".to_owned(),
        (None, Some(peer)) => peer.address.to_string(),
        (None, None) => String::new(),
    }
}

/// A user of this machine: always by number, with the name that the number has now.
fn local_name(uid: u32) -> String {
    match nix::unistd::User::from_uid(uid.into()) {
        Ok(Some(user)) => format!("uid:{uid} ({})", user.name),
        Ok(None) | Err(_) => format!("uid:{uid}"),
    }
}
