//! What operators do to deployments and locks: asked of the fleet in one go, so that two at once have an order.

use super::{
    Context,
    operators::{Answer, Operators},
    request, views,
};
use crate::fleet::{Act, Asker, LockScope, Refusal};
use handover_model::Duration;
use handover_proto::v1;
use tonic::{Request, Response};

/// Does something to a deployment, and shows it as it is then.
pub(super) async fn deployment(
    context: &Context,
    asked: request::Control,
    act: Act,
) -> Answer<v1::Deployment> {
    let request::Control { whose, asker, .. } = asked;
    // A retry after the end looks at hosts that may be in the journal only.
    let looked = whose.clone();
    let ended = matches!(act, Act::Retry { .. });
    let absent = context.fleet.ask(move |desk| {
        let id = desk.state.whose(&looked)?;
        let (_, in_memory) = desk.state.deployment(id)?;
        Ok::<_, Refusal>((ended && in_memory.is_none()).then_some(id))
    });
    let engine = match absent.await? {
        Some(id) => Some(context.fleet.from_journal(id).await?),
        None => None,
    };
    let done = context
        .fleet
        .ask(move |desk| desk.state.control(&whose, &act, engine.as_ref(), &asker, desk.now, desk.effects))
        .await?;
    let shown = Operators::deployment(context, done.deployment).await?;
    Ok(Response::new(v1::Deployment { answer: done.said, ..shown }))
}

pub(super) async fn lock(context: &Context, wire: Request<v1::LockRequest>) -> Answer<v1::LockResponse> {
    let by = request::operator(&wire);
    let v1::LockRequest { service, reason, lease_seconds, take_over, request_id } = wire.into_inner();
    let scope = request::scope(&service)?;
    let asker = Asker { by, request: request_id, take_over: take_over.then(|| reason.clone()) };
    let lease = Duration::from_secs(lease_seconds);
    let answer = context.fleet.ask(move |desk| {
        let said = desk.state.lock(scope.clone(), &reason, lease, &asker, desk.now, desk.effects)?;
        Ok(shown(said, desk.state, &scope, desk.now))
    });
    Ok(Response::new(answer.await?))
}

pub(super) async fn unlock(context: &Context, wire: Request<v1::UnlockRequest>) -> Answer<v1::LockResponse> {
    let by = request::operator(&wire);
    let v1::UnlockRequest { service, take_over, reason, request_id } = wire.into_inner();
    let scope = request::scope(&service)?;
    let asker = Asker { by, request: request_id, take_over: take_over.then_some(reason) };
    let answer = context.fleet.ask(move |desk| {
        let said = desk.state.unlock(&scope, &asker, desk.now, desk.effects)?;
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
