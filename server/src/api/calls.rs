//! Every call has an end, and nobody has too many at once.

use super::caller::Caller;
use crate::limits::{CALL_DEADLINE, CallsOf, Limits};
use handover_identity::Peer;
use std::{
    sync::Arc,
    task::{Context, Poll},
};
use tonic::{body::Body, codegen::http};
use tower::{Layer, Service};

/// Calls in which the caller streams: they are answered at their end, and have deadlines of their own. A test compares
/// this with the protocol's descriptor.
const STREAMED: [&str; 3] = [
    "/handover.v1.AgentService/SendLogs",
    "/handover.v1.AgentService/Session",
    "/handover.v1.OperatorService/UploadBundle",
];

/// Bounds calls. Stands behind the table of who may call what, which finds the [`Caller`].
#[derive(Clone, Debug)]
pub struct CallsLayer(pub Arc<Limits>);

impl<S> Layer<S> for CallsLayer {
    type Service = Bounded<S>;

    fn layer(&self, inner: S) -> Bounded<S> {
        Bounded { inner, limits: Arc::clone(&self.0) }
    }
}

/// A service whose calls are bounded.
#[derive(Clone, Debug)]
pub struct Bounded<S> {
    inner: S,
    limits: Arc<Limits>,
}

type Answer<E> = std::pin::Pin<Box<dyn Future<Output = Result<http::Response<Body>, E>> + Send>>;

impl<S, B> Service<http::Request<B>> for Bounded<S>
where
    S: Service<http::Request<B>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = Answer<S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let source = || request.extensions().get::<Peer>().map(|peer| peer.address.into());
        let caller = request.extensions().get::<Caller>();
        let title = caller.map(Caller::title).unwrap_or_default();
        let of = match caller {
            Some(Caller::Operator { .. } | Caller::Local { .. }) => CallsOf::Operator(&title),
            Some(Caller::Agent { host, .. }) => CallsOf::Agent(host),
            Some(Caller::Nobody) | None => CallsOf::Nobody(source()),
        };
        let place = match self.limits.call(of) {
            Ok(place) => place,
            Err(status) => return Box::pin(std::future::ready(Ok(status.into_http()))),
        };
        let streamed = STREAMED.contains(&request.uri().path());
        let limits = Arc::clone(&self.limits);
        let answer = self.inner.call(request);
        Box::pin(async move {
            // Until the answer begins: what a caller streams to us, or we to it, is bounded by itself.
            let _place = place;
            if streamed {
                return answer.await;
            }
            match tokio::time::timeout(CALL_DEADLINE, answer).await {
                Ok(answer) => answer,
                Err(_) => Ok(limits.call_late().into_http()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use prost::Message as _;
    use std::{collections::BTreeSet, convert::Infallible};

    #[test]
    fn every_call_in_which_the_caller_does_not_stream_has_a_deadline() {
        let descriptors = prost_types::FileDescriptorSet::decode(handover_proto::v1::DESCRIPTORS).unwrap();
        let mut streamed = BTreeSet::new();
        for file in &descriptors.file {
            for service in &file.service {
                for method in service.method.iter().filter(|method| method.client_streaming()) {
                    streamed.insert(format!("/{}.{}/{}", file.package(), service.name(), method.name()));
                }
            }
        }
        assert_eq!(streamed, STREAMED.iter().map(|call| (*call).to_owned()).collect());
    }

    /// Calls a service that never answers.
    fn call(calls: &CallsLayer, path: &str, caller: &Caller) -> Answer<Infallible> {
        let never = tower::service_fn(|_: http::Request<()>| std::future::pending::<Result<_, Infallible>>());
        let mut request = http::Request::post(path).body(()).unwrap();
        request.extensions_mut().insert(caller.clone());
        calls.layer(never).call(request)
    }

    fn reason(answer: &http::Response<Body>) -> String {
        let status = tonic::Status::from_header_map(answer.headers()).unwrap();
        handover_proto::status::Refusal::of(&status).unwrap().reason.to_string()
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_never_arrives_whole_is_ended_and_one_that_streams_is_not() {
        let calls = CallsLayer(Arc::default());
        let agent = Caller::Agent { host: "a".parse().unwrap(), serial: "1".into() };
        let late = call(&calls, "/handover.v1.AgentService/FetchBundle", &agent).await.unwrap();
        assert_eq!(reason(&late), "BUSY");
        let streamed = call(&calls, STREAMED[0], &agent);
        assert!(tokio::time::timeout(CALL_DEADLINE * 100, streamed).await.is_err());
    }

    #[tokio::test]
    async fn a_caller_that_waits_for_too_many_answers_gets_no_more_and_others_do() {
        let calls = CallsLayer(Arc::default());
        let agent = |host: &str| Caller::Agent { host: host.parse().unwrap(), serial: "1".into() };
        let waiting: Vec<_> =
            (0..crate::limits::CALLS.1).map(|_| call(&calls, STREAMED[0], &agent("a"))).collect();
        assert_eq!(reason(&call(&calls, STREAMED[0], &agent("a")).await.unwrap()), "BUSY");
        let mut other = call(&calls, STREAMED[0], &agent("b"));
        assert!((&mut other).now_or_never().is_none());
        drop(waiting);
        assert!(call(&calls, STREAMED[0], &agent("a")).now_or_never().is_none());
    }
}
