//! Reading requests: text becomes names, or the caller is told which field is none.

use super::caller::Caller;
use crate::fleet::{Asker, LockScope, Role};
use handover_identity::SignError;
use handover_model::{HostName, Labels, ServiceName, Version};
use handover_proto::{
    convert::ConvertError,
    status::{Reason, refuse},
    v1,
};
use std::{collections::BTreeSet, fmt::Display, str::FromStr, time::Duration};
use tonic::{Request, Status};

/// Most hosts that a request names.
const MAX_HOSTS: usize = 10_000;

/// A field that must be there.
pub(super) fn parse<T: FromStr<Err: Display>>(field: &str, text: &str) -> Result<T, Status> {
    text.parse().map_err(|error: T::Err| ConvertError::new(field, error).into())
}

/// A field that may be empty.
pub(super) fn parse_optional<T: FromStr<Err: Display>>(field: &str, text: &str) -> Result<Option<T>, Status> {
    if text.is_empty() { Ok(None) } else { parse(field, text).map(Some) }
}

/// Labels; whether they are any is the fleet's to say.
pub(super) fn labels(labels: std::collections::HashMap<String, String>) -> Labels {
    labels.into_iter().collect()
}

/// What an operator wants deployed; `limited`: one who may change some services only.
pub(super) fn deployment(
    wire: v1::DeploymentRequest,
    limited: bool,
) -> Result<crate::fleet::DeploymentRequest, Status> {
    let v1::DeploymentRequest {
        service,
        version,
        request_id,
        rollback,
        hosts,
        take_over,
        reason,
        override_freeze,
        rehearse_millis,
        override_rehearsal,
        override_preflight,
        migrate,
        force,
        resolve,
    } = wire;
    let service: ServiceName = parse("service", &service)?;
    let version: Option<Version> = parse_optional("version", &version)?;
    Ok(crate::fleet::DeploymentRequest {
        service,
        version,
        rollback,
        hosts: hosts_of(&hosts)?,
        request: request_id,
        take_over: take_over.then(|| reason.clone()),
        override_freeze: override_freeze.then(|| reason.clone()),
        rehearse: rehearse_millis.map(Duration::from_millis),
        override_rehearsal: override_rehearsal.then(|| reason.clone()),
        override_preflight: override_preflight.then(|| reason.clone()),
        migrate: match v1::SchemaPhase::try_from(migrate) {
            Ok(v1::SchemaPhase::Unspecified) => None,
            Ok(phase) => Some(phase.try_into()?),
            Err(_) => return Err(ConvertError::new("migrate", "is no phase that this version knows").into()),
        },
        force: force.then(|| reason.clone()),
        resolve: parse_optional("resolve", &resolve)?.map(|found| (found, reason)),
        limited,
    })
}

pub(super) fn hosts_of(hosts: &[String]) -> Result<BTreeSet<HostName>, Status> {
    if hosts.len() > MAX_HOSTS {
        return Err(
            ConvertError::new("hosts", format!("has {} entries, at most {MAX_HOSTS}", hosts.len())).into()
        );
    }
    hosts.iter().map(|host| parse("hosts", host)).collect()
}

/// What an operator wants done to a deployment.
#[derive(Debug)]
pub(super) struct Control {
    /// To the one of this number; 0 for the newest of the service.
    pub(super) id: u64,
    /// Of this service; may be empty where there is a number.
    pub(super) service: String,
    /// Why; may be empty.
    pub(super) reason: String,
    /// Which of its hosts; empty: all that it concerns.
    pub(super) hosts: BTreeSet<HostName>,
    /// By whom.
    pub(super) asker: Asker,
}

pub(super) fn control(wire: v1::ControlDeploymentRequest, asker: Asker) -> Result<Control, Status> {
    let v1::ControlDeploymentRequest { id, service, reason, request_id, take_over, hosts } = wire;
    let asker = Asker { request: request_id, take_over: take_over.then(|| reason.clone()), ..asker };
    Ok(Control { id, service, reason, hosts: hosts_of(&hosts)?, asker })
}

pub(super) fn abort(wire: v1::AbortDeploymentRequest, asker: Asker) -> Control {
    let v1::AbortDeploymentRequest { id, service, reason, request_id, take_over } = wire;
    let asker = Asker { request: request_id, take_over: take_over.then(|| reason.clone()), ..asker };
    Control { id, service, reason, hosts: BTreeSet::new(), asker }
}

/// What is to be locked: a service, or the fleet where none is named.
pub(super) fn scope(service: &str) -> Result<LockScope, Status> {
    Ok(parse_optional("service", service)?.map_or(LockScope::Fleet, LockScope::Service))
}

/// Services that an operator is limited to.
pub(super) fn services(services: &[String]) -> Result<BTreeSet<ServiceName>, Status> {
    services.iter().map(|service| parse("services", service)).collect()
}

/// A role, where one is named.
pub(super) fn role(role: v1::OperatorRole) -> Option<Role> {
    match role {
        v1::OperatorRole::Unspecified => None,
        v1::OperatorRole::Viewer => Some(Role::Viewer),
        v1::OperatorRole::Deployer => Some(Role::Deployer),
        v1::OperatorRole::Admin => Some(Role::Admin),
    }
}

/// The agent who calls: its host and its certificate's serial number.
pub(super) fn agent<T>(request: &Request<T>) -> Result<(HostName, String), Status> {
    match request.extensions().get::<Caller>() {
        Some(Caller::Agent { host, serial }) => Ok((host.clone(), serial.clone())),
        Some(Caller::Operator { .. } | Caller::Local { .. } | Caller::Nobody) | None => {
            Err(Status::unauthenticated("only agents call this"))
        }
    }
}

/// A certificate that was not signed.
pub(super) fn not_signed(error: &SignError) -> Status {
    refuse(Reason::InvalidRequest, handover_model::chain(error), "")
}
