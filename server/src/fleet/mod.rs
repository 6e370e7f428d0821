//! The fleet: one task owns everything the server knows, decides one thing after the other, writes, then acts.

mod actor;
mod auditing;
mod contact;
mod deployments;
mod effects;
mod hosts;
mod operators;
mod persist;
mod queries;
mod records;
mod refusal;
mod releases;
mod reports;
mod role;
mod services;
mod state;
#[cfg(test)]
mod tests;
mod tokens;

pub use actor::{Desk, Fleet, FleetError, Link};
pub use contact::Introduction;
pub use deployments::{DeploymentRequest, Live};
pub use effects::Effects;
pub use hosts::{Enrolment, HostChange};
pub use operators::{CertificateRecord, OperatorRecord, OperatorRequest, RevocationRecord, Roster, granted};
pub use persist::LoadError;
pub use records::{
    AssignmentRecord, DeploymentRecord, Ending, HostRecord, Purpose, ServiceRecord, TokenRecord,
};
pub use refusal::Refusal;
pub use role::{Grant, Role, RoleError};
pub use services::CATCH_UP;
pub use state::{Host, State, StoredRelease};
