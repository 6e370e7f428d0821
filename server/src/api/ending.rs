//! Calls that end because their operator may not make them any more: revoked, expired, or with another role. This holds
//! for every call that streams, now and later, since it is done around them.

use super::permit::Operator;
use crate::{
    api::caller::Caller,
    fleet::{Fleet, granted},
};
use futures_util::{FutureExt as _, future::BoxFuture};
use handover_identity::wall_clock;
use handover_model::Duration;
use handover_proto::status::{Reason, refuse};
use http_body::Frame;
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tonic::{
    Status,
    body::Body,
    codegen::{Bytes, http::HeaderMap},
};

/// The wall clock is looked at that often at least: it may be set while a call goes on.
const LOOK: Duration = Duration::from_secs(30);

/// Why an operator's call must end, once it must.
pub(super) type Ended = BoxFuture<'static, Status>;

/// Waits until the operator may not go on; for ever where it came over the Unix socket.
pub(super) fn ended(fleet: &Fleet, operator: Arc<Operator>) -> Ended {
    let mut roster = fleet.roster();
    Box::pin(async move {
        let Caller::Operator { name, serial, expires } = &operator.caller else {
            return std::future::pending().await;
        };
        loop {
            match granted(&roster.borrow_and_update(), name, serial) {
                Ok(grant) if *grant == operator.grant => {}
                Ok(_) => {
                    let what = format!("what operator {name} may do was changed");
                    return refuse(Reason::RoleChanged, what, "make the call again");
                }
                Err(refusal) => return refusal.into(),
            }
            let left = expires.since(wall_clock());
            if left.is_zero() {
                return expired(name.as_str());
            }
            tokio::select! {
                changed = roster.changed() => if changed.is_err() { return std::future::pending().await },
                () = tokio::time::sleep(left.min(LOOK)) => {}
            }
        }
    })
}

/// The answer to an operator whose certificate came to its end while the connection was open.
pub(super) fn expired(name: &str) -> Status {
    refuse(
        Reason::CertificateExpired,
        format!("the certificate of operator {name} has expired"),
        "ask an admin for a new one: `handover operator create`",
    )
}

/// An answer that goes on until its own end, or until its operator may not read on.
pub(super) struct Ending {
    inner: Option<Body>,
    ended: Ended,
}

impl Ending {
    pub(super) fn new(inner: Body, ended: Ended) -> Self {
        Self { inner: Some(inner), ended }
    }
}

impl http_body::Body for Ending {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let Some(inner) = &mut this.inner else { return Poll::Ready(None) };
        if let Poll::Ready(status) = this.ended.poll_unpin(context) {
            // Dropping what made the answer ends it.
            this.inner = None;
            let mut trailers = HeaderMap::new();
            let added = status.add_header(&mut trailers);
            return Poll::Ready(Some(added.map(|()| Frame::trailers(trailers))));
        }
        let frame = Pin::new(inner).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && frame.is_trailers()
        {
            this.inner = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        blobs::Bundles,
        fleet::{CertificateRecord, Grant, OperatorRequest, Role},
        store::MemoryStore,
    };
    use handover_model::Timestamp;
    use handover_proto::status::Refusal;
    use http_body::Body as _;
    use std::collections::BTreeSet;
    use tokio_util::sync::CancellationToken;

    /// A fleet with one operator, whose certificate ends after `life`.
    async fn fleet(folder: &std::path::Path, life: Duration) -> (Fleet, Arc<Operator>, CancellationToken) {
        let stop = CancellationToken::new();
        let bundles = Bundles::open(folder, handover_bundle::Limits::default()).await.unwrap();
        let (fleet, _) = Fleet::start(Arc::new(MemoryStore::new()), bundles, stop.clone()).await.unwrap();
        let expires = wall_clock() + life;
        let certificate = CertificateRecord { serial: "1".into(), issued: Timestamp::default(), expires };
        let request = OperatorRequest { role: Some(Role::Admin), services: BTreeSet::new(), certificate };
        let signed = fleet.ask(move |desk| {
            desk.state.sign_operator(&"ada".parse().unwrap(), request, "uid:0", desk.now, desk.effects)
        });
        signed.await.unwrap();
        let caller = Caller::Operator { name: "ada".parse().unwrap(), serial: "1".into(), expires };
        let operator = Operator { caller, grant: Grant::everything(), from: String::new() };
        (fleet, Arc::new(operator), stop)
    }

    #[tokio::test]
    async fn a_stream_ends_with_its_operators_certificate() {
        let folder = tempfile::tempdir().unwrap();
        let (fleet, operator, _stop) = fleet(folder.path(), Duration::from_millis(300)).await;
        let status = tokio::time::timeout(Duration::from_secs(5), ended(&fleet, operator)).await.unwrap();
        assert_eq!(Refusal::of(&status).unwrap().reason, Reason::CertificateExpired);
    }

    #[tokio::test]
    async fn a_stream_of_a_user_of_this_machine_ends_with_nobodys_certificate() {
        let folder = tempfile::tempdir().unwrap();
        let (fleet, operator, _stop) = fleet(folder.path(), Duration::ZERO).await;
        let local = Operator { caller: Caller::Local { uid: 0 }, ..(*operator).clone() };
        assert!(ended(&fleet, Arc::new(local)).now_or_never().is_none());
        let status = ended(&fleet, operator).now_or_never().expect("it has expired");
        assert_eq!(Refusal::of(&status).unwrap().reason, Reason::CertificateExpired);
    }

    #[tokio::test]
    async fn an_ended_answer_has_the_reason_as_its_last_words_and_nothing_behind_it() {
        let status = refuse(Reason::Revoked, "revoked", "");
        let mut ending = Ending::new(Body::new(endless()), Box::pin(async move { status }));
        let next = async |ending: &mut Ending| {
            std::future::poll_fn(|context| Pin::new(&mut *ending).poll_frame(context)).await
        };
        let trailers = next(&mut ending).await.unwrap().unwrap().into_trailers().unwrap();
        let read = Status::from_header_map(&trailers).unwrap();
        assert_eq!(Refusal::of(&read).unwrap().reason, Reason::Revoked);
        assert!(next(&mut ending).await.is_none() && ending.is_end_stream());
    }

    /// A body that never has anything and never ends.
    fn endless() -> impl http_body::Body<Data = Bytes, Error = Status> + Send + 'static {
        struct Nothing;
        impl http_body::Body for Nothing {
            type Data = Bytes;
            type Error = Status;
            fn poll_frame(
                self: Pin<&mut Self>,
                _: &mut Context<'_>,
            ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
                Poll::Pending
            }
        }
        Nothing
    }
}
