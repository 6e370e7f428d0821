//! Freezes: made, ended, listed.

use super::{operators::Answer, permit::Permit, request, views};
use crate::fleet::{Asker, FreezeRecord, FreezeRequest};
use handover_model::Timestamp;
use handover_proto::v1;
use tonic::{Request, Response};

pub(super) async fn freeze(wire: Request<v1::FreezeRequest>) -> Answer<v1::FreezeResponse> {
    let permit = Permit::of(&wire)?;
    let v1::FreezeRequest { service, reason, from_unix_millis, until_unix_millis, request_id } =
        wire.into_inner();
    let scope = request::scope(&service)?;
    let access = permit.locks(&scope)?;
    let asker = Asker { request: request_id, ..access.asker() };
    let subject = access.subject().reason(&*reason).request(&*asker.request);
    let asked = FreezeRequest {
        scope,
        reason,
        from: Timestamp::from_unix_millis(from_unix_millis),
        until: (until_unix_millis > 0).then(|| Timestamp::from_unix_millis(until_unix_millis)),
    };
    let answer = access.change(subject, move |desk, subject| {
        let said = desk.state.freeze(&asked, &asker, desk.now, desk.effects)?;
        subject.say(&*said);
        Ok(v1::FreezeResponse { answer: said })
    });
    Ok(Response::new(answer.await?))
}

pub(super) async fn unfreeze(wire: Request<v1::UnfreezeRequest>) -> Answer<v1::FreezeResponse> {
    let permit = Permit::of(&wire)?;
    let v1::UnfreezeRequest { number } = wire.into_inner();
    let (permit, scope) = permit.frozen_by(number).await?;
    let access = permit.locks(&scope)?;
    let asker = access.asker();
    let subject = access.subject();
    let answer = access.change(subject, move |desk, subject| {
        let said = desk.state.unfreeze(number, &asker, desk.effects)?;
        subject.say(&*said);
        Ok(v1::FreezeResponse { answer: said })
    });
    Ok(Response::new(answer.await?))
}

/// Those that hold or are to come, of the services that this operator may see.
pub(super) async fn list(wire: Request<v1::ListFreezesRequest>) -> Answer<v1::ListFreezesResponse> {
    let access = Permit::of(&wire)?.filtered(None)?;
    let seen_by = access.clone();
    let freezes = access.look(move |state, now| {
        let seen =
            |freeze: &FreezeRecord| freeze.service.as_ref().is_none_or(|service| seen_by.sees(service));
        let freezes = state.freezes(now).filter(|(_, freeze)| seen(freeze));
        Ok(freezes.map(|(number, freeze)| views::freeze(number, freeze)).collect())
    });
    Ok(Response::new(v1::ListFreezesResponse { freezes: freezes.await? }))
}
