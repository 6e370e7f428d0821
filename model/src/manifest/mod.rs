//! The manifest `handover.toml`: what a service is and how it wants to be run.
//!
//! [`Manifest::parse`] finds all mistakes at once, each with its line and column. [`Manifest::for_host`] puts a
//! host's own values in and gives a [`HostManifest`], in which nothing is left to be resolved.
//!
//! The text is walked as a table with positions instead of being derived with serde, because serde stops at the
//! first mistake. Names, ranges and words of the keys stand in one table, [`LANGUAGE`], which the walk obeys and from
//! which the JSON Schema and the reference are made.

mod canary;
mod host;
mod keys;
mod listener;
mod metrics;
mod preflight;
mod probe;
mod process;
mod read;
mod rollout;
mod schema;
mod template;
mod verify;

pub use crate::language::{
    Absent, Entry, Mistake, Mistakes, Shape, Table, Text, WrongFile, end, printable, shown, source,
};
pub use canary::{Inconclusive, JudgeConfig, MAX_STEPS, MaxSlow, Millionths, StepConfig};
pub use host::HostManifest;
pub use keys::LANGUAGE;
pub use listener::{Handoff, Listener, ListenerName, ListenerNameError};
pub use metrics::{EndpointMetrics, MetricsConfig, MetricsSource, PARTS_LABEL, PrometheusMetrics};
pub use preflight::{MAX_COMPATIBLE, PreflightPolicy, Releases, ReleasesError, Stops};
pub use probe::{Check, HttpCheck, Liveness, Probe, Readiness, ReadinessCheck};
pub use process::{CoreLimit, CpuLimit, Drain, LogTarget, Logs, ResourceLimits, Restart, Signal};
pub use rollout::{Approve, Batch, Offline, OnFailure, Rehearsal, RolloutConfig, Strategy};
pub use schema::{DatabaseKind, MAX_USES, MAX_USES_BYTES, SchemaConfig};
pub use template::{Template, TemplateError};
pub use verify::Verify;

use crate::{Labels, ServiceName};
use std::{collections::BTreeMap, path::PathBuf, time::Duration};

/// Longest manifest that is read, in bytes.
pub const MAX_MANIFEST_BYTES: usize = 64 * 1024;
/// Most listeners of a service.
pub const MAX_LISTENERS: usize = 16;
/// Most commands that a candidate must pass.
pub const MAX_VERIFY_COMMANDS: usize = 16;
/// Most environment variables that a manifest sets.
pub const MAX_ENVIRONMENT: usize = 256;
/// Most words of a command, the program included.
pub const MAX_ARGUMENTS: usize = 256;
/// Longest word of a command and longest environment value, in bytes, with the host's values put in.
pub const MAX_TEXT_BYTES: usize = 32 * 1024;
/// Most labels that a service may ask of its hosts.
pub const MAX_HOST_LABELS: usize = 64;
/// Longest deadline that can be asked for.
pub const MAX_DEADLINE: Duration = Duration::from_secs(24 * 60 * 60);

/// A service as its manifest describes it, the same for every host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Its name, unique in the fleet.
    pub service: ServiceName,
    /// Program and arguments, 1 to [`MAX_ARGUMENTS`] words. A relative program lies beneath the release's directory.
    pub command: Vec<Template>,
    /// User that the program runs as, by name or number; the agent's own where there is none.
    pub user: Option<String>,
    /// Group that the program runs as, by name or number; the user's own where there is none.
    pub group: Option<String>,
    /// Where the program starts: beneath the release's directory, or absolute. Never contains `..` where relative.
    pub working_directory: PathBuf,
    /// Labels that a host must have, with these values, to run the service; none: every host.
    pub hosts: Labels,
    /// The releases that it declares to run beside, at most [`MAX_COMPATIBLE`]; none: nothing is declared.
    pub compatible: Vec<Releases>,
    /// Environment variables, at most [`MAX_ENVIRONMENT`].
    pub environment: BTreeMap<String, Template>,
    /// In the order of the file, which is the order of the descriptors from 3. At most [`MAX_LISTENERS`].
    pub listeners: Vec<Listener<Template>>,
    /// When an instance may get a share.
    pub readiness: Readiness<Template>,
    /// What must go on holding afterwards, where it is watched.
    pub liveness: Option<Liveness<Template>>,
    /// What a candidate must pass before it counts as ready, where it must.
    pub verify: Option<Verify<Template>>,
    /// Where it counts its requests; `None` where it does not, or nobody looks.
    pub metrics: Option<MetricsConfig>,
    /// How an instance is taken out.
    pub drain: Drain,
    /// How an instance that ended by itself is started again.
    pub restart: Restart,
    /// What an instance may use.
    pub limits: ResourceLimits,
    /// Where its output goes.
    pub logs: Logs,
    /// How a new release is carried to the hosts where the operator says nothing else.
    pub rollout: RolloutConfig,
    /// How a canary is judged.
    pub judge: JudgeConfig,
    /// Which findings of the preflight refuse its deployment.
    pub preflight: PreflightPolicy,
    /// What it needs of its database's schema, where it has one.
    pub schema: Option<SchemaConfig>,
}

impl Manifest {
    /// Whether a host with these labels runs the service.
    #[must_use]
    pub fn runs_on(&self, labels: &Labels) -> bool {
        self.hosts.iter().all(|(key, value)| labels.get(key) == Some(value))
    }

    /// Reads a manifest as it came from a file or the network.
    ///
    /// # Errors
    /// As [`Manifest::parse`], and for bytes that are no UTF-8: they are named as UTF-16, binary or damaged text.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Mistakes> {
        Self::parse(crate::language::text(bytes, &read::MANIFEST)?)
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// Everything that is wrong, at once: mistakes of syntax, unknown, missing and meaningless keys, values of a wrong
    /// type or outside their range. Where the syntax is wrong, what depends on what could not be read is not among
    /// them. A text longer than [`MAX_MANIFEST_BYTES`] is refused unread.
    pub fn parse(text: &str) -> Result<Self, Mistakes> {
        read::manifest(text)
    }
}

#[cfg(test)]
mod tests;
