//! Names that occur in identities only: of the fleet, and of operators.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A name that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no {what} name: expected 1 to 63 of the characters a-z, 0-9, '-' and '.', beginning and ending with a letter or digit"
)]
pub struct IdentityNameError {
    what: &'static str,
    text: String,
}

/// The same alphabet as a host's name, so that each part of a SPIFFE ID is safe in a path and on a terminal.
fn check(what: &'static str, text: &str) -> Result<(), IdentityNameError> {
    match text.parse::<handover_model::HostName>() {
        Ok(_) => Ok(()),
        Err(_) => Err(IdentityNameError { what, text: text.chars().take(100).collect() }),
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = IdentityNameError;

            fn from_str(text: &str) -> Result<Self, IdentityNameError> {
                check($what, text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $type {
            type Error = IdentityNameError;

            fn try_from(text: String) -> Result<Self, IdentityNameError> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// The name of the fleet, the trust domain of its identities: 1 to 63 of `a-z 0-9 - .`.
    FleetName, "fleet"
}
name! {
    /// The name of an operator, a person or a machine that deploys: 1 to 63 of `a-z 0-9 - .`.
    OperatorName, "operator"
}
