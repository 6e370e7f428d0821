//! What operators do to deployments and locks: asked of the fleet in one go, so that two at once have an order.

use super::{deployments, operators::Answer, permit::Permit, request, views};
use crate::fleet::{Act, Asker, LockScope, Refusal, Whose};
use handover_model::Duration;
use handover_proto::v1;
use tonic::{Request, Response};

/// Does something to a deployment, and shows it as it is then.
pub(super) async fn deployment(permit: Permit, asked: request::Control, act: Act) -> Answer<v1::Deployment> {
    let request::Control { id, service, reason, asker, .. } = asked;
    let (access, whose) = if id == 0 {
        let service = request::parse("service", &service)?;
        (permit.service(&service)?, Whose::Newest(service))
    } else {
        let (access, id) = permit.deployment(id, "").await?;
        (access, Whose::Deployment(id))
    };
    // A retry after the end looks at hosts that may be in the journal only.
    let looked = whose.clone();
    let ended = matches!(act, Act::Retry { .. });
    let absent = access.look(move |state, _| {
        let id = state.whose(&looked)?;
        let (_, in_memory) = state.deployment(id)?;
        Ok::<_, Refusal>((ended && in_memory.is_none()).then_some(id))
    });
    let engine = match absent.await? {
        Some(id) => Some(access.replayed(id).await?),
        None => None,
    };
    let subject = access.subject().reason(reason).request(&*asker.request);
    let done = access
        .change(subject, move |desk, subject| {
            let done = desk.state.control(&whose, &act, engine.as_ref(), &asker, desk.now, desk.effects)?;
            let taken = if asker.take_over.is_some() { "; with --take-over" } else { "" };
            subject.say(format!("{}{taken}", done.said));
            Ok(done)
        })
        .await?;
    let shown = deployments::shown(&access, done.deployment).await?;
    Ok(Response::new(v1::Deployment { answer: done.said, ..shown }))
}

pub(super) async fn lock(wire: Request<v1::LockRequest>) -> Answer<v1::LockResponse> {
    let permit = Permit::of(&wire)?;
    let v1::LockRequest { service, reason, lease_seconds, take_over, request_id } = wire.into_inner();
    let scope = request::scope(&service)?;
    let access = permit.locks(&scope)?;
    let asker = Asker { request: request_id, take_over: take_over.then(|| reason.clone()), ..access.asker() };
    let lease = Duration::from_secs(lease_seconds);
    let subject = access.subject().reason(&*reason).request(&*asker.request);
    let answer = access.change(subject, move |desk, subject| {
        let said = desk.state.lock(scope.clone(), &reason, lease, &asker, desk.now, desk.effects)?;
        subject.say(&*said);
        Ok(shown(said, desk.state, &scope, desk.now))
    });
    Ok(Response::new(answer.await?))
}

pub(super) async fn unlock(wire: Request<v1::UnlockRequest>) -> Answer<v1::LockResponse> {
    let permit = Permit::of(&wire)?;
    let v1::UnlockRequest { service, take_over, reason, request_id } = wire.into_inner();
    let scope = request::scope(&service)?;
    let access = permit.locks(&scope)?;
    let subject = access.subject().reason(&*reason).request(&*request_id);
    let asker = Asker { request: request_id, take_over: take_over.then_some(reason), ..access.asker() };
    let answer = access.change(subject, move |desk, subject| {
        let said = desk.state.unlock(&scope, &asker, desk.now, desk.effects)?;
        subject.say(&*said);
        Ok(shown(said, desk.state, &scope, desk.now))
    });
    Ok(Response::new(answer.await?))
}

fn shown(
    answer: String,
    state: &crate::fleet::State,
    scope: &LockScope,
    now: handover_model::Timestamp,
) -> v1::LockResponse {
    v1::LockResponse { answer, lock: state.lock_on(scope, now).map(views::lock) }
}
