//! What an operator may do, and with which services.

use handover_model::ServiceName;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt, str::FromStr};

/// What an operator may do. Each role may do what the one before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Looks and watches.
    Viewer,
    /// Pushes releases, deploys, rolls back, aborts.
    Deployer,
    /// Everything: hosts, tokens, operators, the audit.
    Admin,
}

/// A text that is no role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no role: expected viewer, deployer or admin")]
pub struct RoleError(String);

impl Role {
    /// All of them, the least first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Deployer, Self::Admin];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Deployer => "deployer",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Self, RoleError> {
        let role = Self::ALL.into_iter().find(|role| role.as_str() == text);
        role.ok_or_else(|| RoleError(text.chars().take(100).collect()))
    }
}

/// What an operator was given: a role, and the services that it is limited to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// What may be done.
    pub role: Role,
    /// With which services; empty for all.
    pub services: BTreeSet<ServiceName>,
}

impl Grant {
    /// Everything, with all services.
    #[must_use]
    pub const fn everything() -> Self {
        Self { role: Role::Admin, services: BTreeSet::new() }
    }

    /// Whether it is for this service too.
    #[must_use]
    pub fn covers(&self, service: &ServiceName) -> bool {
        self.services.is_empty() || self.services.contains(service)
    }

    /// Whether it is for every service.
    #[must_use]
    pub fn covers_all(&self) -> bool {
        self.services.is_empty()
    }
}
