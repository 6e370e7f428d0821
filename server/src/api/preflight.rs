//! The points that are looked at before a release is deployed.

use super::{operators::Answer, permit::Permit, request};
use crate::fleet::{Preflight, Purpose, Refusal, State};
use handover_model::{ReleaseRef, ServiceName, Timestamp, Version};
use handover_proto::v1;
use tonic::{Request, Response};

/// Those of a release.
pub(super) async fn get(wire: Request<v1::GetPreflightRequest>) -> Answer<v1::Preflight> {
    let permit = Permit::of(&wire)?;
    let v1::GetPreflightRequest { service, version } = wire.into_inner();
    let service: ServiceName = request::parse("service", &service)?;
    let version: Option<Version> = request::parse_optional("version", &version)?;
    let access = permit.service(&service)?;
    let preflight = access.look(move |state, now| {
        state.preflight(&service, version.as_ref(), now).map(|preflight| view(&preflight))
    });
    Ok(Response::new(preflight.await?))
}

/// Those of what a plan carries forward.
pub(super) fn of(
    state: &State,
    release: &ReleaseRef,
    purpose: Purpose,
    now: Timestamp,
) -> Result<Option<v1::Preflight>, Refusal> {
    match purpose {
        Purpose::Release | Purpose::NamedHosts => state
            .preflight(&release.service, Some(&release.version), now)
            .map(|preflight| Some(view(&preflight))),
        Purpose::Rollback | Purpose::CatchUp | Purpose::Rehearsal | Purpose::Migration => Ok(None),
    }
}

fn view(preflight: &Preflight) -> v1::Preflight {
    let points = preflight.points.iter().map(|point| v1::PreflightPoint {
        number: point.subject.number(),
        name: point.subject.name().to_owned(),
        grade: point.grade.to_string(),
        evidence: point.evidence.clone(),
        advice: point.advice.clone(),
        stops: preflight.stops(point),
    });
    v1::Preflight {
        service: preflight.release.service.to_string(),
        version: preflight.release.version.to_string(),
        current_version: preflight.current.as_ref().map(ToString::to_string).unwrap_or_default(),
        points: points.collect(),
    }
}
