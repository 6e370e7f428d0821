//! What rehearsals showed.

use super::{operators::Answer, permit::Permit, request};
use crate::fleet::{FlipRecord, RehearsalRecord, State};
use handover_model::{DeploymentId, ServiceName, Timestamp};
use handover_proto::v1;
use tonic::{Request, Response};

/// Those of a service that are remembered.
pub(super) async fn list(wire: Request<v1::ListRehearsalsRequest>) -> Answer<v1::ListRehearsalsResponse> {
    let permit = Permit::of(&wire)?;
    let v1::ListRehearsalsRequest { service } = wire.into_inner();
    let service: ServiceName = request::parse("service", &service)?;
    let access = permit.service(&service)?;
    let rehearsals = access.look(move |state, _| {
        let of_service = state.rehearsals(&service)?;
        Ok(of_service.rev().map(|(id, record)| view(id, record)).collect())
    });
    Ok(Response::new(v1::ListRehearsalsResponse { rehearsals: rehearsals.await? }))
}

/// What a deployment showed that is a rehearsal.
pub(super) fn of(state: &State, id: DeploymentId) -> Option<v1::Rehearsal> {
    state.rehearsal(id).map(|record| view(id, record))
}

pub(super) fn view(id: DeploymentId, rehearsal: &RehearsalRecord) -> v1::Rehearsal {
    let RehearsalRecord { service, host, from, to, by, began, forward, back, ledger, ended, reason, .. } =
        rehearsal;
    let answered = rehearsal.answered();
    v1::Rehearsal {
        deployment: id.number(),
        service: service.to_string(),
        host: host.to_string(),
        from_version: from.to_string(),
        to_version: to.to_string(),
        by: by.clone(),
        began_unix_millis: began.unix_millis(),
        ended_unix_millis: ended.map_or(0, Timestamp::unix_millis),
        succeeded: rehearsal.succeeded(),
        reason: reason.clone(),
        forward: forward.as_ref().map(flip),
        back: back.as_ref().map(flip),
        ledger: ledger.map(Into::into),
        requests: answered.map(|answered| answered.requests),
        bad: answered.map(|answered| answered.bad),
    }
}

fn flip(flip: &FlipRecord) -> v1::RehearsedFlip {
    let FlipRecord { ordered, reported, nanos } = *flip;
    let took = |reported: Timestamp| u64::try_from(reported.since(ordered).as_millis()).unwrap_or(u64::MAX);
    v1::RehearsedFlip {
        ordered_unix_millis: ordered.unix_millis(),
        reported_millis: reported.map(took),
        nanos,
    }
}
