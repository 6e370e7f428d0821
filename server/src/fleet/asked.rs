//! What an operator asks for when a deployment is to begin.

use super::records::{DeploymentRecord, Purpose};
use handover_model::{Duration, HostName, Resolution, SchemaPhase, ServiceName, Version};
use std::collections::BTreeSet;

/// What an operator asks for.
#[derive(Clone, Debug)]
pub struct DeploymentRequest {
    /// Of which service.
    pub service: ServiceName,
    /// What; not with `rollback`.
    pub version: Option<Version>,
    /// Back to the previous release.
    pub rollback: bool,
    /// Only these hosts; empty: all.
    pub hosts: BTreeSet<HostName>,
    /// The operator's name for the request; empty for none.
    pub request: String,
    /// Takes the locks of others that are in the way, for this reason; `None`: is refused by them.
    pub take_over: Option<String>,
    /// Goes although a freeze forbids it, for this reason; `None`: is refused by it.
    pub override_freeze: Option<String>,
    /// There and, after this time, back on one host; `None`: it is to stay.
    pub rehearse: Option<Duration>,
    /// Goes although it should be rehearsed before and was not, for this reason; `None`: is refused then.
    pub override_rehearsal: Option<String>,
    /// Goes although a point of its preflight stops it, for this reason; `None`: is refused then.
    pub override_preflight: Option<String>,
    /// One phase of the release's migrations by itself, instead of the release; without a version those of the current one.
    pub migrate: Option<SchemaPhase>,
    /// Migrates although it takes away what could be gone back to, for this reason; `None`: is refused then.
    pub force: Option<String>,
    /// With `migrate`: what a person found of a migration that an earlier attempt left half, and why it is so.
    pub resolve: Option<(Resolution, String)>,
    /// Whoever asks may change some services only.
    pub limited: bool,
}

impl DeploymentRequest {
    /// A release to all hosts of its service, with nothing overridden and no id.
    pub(super) fn of(service: &ServiceName, version: &Version) -> Self {
        Self {
            service: service.clone(),
            version: Some(version.clone()),
            rollback: false,
            hosts: BTreeSet::new(),
            request: String::new(),
            take_over: None,
            override_freeze: None,
            rehearse: None,
            override_rehearsal: None,
            override_preflight: None,
            migrate: None,
            force: None,
            resolve: None,
            limited: false,
        }
    }

    /// The command that asks for it.
    pub(super) fn command(&self) -> String {
        let (service, version) = (&self.service, self.version.as_ref());
        if self.rollback {
            return format!("handover rollback {service}");
        }
        let (verb, option) = match (self.rehearse, self.migrate) {
            (Some(_), _) => ("rehearse".to_owned(), "--release"),
            (None, Some(phase)) => (format!("migrate {phase}"), "--release"),
            (None, None) => ("deploy".to_owned(), "--version"),
        };
        let which = version.map(|version| format!(" {option} {version}")).unwrap_or_default();
        format!("handover {verb} {service}{which}")
    }
}

/// Whether the deployment is what the request asks for.
pub(super) fn answers(record: &DeploymentRecord, request: &DeploymentRequest) -> bool {
    record.release.service == request.service
        && (record.purpose == Purpose::Rollback) == request.rollback
        && (record.purpose == Purpose::Rehearsal) == request.rehearse.is_some()
        && (record.purpose == Purpose::Migration) == request.migrate.is_some()
        && request.version.as_ref().is_none_or(|version| record.release.version == *version)
}
