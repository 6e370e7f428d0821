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
