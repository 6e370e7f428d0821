//! Deployments: planned, begun, shown, listed.

use super::{
    canary,
    permit::{Access, Permit, Subject},
    preflight, rehearsals, request, views,
};
use crate::fleet::{DeploymentRecord, DeploymentRequest, Refusal};
use handover_model::{DeploymentId, ServiceName};
use handover_proto::v1;
use tonic::Status;

/// Deployments in a list where nothing is said.
const LISTED: usize = 20;
/// Deployments in a list at most.
const MOST_LISTED: usize = 200;

/// What a deployment would do.
pub(super) async fn plan(permit: Permit, request: v1::DeploymentRequest) -> Result<v1::Plan, Status> {
    let request = request::deployment(request, permit.asker().limited)?;
    let access = permit.service(&request.service)?;
    let plan = access.look(move |state, now| {
        let (plan, purpose) = state.plan_deployment(&request, now)?;
        let preflight = preflight::of(state, &plan.release, purpose, now)?;
        Ok(v1::Plan { preflight, ..views::plan(&plan) })
    });
    Ok(plan.await?)
}

/// Begins a deployment, and shows it.
pub(super) async fn create(permit: Permit, request: v1::DeploymentRequest) -> Result<v1::Deployment, Status> {
    let request = request::deployment(request, permit.asker().limited)?;
    let access = permit.service(&request.service)?;
    let by = access.by();
    let DeploymentRequest {
        take_over,
        override_freeze,
        override_rehearsal,
        override_preflight,
        force,
        resolve,
        ..
    } = &request;
    let why = [take_over, override_freeze, override_rehearsal, override_preflight, force];
    let why = why.into_iter().find_map(Option::as_ref).or(resolve.as_ref().map(|(_, why)| why));
    let taken = why.cloned().unwrap_or_default();
    let subject = Subject::service(&request.service).request(&*request.request).reason(taken);
    let id = access.change(subject, move |desk, subject| {
        let id = desk.state.create_deployment(&request, &by, desk.now, desk.effects)?;
        let version = &desk.state.deployment(id)?.0.release.version;
        let rollback = if request.rollback { ", a rollback" } else { "" };
        let taken = if request.take_over.is_some() { "; with --take-over" } else { "" };
        let rehearsal = if request.rehearse.is_some() { ", a rehearsal" } else { "" };
        let overridden = if request.override_freeze.is_some() { "; with --override-freeze" } else { "" };
        let unrehearsed =
            if request.override_rehearsal.is_some() { "; with --override-rehearsal" } else { "" };
        let unchecked = if request.override_preflight.is_some() { "; with --override-preflight" } else { "" };
        let migrates = request.migrate.map(|phase| format!(", {phase} alone")).unwrap_or_default();
        let resolved =
            request.resolve.as_ref().map(|(found, _)| format!("; with --resolve {found}")).unwrap_or_default();
        let forced = if request.force.is_some() { "; with --force" } else { "" };
        subject.say(format!(
            "{id} to {version}{rollback}{rehearsal}{migrates}{taken}{overridden}{unrehearsed}{unchecked}{forced}{resolved}"
        ));
        Ok(id)
    });
    let id = id.await?;
    Ok(shown(&access, id).await?)
}

/// A deployment, from memory or from the journal.
pub(super) async fn shown(access: &Access, id: DeploymentId) -> Result<v1::Deployment, Refusal> {
    let seen: Result<v1::Deployment, (DeploymentRecord, Option<v1::Rehearsal>)> = access
        .look(move |state, _| {
            let (record, live) = state.deployment(id)?;
            let canary = state.canary(id).map(canary::view);
            let rehearsal = rehearsals::of(state, id);
            let shown = live.map(|live| v1::Deployment {
                canary,
                rehearsal: rehearsal.clone(),
                ..views::deployment(id, record, live)
            });
            Ok(shown.ok_or_else(|| (record.clone(), rehearsal)))
        })
        .await?;
    match seen {
        Ok(deployment) => Ok(deployment),
        Err((record, rehearsal)) => {
            let engine = access.replayed(id).await?;
            Ok(v1::Deployment { rehearsal, ..views::deployment_from_journal(id, &record, engine) })
        }
    }
}

/// The newest deployments of a service, or of all that this operator may see.
pub(super) async fn list(
    permit: Permit,
    request: v1::ListDeploymentsRequest,
) -> Result<v1::ListDeploymentsResponse, Status> {
    let v1::ListDeploymentsRequest { service, limit } = request;
    let service: Option<ServiceName> = request::parse_optional("service", &service)?;
    let limit = match usize::try_from(limit) {
        Ok(0) => LISTED,
        Ok(limit) => limit.min(MOST_LISTED),
        Err(_) => MOST_LISTED,
    };
    let access = permit.filtered(service.as_ref())?;
    let seen_by = access.clone();
    let deployments = access.look(move |state, _| {
        let seen = state.deployments(service).filter(|(_, record, _)| seen_by.sees(&record.release.service));
        let newest = seen.take(limit);
        let summary = |(id, record, live)| v1::Deployment {
            rehearsal: rehearsals::of(state, id),
            ..views::summary(id, record, live)
        };
        Ok(newest.map(summary).collect())
    });
    Ok(v1::ListDeploymentsResponse { deployments: deployments.await? })
}
