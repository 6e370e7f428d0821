//! `grpc.health.v1.Health/Check`: <https://github.com/grpc/grpc/blob/master/doc/health-checking.md>.

use super::{ProbeFailure, Route, failure::quoted};
use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};
use tonic::{Code, Request, Status, client::Grpc, transport::Endpoint};
use tonic_prost::ProstCodec;

/// Longest answer that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 16 * 1024;

/// A health check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrpcProbe {
    /// From the pin to the listener.
    pub route: Route,
    /// The service asked for; empty is the whole server.
    pub service_name: String,
}

/// `grpc.health.v1.HealthCheckRequest`.
#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

/// `grpc.health.v1.HealthCheckResponse`.
#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// `HealthCheckResponse.ServingStatus.SERVING`.
const SERVING: i32 = 1;

impl GrpcProbe {
    /// Asks once. The caller bounds the time.
    pub(super) async fn ask(&self) -> Result<(), ProbeFailure> {
        // Connected here, so that a refused connection is told as such and not as a transport error of the channel.
        let stream = self.route.connect().await?;
        let once = Arc::new(Mutex::new(Some(stream)));
        let connector = tower::service_fn(move |_| {
            let stream = once.lock().unwrap_or_else(PoisonError::into_inner).take();
            let used = || io::Error::new(io::ErrorKind::ConnectionAborted, "the connection ended");
            std::future::ready(stream.map(TokioIo::new).ok_or_else(used))
        });
        let uri = format!("http://{}", self.route.target);
        let endpoint = Endpoint::from_shared(uri.clone()).map_err(|_| ProbeFailure::Request { what: uri })?;
        let agent = concat!("handover-probe/", env!("CARGO_PKG_VERSION"));
        let endpoint =
            endpoint.user_agent(agent).map_err(|_| ProbeFailure::Request { what: agent.to_owned() })?;
        let channel = endpoint.connect_with_connector_lazy(connector);
        let mut client = Grpc::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES);
        client.ready().await.map_err(|error| self.failed(&Status::from_error(Box::new(error))))?;
        let path = PathAndQuery::from_static("/grpc.health.v1.Health/Check");
        let codec = ProstCodec::<HealthCheckRequest, HealthCheckResponse>::default();
        let request = Request::new(HealthCheckRequest { service: self.service_name.clone() });
        let answer = client.unary(request, path, codec).await.map_err(|status| self.failed(&status))?;
        match answer.into_inner().status {
            SERVING => Ok(()),
            other => Err(ProbeFailure::NotServing {
                service: self.service_name.clone(),
                status: serving_status(other),
            }),
        }
    }

    fn failed(&self, status: &Status) -> ProbeFailure {
        let code = match status.code() {
            Code::Unimplemented => "the program has no health service (UNIMPLEMENTED)".to_owned(),
            Code::NotFound => "the health service does not know it (NOT_FOUND)".to_owned(),
            other => format!("{other:?}"),
        };
        ProbeFailure::Grpc { service: self.service_name.clone(), code, message: quoted(status.message()) }
    }
}

fn serving_status(status: i32) -> String {
    match status {
        0 => "UNKNOWN".to_owned(),
        2 => "NOT_SERVING".to_owned(),
        3 => "SERVICE_UNKNOWN".to_owned(),
        other => format!("a status that this agent does not know ({other})"),
    }
}
