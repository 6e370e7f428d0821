//! The nouns of Handover as types: what an operator, the server and an agent talk about.
//!
//! Nothing here does I/O or knows a runtime, a wire format or a store. Every value that exists is valid:
//! constructors check, fields are private where a wrong value could be written.

mod chain;
mod column;
mod digest;
mod disk;
mod facts;
mod flip;
pub mod language;
mod manifest;
mod measurement;
mod migration;
mod name;
mod nearest;
mod pin;
mod release;
mod report;
mod schema;
mod selector;
pub mod settings;
mod share;
mod target;
mod time;

pub use chain::chain;
pub use column::{ColumnPattern, ColumnPatternError, MAX_NAME_BYTES, lost_of};
pub use digest::{Digest, DigestError};
pub use disk::{Disk, Room, Unwritten, in_bytes};
pub use facts::HostFacts;
pub use flip::{Confirm, Confirmation, ConfirmationState, FlipReport, Readings};
pub use measurement::{
    Ends, Latency, LatencyError, MAX_LATENCY_EDGES, Measurement, Refused, Sample, Traffic, Usage,
};
pub use migration::{
    Found, MAX_MIGRATION_BYTES, MAX_MIGRATIONS, MAX_READERS, MigrationId, MigrationKind, MigrationName,
    MigrationNameError, MigrationState, MigrationTarget, Resolution, ResolutionError, SchemaReader,
};
pub use name::{
    DeploymentId, HostName, InstanceId, Label, LabelError, Labels, NameError, ServiceName, Version,
    VersionError,
};
pub use nearest::nearest;
pub use pin::{PinSource, address_variable, reached_at};
pub use release::{BundleDescriptor, Release, ReleaseRef};
pub use report::{DrainLedger, HostReport, InstancePhase, InstanceReport};
pub use schema::{SchemaPhase, SchemaRange, SchemaRangeError, SchemaVersion};
pub use selector::{MAX_MATCHERS, MAX_SELECTOR_BYTES, Matcher, Selector, SelectorMistake};
pub use share::{Share, ShareError};
pub use target::{HostValues, InstanceTarget, ServiceTarget, Target, TargetError};
pub use time::{Duration, Timestamp};

pub mod config {
    //! The manifest `handover.toml`: what a service is and how it wants to be run.
    pub use crate::manifest::*;
}
