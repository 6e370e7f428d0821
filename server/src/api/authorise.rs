//! Who may call what: one table. A call that does not stand in it is refused, whoever makes it.

use super::caller::Caller;
use handover_proto::status::{Reason, refuse};
use std::task::{Context, Poll};
use tonic::{Status, body::Body, codegen::http};
use tower::{Layer, Service};

/// Whom a call is open to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Everybody who reaches the server; the call checks a join token by itself.
    Anyone,
    /// Agents, each for itself.
    Agents,
    /// Operators: with a certificate, or over the Unix socket.
    Operators,
}

/// Every call of the protocol. A test compares it with the protocol's descriptor.
pub const TABLE: &[(&str, Who)] = &[
    ("/handover.v1.EnrolmentService/Enrol", Who::Anyone),
    ("/handover.v1.AgentService/Session", Who::Agents),
    ("/handover.v1.AgentService/FetchBundle", Who::Agents),
    ("/handover.v1.AgentService/Renew", Who::Agents),
    ("/handover.v1.OperatorService/GetServer", Who::Operators),
    ("/handover.v1.OperatorService/CreateToken", Who::Operators),
    ("/handover.v1.OperatorService/ListTokens", Who::Operators),
    ("/handover.v1.OperatorService/RevokeToken", Who::Operators),
    ("/handover.v1.OperatorService/SignOperator", Who::Operators),
    ("/handover.v1.OperatorService/ListHosts", Who::Operators),
    ("/handover.v1.OperatorService/GetHost", Who::Operators),
    ("/handover.v1.OperatorService/UpdateHost", Who::Operators),
    ("/handover.v1.OperatorService/RemoveHost", Who::Operators),
    ("/handover.v1.OperatorService/GetUpload", Who::Operators),
    ("/handover.v1.OperatorService/UploadBundle", Who::Operators),
    ("/handover.v1.OperatorService/CreateRelease", Who::Operators),
    ("/handover.v1.OperatorService/ListReleases", Who::Operators),
    ("/handover.v1.OperatorService/GetRelease", Who::Operators),
    ("/handover.v1.OperatorService/ListServices", Who::Operators),
    ("/handover.v1.OperatorService/WatchServices", Who::Operators),
    ("/handover.v1.OperatorService/PlanDeployment", Who::Operators),
    ("/handover.v1.OperatorService/CreateDeployment", Who::Operators),
    ("/handover.v1.OperatorService/GetDeployment", Who::Operators),
    ("/handover.v1.OperatorService/ListDeployments", Who::Operators),
    ("/handover.v1.OperatorService/WatchDeployment", Who::Operators),
    ("/handover.v1.OperatorService/AbortDeployment", Who::Operators),
];

/// Whether the caller may make the call with this path.
///
/// # Errors
/// `NO_CERTIFICATE` where one is needed and there is none; `NOT_AUTHORISED` otherwise.
pub fn authorise(path: &str, caller: &Caller) -> Result<(), Status> {
    let Some((_, who)) = TABLE.iter().find(|(call, _)| *call == path) else {
        return Err(Status::unimplemented("this server has no such call: it is of another version"));
    };
    match (who, caller) {
        (Who::Anyone, _)
        | (Who::Agents, Caller::Agent { .. })
        | (Who::Operators, Caller::Operator { .. }) => Ok(()),
        (Who::Agents | Who::Operators, Caller::Nobody) => Err(refuse(
            Reason::NoCertificate,
            "this call needs a client certificate",
            match who {
                Who::Agents => "enrol the host first: `handover-agent join`",
                Who::Anyone | Who::Operators => {
                    "on the server's machine use its Unix socket; from elsewhere a certificate made with `handover operator`"
                }
            },
        )),
        (Who::Agents, Caller::Operator { .. }) => {
            Err(refuse(Reason::NotAuthorised, "only agents make this call", ""))
        }
        (Who::Operators, Caller::Agent { .. }) => {
            Err(refuse(Reason::NotAuthorised, "an agent may speak for its host only, not as an operator", ""))
        }
    }
}

/// Finds out who calls, asks the table, and lays the [`Caller`] beside the request.
#[derive(Clone, Debug)]
pub struct AuthoriseLayer;

impl<S> Layer<S> for AuthoriseLayer {
    type Service = Authorised<S>;

    fn layer(&self, inner: S) -> Authorised<S> {
        Authorised { inner }
    }
}

/// A service behind the table.
#[derive(Clone, Debug)]
pub struct Authorised<S> {
    inner: S,
}

type Answer<E> = std::pin::Pin<Box<dyn Future<Output = Result<http::Response<Body>, E>> + Send>>;

impl<S, B> Service<http::Request<B>> for Authorised<S>
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

    fn call(&mut self, mut request: http::Request<B>) -> Self::Future {
        let caller = Caller::of(request.extensions());
        match authorise(request.uri().path(), &caller) {
            Ok(()) => {
                request.extensions_mut().insert(caller);
                Box::pin(self.inner.call(request))
            }
            Err(status) => {
                tracing::debug!(path = request.uri().path(), ?caller, "call refused");
                Box::pin(std::future::ready(Ok(status.into_http())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;
    use std::collections::BTreeSet;

    #[test]
    fn every_call_of_the_protocol_stands_in_the_table_once() {
        let descriptors = prost_types::FileDescriptorSet::decode(handover_proto::v1::DESCRIPTORS).unwrap();
        let mut calls = BTreeSet::new();
        for file in &descriptors.file {
            for service in &file.service {
                for method in &service.method {
                    calls.insert(format!("/{}.{}/{}", file.package(), service.name(), method.name()));
                }
            }
        }
        let table: BTreeSet<String> = TABLE.iter().map(|(call, _)| (*call).to_owned()).collect();
        assert_eq!(table.len(), TABLE.len(), "a call stands twice in the table");
        assert_eq!(table, calls);
    }

    #[test]
    fn nobody_does_what_is_not_theirs() {
        let agent = Caller::Agent { host: "a".parse().unwrap(), serial: "1".into() };
        let operator = Caller::Operator { name: "uid:0".into() };
        for (call, who) in TABLE {
            let allowed = |caller| authorise(call, caller).is_ok();
            assert_eq!(allowed(&Caller::Nobody), *who == Who::Anyone, "{call}");
            assert_eq!(allowed(&agent), *who != Who::Operators, "{call}");
            assert_eq!(allowed(&operator), *who != Who::Agents, "{call}");
        }
        assert!(authorise("/handover.v1.OperatorService/Unheard", &operator).is_err());
    }
}
