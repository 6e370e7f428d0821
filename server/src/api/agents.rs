//! What agents call, each for itself: the host is the certificate's, never the message's.

use super::{Context, caller, commands, held::Held, logs, request, uploads};
use crate::{
    audit::{Deed, OK},
    fleet::RenewedCertificate,
    sessions::{self, Connecting},
};
use handover_identity::wall_clock;
use handover_model::{Digest, HostName};
use handover_proto::v1::{
    AgentMessage, BundleChunk, CommandOutcome, FetchBundleRequest, LogBatch, RenewRequest, RenewResponse,
    SendLogsResponse, SendOutcomeResponse, ServerMessage, agent_service_server::AgentService,
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
        let agent = Connecting { host, serial, from: caller::origin(request.extensions()) };
        let Context { fleet, fleet_name, limits, stop, .. } = &self.0;
        limits.session(&agent.host)?;
        let (incoming, counters) = (request.into_inner(), limits.counters());
        let stream =
            sessions::open(fleet.clone(), fleet_name.clone(), agent, incoming, counters, stop.clone());
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

    async fn send_outcome(
        &self,
        request: Request<CommandOutcome>,
    ) -> Result<Response<SendOutcomeResponse>, Status> {
        let (host, serial) = request::agent(&request)?;
        let name = host.clone();
        self.0.fleet.ask(move |desk| desk.state.is_enrolled(&name, &serial)).await?;
        Ok(Response::new(commands::take(&self.0, &host, request.into_inner())?))
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

    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<RenewResponse>, Status> {
        let (host, serial) = request::agent(&request)?;
        let from = caller::origin(request.extensions());
        let RenewRequest { csr_pem, session_id } = request.into_inner();
        let Context { fleet, ca, agent_life, .. } = &self.0;
        // Asked before anything is signed: who may not have one costs no signature.
        let asked = (host.clone(), serial.clone(), session_id.clone());
        fleet.ask(move |desk| desk.state.check_renewal(&asked.0, &asked.1, &asked.2)).await?;
        let issued = ca.sign_agent(&csr_pem, &host, *agent_life, wall_clock());
        let issued = issued.map_err(|error| request::not_signed(&error))?;
        let facts = issued.facts;
        let (issued_at, expires) = (facts.not_before, facts.not_after);
        let renewed = RenewedCertificate { serial: facts.serial, issued: issued_at, expires };
        let name = host.clone();
        let deed = renewal(&host, &serial, from, &renewed);
        fleet
            .ask(move |desk| {
                desk.state.renew(&name, &serial, &session_id, renewed, desk.effects)?;
                desk.state.record(deed, desk.now, desk.effects)
            })
            .await?;
        tracing::info!(%host, until = expires.unix_millis(), "certificate renewed");
        Ok(Response::new(RenewResponse { certificate_pem: issued.chain_pem, ca_pem: ca.certificate_pem() }))
    }
}

/// What the audit tells of a certificate that a host got in place of the one that it came with.
fn renewal(host: &HostName, serial: &str, from: String, renewed: &RenewedCertificate) -> Deed {
    Deed {
        who: format!("host {host}"),
        role: "agent".to_owned(),
        credential: format!("certificate {serial}"),
        from,
        method: "Renew".to_owned(),
        resource: format!("host {host}"),
        outcome: OK.to_owned(),
        detail: format!("certificate {}", renewed.serial),
        count: 1,
        ..Deed::default()
    }
}
