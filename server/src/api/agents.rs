//! What agents call, each for itself: the host is the certificate's, never the message's.

use super::{Context, held::Held, logs, request, uploads};
use crate::sessions;
use handover_model::{Digest, HostName};
use handover_proto::v1::{
    AgentMessage, BundleChunk, FetchBundleRequest, LogBatch, SendLogsResponse, ServerMessage,
    agent_service_server::AgentService,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// The agents' service.
#[derive(Clone, Debug)]
pub struct Agents(pub Context);

#[tonic::async_trait]
impl AgentService for Agents {
    type SessionStream = ReceiverStream<Result<ServerMessage, Status>>;
    type FetchBundleStream = Held<BundleChunk, HostName>;

    async fn session(
        &self,
        request: Request<Streaming<AgentMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let (host, serial) = request::agent(&request)?;
        let Context { fleet, fleet_name, limits, stop, .. } = &self.0;
        limits.session(&host)?;
        let (incoming, counters) = (request.into_inner(), limits.counters());
        let stream =
            sessions::open(fleet.clone(), fleet_name.clone(), host, serial, incoming, counters, stop.clone());
        let stream = stream.await?;
        Ok(Response::new(stream))
    }

    async fn send_logs(
        &self,
        request: Request<Streaming<LogBatch>>,
    ) -> Result<Response<SendLogsResponse>, Status> {
        let (host, serial) = request::agent(&request)?;
        let name = host.clone();
        self.0.fleet.ask(move |desk| desk.state.is_enrolled(&name, &serial)).await?;
        Ok(Response::new(logs::take(&self.0, &host, request.into_inner()).await?))
    }

    async fn fetch_bundle(
        &self,
        request: Request<FetchBundleRequest>,
    ) -> Result<Response<Self::FetchBundleStream>, Status> {
        let (host, serial) = request::agent(&request)?;
        let FetchBundleRequest { digest, offset } = request.into_inner();
        let digest: Digest = request::parse("digest", &digest)?;
        let place = self.0.limits.download(host.clone())?;
        self.0.fleet.ask(move |desk| desk.state.may_fetch(&host, &serial, digest)).await?;
        let reading = self.0.bundles.read(digest, offset).await.map_err(|error| uploads::refused(&error))?;
        Ok(Response::new(Held::new(uploads::send(reading, self.0.stop.clone()), place)))
    }
}
