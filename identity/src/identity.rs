//! Who somebody is: one SPIFFE ID.

use crate::name::{FleetName, IdentityNameError, OperatorName};
use handover_model::{HostName, NameError};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// An identity, written as a SPIFFE ID (SPIFFE-ID 2): `spiffe://<fleet>/agent/<id>`, `spiffe://<fleet>/operator/<name>`
/// or `spiffe://<fleet>/server`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Identity {
    /// The agent of one host.
    Agent {
        /// The fleet it belongs to.
        fleet: FleetName,
        /// The host it speaks for, and no other.
        host: HostName,
    },
    /// An operator who works from another machine.
    Operator {
        /// The fleet it belongs to.
        fleet: FleetName,
        /// Their name.
        name: OperatorName,
    },
    /// The server of the fleet.
    Server {
        /// The fleet it serves.
        fleet: FleetName,
    },
}

/// A text that is no identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not of one of the three forms.
    #[error(
        "{0:?} is no identity: expected spiffe://FLEET/agent/HOST, spiffe://FLEET/operator/NAME or spiffe://FLEET/server"
    )]
    Form(String),
    /// The fleet's or the operator's name is none.
    #[error("an identity with a bad name")]
    Name(#[from] IdentityNameError),
    /// The host's name is none.
    #[error("an agent's identity with a bad host name")]
    Host(#[from] NameError),
}

impl Identity {
    /// The fleet that the identity belongs to.
    #[must_use]
    pub const fn fleet(&self) -> &FleetName {
        match self {
            Self::Agent { fleet, .. } | Self::Operator { fleet, .. } | Self::Server { fleet } => fleet,
        }
    }

    /// The host, where this is an agent.
    #[must_use]
    pub const fn agent(&self) -> Option<&HostName> {
        match self {
            Self::Agent { host, .. } => Some(host),
            Self::Operator { .. } | Self::Server { .. } => None,
        }
    }

    /// The operator's name, where this is one.
    #[must_use]
    pub const fn operator(&self) -> Option<&OperatorName> {
        match self {
            Self::Operator { name, .. } => Some(name),
            Self::Agent { .. } | Self::Server { .. } => None,
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent { fleet, host } => write!(f, "spiffe://{fleet}/agent/{host}"),
            Self::Operator { fleet, name } => write!(f, "spiffe://{fleet}/operator/{name}"),
            Self::Server { fleet } => write!(f, "spiffe://{fleet}/server"),
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Identity {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let form = || IdentityError::Form(text.chars().take(250).collect());
        let mut parts = text.strip_prefix("spiffe://").ok_or_else(form)?.split('/');
        let (fleet, kind, name, rest) = (parts.next(), parts.next(), parts.next(), parts.next());
        match (fleet, kind, name, rest) {
            (Some(fleet), Some("agent"), Some(host), None) => {
                Ok(Self::Agent { fleet: fleet.parse()?, host: host.parse()? })
            }
            (Some(fleet), Some("operator"), Some(name), None) => {
                Ok(Self::Operator { fleet: fleet.parse()?, name: name.parse()? })
            }
            (Some(fleet), Some("server"), None, None) => Ok(Self::Server { fleet: fleet.parse()? }),
            _ => Err(form()),
        }
    }
}

impl TryFrom<String> for Identity {
    type Error = IdentityError;

    fn try_from(text: String) -> Result<Self, IdentityError> {
        text.parse()
    }
}

impl From<Identity> for String {
    fn from(identity: Identity) -> Self {
        identity.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_survives_being_written_and_read() {
        for text in
            ["spiffe://prod/agent/web-1.example", "spiffe://prod/operator/alice", "spiffe://prod/server"]
        {
            let identity: Identity = text.parse().unwrap();
            assert_eq!(identity.to_string(), text);
            let json = serde_json::to_string(&identity).unwrap();
            assert_eq!(json, format!("{text:?}"));
            assert_eq!(serde_json::from_str::<Identity>(&json).unwrap(), identity);
        }
    }

    #[test]
    fn what_only_resembles_an_identity_is_none() {
        for text in [
            "",
            "spiffe://prod",
            "spiffe://prod/",
            "spiffe://prod/agent",
            "spiffe://prod/agent/",
            "spiffe://prod/agent/a/b",
            "spiffe://prod/agent/../server",
            "spiffe://prod/agent/a?x",
            "spiffe://prod/agent/A",
            "spiffe://prod/agent/a%2e",
            "spiffe://prod/server/",
            "spiffe://prod/server/x",
            "spiffe://Prod/server",
            "spiffe://user@prod/server",
            "spiffe://prod:443/server",
            "SPIFFE://prod/server",
            "https://prod/server",
            " spiffe://prod/server",
            "spiffe:///server",
        ] {
            assert!(text.parse::<Identity>().is_err(), "{text:?} was taken");
        }
    }
}
