//! The fleet: one task owns everything the server knows, decides one thing after the other, writes, then acts.

mod actor;
mod asked;
mod auditing;
pub mod check;
mod clock;
mod clones;
mod contact;
mod control;
mod deployments;
mod effects;
mod freezes;
mod hosts;
mod judging;
mod locks;
mod operators;
mod persist;
mod preflight;
mod previews;
mod queries;
mod records;
mod refusal;
mod rehearsals;
mod releases;
mod renewal;
mod reports;
mod requests;
mod role;
mod schemas;
mod services;
mod standby;
mod state;
mod telling;
#[cfg(test)]
mod tests;
mod tokens;
mod vitals;

pub use actor::{Desk, Fleet, FleetError, Link};
pub use asked::DeploymentRequest;
pub use contact::Introduction;
pub use control::{Act, Controlled, Whose};
pub use deployments::Live;
pub use effects::Effects;
pub use freezes::FreezeRequest;
pub use hosts::{Enrolment, HostChange};
pub(crate) use judging::{Arms, LEARNT, halves, judge_settings};
pub use judging::{Asked, BlockView, CanaryView, HistoryView, PrometheusView};
pub use locks::{Asker, LockScope};
pub use operators::{CertificateRecord, OperatorRecord, OperatorRequest, RevocationRecord, Roster, granted};
pub use persist::LoadError;
pub use preflight::{Grade, LessonRecord, Point, Preflight};
pub use previews::Hidden;
pub use records::{
    AssignmentRecord, CloneAlarm, DeploymentRecord, Ending, FreezeRecord, HostRecord, LockRecord, Purpose,
    RenewedCertificate, ServiceRecord, TakenLock, TokenRecord,
};
pub use refusal::Refusal;
pub use rehearsals::{FlipRecord, RehearsalRecord};
pub use role::{Grant, Role, RoleError};
pub(crate) use schemas::REMEMBERED;
pub use schemas::{
    LintRecord, Lost, Reader, ReleaseColumns, ReleaseSchema, SchemaView, SeenSchema, Soak, Works,
};
pub use services::CATCH_UP;
pub use state::{Host, State, StoredRelease};
pub use vitals::Vitals;
