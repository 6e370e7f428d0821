//! What operators call. Each call: convert, ask the fleet, convert back.

use super::{Context, request, uploads, views, watches};
use crate::fleet::{DeploymentRecord, HostChange, Refusal};
use handover_identity::{JoinToken, OperatorName, ServerAddress, TokenId, wall_clock};
use handover_model::{DeploymentId, Digest, Duration, HostName, Release, ReleaseRef, ServiceName};
use handover_proto::{
    status::{Reason, refuse},
    v1::{self, operator_service_server::OperatorService},
    version::ProgramVersion,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// How long an operator's certificate is good where nothing is said, in days.
const OPERATOR_DAYS: u32 = 30;
/// How long it may be good, in days.
const MOST_OPERATOR_DAYS: u32 = 365;
/// Deployments in a list where nothing is said.
const LISTED: usize = 20;
/// Deployments in a list at most.
const MOST_LISTED: usize = 200;

/// The operators' service.
#[derive(Clone, Debug)]
pub struct Operators(pub Context);

type Answer<T> = Result<Response<T>, Status>;

impl Operators {
    /// The deployment of this number, or the newest of the service.
    async fn find(&self, id: u64, service: &str) -> Result<DeploymentId, Status> {
        if id != 0 {
            return Ok(DeploymentId::new(id));
        }
        let service: ServiceName = request::parse("service", service)?;
        Ok(self.0.fleet.ask(move |desk| desk.state.newest_deployment(&service)).await?)
    }

    /// A deployment, from memory or from the journal.
    async fn deployment(context: &Context, id: DeploymentId) -> Result<v1::Deployment, Refusal> {
        let seen: Result<v1::Deployment, DeploymentRecord> = context
            .fleet
            .ask(move |desk| {
                let (record, live) = desk.state.deployment(id)?;
                Ok(live.map(|live| views::deployment(id, record, live)).ok_or_else(|| record.clone()))
            })
            .await?;
        match seen {
            Ok(deployment) => Ok(deployment),
            Err(record) => {
                let engine = context.fleet.from_journal(id).await?;
                Ok(views::deployment_from_journal(id, &record, engine))
            }
        }
    }

    async fn host(&self, name: HostName) -> Answer<v1::Host> {
        let host =
            self.0.fleet.ask(move |desk| Ok(views::host(desk.state, &name, desk.state.host(&name)?))).await?;
        Ok(Response::new(host))
    }
}

#[tonic::async_trait]
impl OperatorService for Operators {
    type WatchServicesStream = ReceiverStream<Result<v1::ListServicesResponse, Status>>;
    type WatchDeploymentStream = ReceiverStream<Result<v1::Deployment, Status>>;

    async fn get_server(&self, _: Request<v1::GetServerRequest>) -> Answer<v1::ServerInfo> {
        Ok(Response::new(v1::ServerInfo {
            version: ProgramVersion::OWN.to_string(),
            fleet: self.0.fleet_name.clone(),
            started_unix_millis: self.0.started.unix_millis(),
            ca_digest: self.0.ca.fingerprint().to_string(),
        }))
    }

    async fn create_token(
        &self,
        request: Request<v1::CreateTokenRequest>,
    ) -> Answer<v1::CreateTokenResponse> {
        let v1::CreateTokenRequest { ttl_seconds, host, server } = request.into_inner();
        let host: Option<HostName> = request::parse_optional("host", &host)?;
        let server = if server.is_empty() { self.0.address.clone() } else { server };
        let server: ServerAddress = request::parse("server", &server)?;
        let token = JoinToken::generate(self.0.ca.fingerprint(), server)
            .map_err(|error| Status::from(Refusal::Internal(error.to_string())))?;
        let (id, secret) = (token.claim.id, token.claim.secret.digest());
        let life = Duration::from_secs(ttl_seconds);
        let record = self
            .0
            .fleet
            .ask(move |desk| desk.state.create_token(id, secret, host, life, desk.now, desk.effects))
            .await?;
        Ok(Response::new(v1::CreateTokenResponse {
            token: token.expose(),
            id: id.to_string(),
            expires_unix_millis: record.expires.unix_millis(),
        }))
    }

    async fn list_tokens(&self, _: Request<v1::ListTokensRequest>) -> Answer<v1::ListTokensResponse> {
        let tokens = self.0.fleet.ask(|desk| {
            let token = |(id, token): (&TokenId, &crate::fleet::TokenRecord)| v1::Token {
                id: id.to_string(),
                host: token.host.as_ref().map(ToString::to_string).unwrap_or_default(),
                created_unix_millis: token.created.unix_millis(),
                expires_unix_millis: token.expires.unix_millis(),
                used_by: token.used_by.as_ref().map(ToString::to_string).unwrap_or_default(),
            };
            Ok(desk.state.tokens().map(token).collect())
        });
        Ok(Response::new(v1::ListTokensResponse { tokens: tokens.await? }))
    }

    async fn revoke_token(
        &self,
        request: Request<v1::RevokeTokenRequest>,
    ) -> Answer<v1::RevokeTokenResponse> {
        let id: TokenId = request::parse("id", &request.into_inner().id)?;
        self.0.fleet.ask(move |desk| desk.state.revoke_token(id, desk.effects)).await?;
        Ok(Response::new(v1::RevokeTokenResponse {}))
    }

    async fn sign_operator(
        &self,
        request: Request<v1::SignOperatorRequest>,
    ) -> Answer<v1::SignOperatorResponse> {
        let by = request::operator(&request);
        let v1::SignOperatorRequest { name, csr_pem, days } = request.into_inner();
        let name: OperatorName = request::parse("name", &name)?;
        if days > MOST_OPERATOR_DAYS {
            return Err(refuse(
                Reason::InvalidRequest,
                format!("at most {MOST_OPERATOR_DAYS} days, not {days}"),
                "",
            ));
        }
        let days = if days == 0 { OPERATOR_DAYS } else { days };
        let validity = Duration::from_secs(u64::from(days) * 24 * 3600);
        let issued = self.0.ca.sign_operator(&csr_pem, &name, validity, wall_clock());
        let issued = issued.map_err(|error| request::not_signed(&error))?;
        tracing::info!(%name, by, "operator's certificate signed");
        Ok(Response::new(v1::SignOperatorResponse {
            certificate_pem: issued.chain_pem,
            ca_pem: self.0.ca.certificate_pem(),
            fleet: self.0.fleet_name.clone(),
        }))
    }

    async fn list_hosts(&self, _: Request<v1::ListHostsRequest>) -> Answer<v1::ListHostsResponse> {
        let hosts = self.0.fleet.ask(|desk| {
            Ok(desk.state.hosts().map(|(name, host)| views::host(desk.state, name, host)).collect())
        });
        Ok(Response::new(v1::ListHostsResponse { hosts: hosts.await? }))
    }

    async fn get_host(&self, request: Request<v1::GetHostRequest>) -> Answer<v1::Host> {
        self.host(request::parse("name", &request.into_inner().name)?).await
    }

    async fn update_host(&self, request: Request<v1::UpdateHostRequest>) -> Answer<v1::Host> {
        let v1::UpdateHostRequest { name, set_labels, remove_labels, cordoned, acknowledge_clone } =
            request.into_inner();
        let name: HostName = request::parse("name", &name)?;
        let remove = remove_labels.into_iter().collect();
        let change = HostChange { set: request::labels(set_labels), remove, cordoned, acknowledge_clone };
        let changed = name.clone();
        self.0
            .fleet
            .ask(move |desk| desk.state.update_host(&changed, &change, desk.now, desk.effects))
            .await?;
        self.host(name).await
    }

    async fn remove_host(&self, request: Request<v1::RemoveHostRequest>) -> Answer<v1::RemoveHostResponse> {
        let by = request::operator(&request);
        let v1::RemoveHostRequest { name, force } = request.into_inner();
        let name: HostName = request::parse("name", &name)?;
        let removed = name.clone();
        self.0.fleet.ask(move |desk| desk.state.remove_host(&removed, force, desk.now, desk.effects)).await?;
        tracing::info!(host = %name, by, "host removed");
        Ok(Response::new(v1::RemoveHostResponse {}))
    }

    async fn get_upload(&self, request: Request<v1::GetUploadRequest>) -> Answer<v1::Upload> {
        let digest: Digest = request::parse("digest", &request.into_inner().digest)?;
        let received = self.0.bundles.received(digest).await.map_err(|error| uploads::refused(&error))?;
        Ok(Response::new(v1::Upload { received: received.bytes, complete: received.complete }))
    }

    async fn upload_bundle(
        &self,
        request: Request<Streaming<v1::UploadBundleRequest>>,
    ) -> Answer<v1::Upload> {
        Ok(Response::new(uploads::receive(&self.0.bundles, request.into_inner()).await?))
    }

    async fn create_release(&self, request: Request<v1::CreateReleaseRequest>) -> Answer<v1::ReleaseInfo> {
        let by = request::operator(&request);
        let release = request.into_inner().release;
        let release =
            release.ok_or_else(|| refuse(Reason::InvalidRequest, "field release: is missing", ""))?;
        let release = Release::try_from(release)?;
        let digest = release.bundle.digest;
        // Asking keeps the bundle from being pruned until the release has it.
        let received = self.0.bundles.received(digest).await.map_err(|error| uploads::refused(&error))?;
        if !received.complete {
            return Err(Refusal::NoBundle(release.name).into());
        }
        let stored = self
            .0
            .fleet
            .ask(move |desk| desk.state.create_release(release, &by, desk.now, desk.effects))
            .await?;
        Ok(Response::new(views::release(&stored, true)))
    }

    async fn list_releases(
        &self,
        request: Request<v1::ListReleasesRequest>,
    ) -> Answer<v1::ListReleasesResponse> {
        let service: Option<ServiceName> = request::parse_optional("service", &request.into_inner().service)?;
        let releases = self.0.fleet.ask(move |desk| {
            let releases = desk.state.list_releases(service.as_ref());
            Ok(releases.into_iter().map(|release| views::release(release, false)).collect())
        });
        Ok(Response::new(v1::ListReleasesResponse { releases: releases.await? }))
    }

    async fn get_release(&self, request: Request<v1::GetReleaseRequest>) -> Answer<v1::ReleaseInfo> {
        let v1::GetReleaseRequest { service, version } = request.into_inner();
        let name = ReleaseRef {
            service: request::parse("service", &service)?,
            version: request::parse("version", &version)?,
        };
        let release =
            self.0.fleet.ask(move |desk| Ok(views::release(desk.state.get_release(&name)?, true))).await?;
        Ok(Response::new(release))
    }

    async fn list_services(
        &self,
        request: Request<v1::ListServicesRequest>,
    ) -> Answer<v1::ListServicesResponse> {
        let service: Option<ServiceName> = request::parse_optional("service", &request.into_inner().service)?;
        let services =
            self.0.fleet.ask(move |desk| Ok(views::services(desk.state, service.as_ref()))).await?;
        Ok(Response::new(services))
    }

    async fn watch_services(
        &self,
        request: Request<v1::ListServicesRequest>,
    ) -> Answer<Self::WatchServicesStream> {
        let service: Option<ServiceName> = request::parse_optional("service", &request.into_inner().service)?;
        let fleet = self.0.fleet.clone();
        let stream = watches::watch(&self.0.fleet, self.0.stop.clone(), move || {
            let (fleet, service) = (fleet.clone(), service.clone());
            async move { fleet.ask(move |desk| Ok(views::services(desk.state, service.as_ref()))).await }
        });
        Ok(Response::new(stream))
    }

    async fn plan_deployment(&self, request: Request<v1::DeploymentRequest>) -> Answer<v1::Plan> {
        let request = request::deployment(request.into_inner())?;
        let plan = self.0.fleet.ask(move |desk| {
            desk.state.plan_deployment(&request, desk.now).map(|(plan, _)| views::plan(&plan))
        });
        Ok(Response::new(plan.await?))
    }

    async fn create_deployment(&self, request: Request<v1::DeploymentRequest>) -> Answer<v1::Deployment> {
        let by = request::operator(&request);
        let request = request::deployment(request.into_inner())?;
        let id = self
            .0
            .fleet
            .ask(move |desk| desk.state.create_deployment(&request, &by, desk.now, desk.effects))
            .await?;
        Ok(Response::new(Self::deployment(&self.0, id).await?))
    }

    async fn get_deployment(&self, request: Request<v1::GetDeploymentRequest>) -> Answer<v1::Deployment> {
        let v1::GetDeploymentRequest { id, service } = request.into_inner();
        let id = self.find(id, &service).await?;
        Ok(Response::new(Self::deployment(&self.0, id).await?))
    }

    async fn list_deployments(
        &self,
        request: Request<v1::ListDeploymentsRequest>,
    ) -> Answer<v1::ListDeploymentsResponse> {
        let v1::ListDeploymentsRequest { service, limit } = request.into_inner();
        let service: Option<ServiceName> = request::parse_optional("service", &service)?;
        let limit = match usize::try_from(limit) {
            Ok(0) => LISTED,
            Ok(limit) => limit.min(MOST_LISTED),
            Err(_) => MOST_LISTED,
        };
        let deployments = self.0.fleet.ask(move |desk| {
            let newest = desk.state.deployments(service).take(limit);
            Ok(newest.map(|(id, record, live)| views::summary(id, record, live)).collect())
        });
        Ok(Response::new(v1::ListDeploymentsResponse { deployments: deployments.await? }))
    }

    async fn watch_deployment(
        &self,
        request: Request<v1::GetDeploymentRequest>,
    ) -> Answer<Self::WatchDeploymentStream> {
        let v1::GetDeploymentRequest { id, service } = request.into_inner();
        let id = self.find(id, &service).await?;
        let context = self.0.clone();
        let stream = watches::watch(&self.0.fleet, self.0.stop.clone(), move || {
            let context = context.clone();
            async move { Self::deployment(&context, id).await }
        });
        Ok(Response::new(stream))
    }

    async fn abort_deployment(&self, request: Request<v1::AbortDeploymentRequest>) -> Answer<v1::Deployment> {
        let by = request::operator(&request);
        let v1::AbortDeploymentRequest { id, service, reason } = request.into_inner();
        let id = self.find(id, &service).await?;
        self.0.fleet.ask(move |desk| desk.state.abort(id, &by, &reason, desk.now, desk.effects)).await?;
        Ok(Response::new(Self::deployment(&self.0, id).await?))
    }
}
