//! What operators call. Each call: convert, ask the fleet through the call's permit, convert back; beside it in a module
//! of its noun where that is more than a line.

use super::{
    Context, audit, backups, blocks, commands, control, deployments, events, freezes,
    held::Held,
    hosts, logs,
    outlet::Holding,
    permit::{Access, Permit, Subject},
    previews, rehearsals, releases, request, rights, services, stories, tokens, uploads, views,
    watches::{self, Watching},
};
use crate::{
    backup::Backups, blobs::Bundles, commands::Orders, fleet::Act, limits::Limits, logs::LogRequests,
};
use handover_identity::Ca;
use handover_model::{Digest, Timestamp};
use handover_proto::{
    v1::{self, operator_service_server::OperatorService},
    version::ProgramVersion,
};
use std::sync::Arc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

/// The operators' service. It has no way to the fleet of its own: each call brings its [`Permit`].
#[derive(Clone, Debug)]
pub struct Operators {
    bundles: Bundles,
    backups: Backups,
    limits: Arc<Limits>,
    logs: Arc<LogRequests>,
    commands: Arc<Orders>,
    ca: Arc<Ca>,
    fleet_name: String,
    address: String,
    started: Timestamp,
    stop: CancellationToken,
}

pub(super) type Answer<T> = Result<Response<T>, Status>;

impl Operators {
    /// The service of this server.
    #[must_use]
    pub fn new(context: &Context) -> Self {
        let Context {
            fleet: _,
            bundles,
            backups,
            ca,
            agent_life: _,
            fleet_name,
            address,
            limits,
            started,
            logs,
            commands,
            stop,
        } = context.clone();
        Self { bundles, backups, limits, logs, commands, ca, fleet_name, address, started, stop }
    }

    /// What a watch of this operator's needs.
    fn watching(&self, access: &Access) -> Result<Watching, Status> {
        let holding = Holding::watch(&self.limits, access, self.stop.clone())?;
        Ok(Watching { changes: access.changes(), holding })
    }
}

#[tonic::async_trait]
impl OperatorService for Operators {
    type VerifyAuditStream = Held<v1::AuditProgress, String>;
    type WatchServicesStream = Held<v1::ListServicesResponse, String>;
    type BackupStream = ReceiverStream<Result<v1::BackupChunk, Status>>;
    type WatchDeploymentStream = Held<v1::Deployment, String>;
    type ExplainDeploymentStream = Held<v1::StoryLine, String>;
    type WatchEventsStream = Held<v1::Events, String>;
    type RunPreviewStream = Held<v1::PreviewOutcome, String>;
    type ReadLogsStream = Held<v1::Logs, String>;

    async fn get_server(&self, request: Request<v1::GetServerRequest>) -> Answer<v1::ServerInfo> {
        Permit::of(&request)?.fleet()?;
        Ok(Response::new(v1::ServerInfo {
            version: ProgramVersion::OWN.to_string(),
            fleet: self.fleet_name.clone(),
            started_unix_millis: self.started.unix_millis(),
            ca_digest: self.ca.fingerprint().to_string(),
        }))
    }

    async fn backup(&self, request: Request<v1::BackupRequest>) -> Answer<Self::BackupStream> {
        let access = Permit::of(&request)?.fleet()?;
        let spool = self.backups.take().await.map_err(|error| backups::refused(&error))?;
        let entries = format!("{} entries", spool.summary.entries);
        access.change(Subject::of("a backup of the store").detail(entries), |_, _| Ok(())).await?;
        Ok(Response::new(backups::send(spool, self.stop.clone())))
    }

    async fn create_token(
        &self,
        request: Request<v1::CreateTokenRequest>,
    ) -> Answer<v1::CreateTokenResponse> {
        let access = Permit::of(&request)?.fleet()?;
        let made = tokens::create(&access, &self.ca, &self.address, request.into_inner()).await?;
        Ok(Response::new(made))
    }

    async fn list_tokens(&self, request: Request<v1::ListTokensRequest>) -> Answer<v1::ListTokensResponse> {
        let access = Permit::of(&request)?.fleet()?;
        Ok(Response::new(tokens::list(&access).await?))
    }

    async fn revoke_token(
        &self,
        request: Request<v1::RevokeTokenRequest>,
    ) -> Answer<v1::RevokeTokenResponse> {
        let access = Permit::of(&request)?.fleet()?;
        Ok(Response::new(tokens::revoke(&access, request.into_inner()).await?))
    }

    async fn sign_operator(
        &self,
        request: Request<v1::SignOperatorRequest>,
    ) -> Answer<v1::SignOperatorResponse> {
        let access = Permit::of(&request)?.fleet()?;
        let (record, issued) = rights::sign(&access, &self.ca, request.into_inner()).await?;
        Ok(Response::new(v1::SignOperatorResponse {
            certificate_pem: issued.chain_pem,
            ca_pem: self.ca.certificate_pem(),
            fleet: self.fleet_name.clone(),
            operator: Some(record),
        }))
    }

    async fn list_operators(
        &self,
        request: Request<v1::ListOperatorsRequest>,
    ) -> Answer<v1::ListOperatorsResponse> {
        let access = Permit::of(&request)?.fleet()?;
        let operators = access.look(|state, _| {
            Ok(state.operators().iter().map(|(name, record)| views::operator(name, record)).collect())
        });
        Ok(Response::new(v1::ListOperatorsResponse { operators: operators.await? }))
    }

    async fn update_operator(&self, request: Request<v1::UpdateOperatorRequest>) -> Answer<v1::Operator> {
        let access = Permit::of(&request)?.fleet()?;
        Ok(Response::new(rights::update(&access, request.into_inner()).await?))
    }

    async fn revoke_operator(&self, request: Request<v1::RevokeOperatorRequest>) -> Answer<v1::Operator> {
        let access = Permit::of(&request)?.fleet()?;
        Ok(Response::new(rights::revoke(&access, request.into_inner()).await?))
    }

    async fn list_audit(&self, request: Request<v1::ListAuditRequest>) -> Answer<v1::ListAuditResponse> {
        let access = Permit::of(&request)?.fleet()?;
        Ok(Response::new(audit::list(&access, request.into_inner()).await?))
    }

    async fn verify_audit(
        &self,
        request: Request<v1::VerifyAuditRequest>,
    ) -> Answer<Self::VerifyAuditStream> {
        let access = Permit::of(&request)?.fleet()?;
        let holding = Holding::watch(&self.limits, &access, self.stop.clone())?;
        Ok(Response::new(audit::verify(&access, request.into_inner(), holding).await?))
    }

    async fn list_hosts(&self, request: Request<v1::ListHostsRequest>) -> Answer<v1::ListHostsResponse> {
        let access = Permit::of(&request)?.filtered(None)?;
        Ok(Response::new(hosts::list(&access).await?))
    }

    async fn get_host(&self, request: Request<v1::GetHostRequest>) -> Answer<v1::Host> {
        let access = Permit::of(&request)?.filtered(None)?;
        let name = request::parse("name", &request.into_inner().name)?;
        Ok(Response::new(hosts::shown(&access, name).await?))
    }

    async fn update_host(&self, request: Request<v1::UpdateHostRequest>) -> Answer<v1::Host> {
        let access = Permit::of(&request)?.fleet()?;
        Ok(Response::new(hosts::update(&access, request.into_inner()).await?))
    }

    async fn remove_host(&self, request: Request<v1::RemoveHostRequest>) -> Answer<v1::RemoveHostResponse> {
        let access = Permit::of(&request)?.fleet()?;
        Ok(Response::new(hosts::remove(&access, request.into_inner()).await?))
    }

    async fn get_upload(&self, request: Request<v1::GetUploadRequest>) -> Answer<v1::Upload> {
        Permit::of(&request)?.fleet()?;
        let digest: Digest = request::parse("digest", &request.into_inner().digest)?;
        let received = self.bundles.received(digest).await.map_err(|error| uploads::refused(&error))?;
        Ok(Response::new(v1::Upload { received: received.bytes, complete: received.complete }))
    }

    async fn upload_bundle(
        &self,
        request: Request<Streaming<v1::UploadBundleRequest>>,
    ) -> Answer<v1::Upload> {
        let access = Permit::of(&request)?.fleet()?;
        let (digest, upload) =
            uploads::receive(&self.bundles, &self.limits, &access.by(), request.into_inner()).await?;
        // A file's end is no commit of the store's: what the audit has of it comes right behind.
        access.change(Subject::of(format!("bundle {digest}")), |_, _| Ok(())).await?;
        Ok(Response::new(upload))
    }

    async fn create_release(&self, request: Request<v1::CreateReleaseRequest>) -> Answer<v1::ReleaseInfo> {
        let permit = Permit::of(&request)?;
        Ok(Response::new(releases::create(permit, &self.bundles, request.into_inner()).await?))
    }

    async fn list_releases(
        &self,
        request: Request<v1::ListReleasesRequest>,
    ) -> Answer<v1::ListReleasesResponse> {
        let permit = Permit::of(&request)?;
        Ok(Response::new(releases::list(permit, request.into_inner()).await?))
    }

    async fn get_release(&self, request: Request<v1::GetReleaseRequest>) -> Answer<v1::ReleaseInfo> {
        let permit = Permit::of(&request)?;
        Ok(Response::new(releases::get(permit, request.into_inner()).await?))
    }

    async fn list_services(
        &self,
        request: Request<v1::ListServicesRequest>,
    ) -> Answer<v1::ListServicesResponse> {
        let permit = Permit::of(&request)?;
        let (access, service) = services::of(permit, &request.into_inner())?;
        Ok(Response::new(services::list(&access, service).await?))
    }

    async fn watch_services(
        &self,
        request: Request<v1::ListServicesRequest>,
    ) -> Answer<Self::WatchServicesStream> {
        let permit = Permit::of(&request)?;
        let (access, service) = services::of(permit, &request.into_inner())?;
        let looks = access.clone();
        let stream = watches::watch(self.watching(&access)?, move || {
            let (access, service) = (looks.clone(), service.clone());
            async move { services::list(&access, service).await }
        });
        Ok(Response::new(stream))
    }

    async fn plan_deployment(&self, request: Request<v1::DeploymentRequest>) -> Answer<v1::Plan> {
        let permit = Permit::of(&request)?;
        Ok(Response::new(deployments::plan(permit, request.into_inner()).await?))
    }

    async fn create_deployment(&self, request: Request<v1::DeploymentRequest>) -> Answer<v1::Deployment> {
        let permit = Permit::of(&request)?;
        Ok(Response::new(deployments::create(permit, request.into_inner()).await?))
    }

    async fn get_deployment(&self, request: Request<v1::GetDeploymentRequest>) -> Answer<v1::Deployment> {
        let permit = Permit::of(&request)?;
        let v1::GetDeploymentRequest { id, service } = request.into_inner();
        let (access, id) = permit.deployment(id, &service).await?;
        Ok(Response::new(deployments::shown(&access, id).await?))
    }

    async fn list_deployments(
        &self,
        request: Request<v1::ListDeploymentsRequest>,
    ) -> Answer<v1::ListDeploymentsResponse> {
        let permit = Permit::of(&request)?;
        Ok(Response::new(deployments::list(permit, request.into_inner()).await?))
    }

    async fn watch_deployment(
        &self,
        request: Request<v1::GetDeploymentRequest>,
    ) -> Answer<Self::WatchDeploymentStream> {
        let permit = Permit::of(&request)?;
        let v1::GetDeploymentRequest { id, service } = request.into_inner();
        let (access, id) = permit.deployment(id, &service).await?;
        let looks = access.clone();
        let stream = watches::watch(self.watching(&access)?, move || {
            let access = looks.clone();
            async move { deployments::shown(&access, id).await }
        });
        Ok(Response::new(stream))
    }

    async fn watch_events(
        &self,
        request: Request<v1::WatchEventsRequest>,
    ) -> Answer<Self::WatchEventsStream> {
        let permit = Permit::of(&request)?;
        let stream = events::stream(permit, &self.limits, &request.into_inner(), self.stop.clone());
        Ok(Response::new(stream?))
    }

    async fn read_logs(&self, request: Request<v1::ReadLogsRequest>) -> Answer<Self::ReadLogsStream> {
        let permit = Permit::of(&request)?;
        let (requests, limits) = (&self.logs, &self.limits);
        let stream = logs::read(permit, requests, limits, request.into_inner(), self.stop.clone());
        Ok(Response::new(stream.await?))
    }

    async fn abort_deployment(&self, request: Request<v1::AbortDeploymentRequest>) -> Answer<v1::Deployment> {
        let permit = Permit::of(&request)?;
        let asked = request::abort(request.into_inner(), permit.asker());
        let act = Act::Abort { reason: asked.reason.clone() };
        control::deployment(permit, asked, act).await
    }

    async fn promote_deployment(
        &self,
        request: Request<v1::ControlDeploymentRequest>,
    ) -> Answer<v1::Deployment> {
        let permit = Permit::of(&request)?;
        let asked = request::control(request.into_inner(), permit.asker())?;
        control::deployment(permit, asked, Act::Promote).await
    }

    async fn pause_deployment(
        &self,
        request: Request<v1::ControlDeploymentRequest>,
    ) -> Answer<v1::Deployment> {
        let permit = Permit::of(&request)?;
        let asked = request::control(request.into_inner(), permit.asker())?;
        let act = Act::Pause { reason: asked.reason.clone() };
        control::deployment(permit, asked, act).await
    }

    async fn resume_deployment(
        &self,
        request: Request<v1::ControlDeploymentRequest>,
    ) -> Answer<v1::Deployment> {
        let permit = Permit::of(&request)?;
        let asked = request::control(request.into_inner(), permit.asker())?;
        control::deployment(permit, asked, Act::Resume).await
    }

    async fn retry_deployment(
        &self,
        request: Request<v1::ControlDeploymentRequest>,
    ) -> Answer<v1::Deployment> {
        let permit = Permit::of(&request)?;
        let asked = request::control(request.into_inner(), permit.asker())?;
        let act = Act::Retry { hosts: asked.hosts.clone() };
        control::deployment(permit, asked, act).await
    }

    async fn explain_deployment(
        &self,
        request: Request<v1::GetDeploymentRequest>,
    ) -> Answer<Self::ExplainDeploymentStream> {
        let permit = Permit::of(&request)?;
        let v1::GetDeploymentRequest { id, service } = request.into_inner();
        let (access, id) = permit.deployment(id, &service).await?;
        let holding = Holding::watch(&self.limits, &access, self.stop.clone())?;
        Ok(Response::new(stories::tell(access, id, holding)))
    }

    async fn lock(&self, request: Request<v1::LockRequest>) -> Answer<v1::LockResponse> {
        control::lock(request).await
    }

    async fn unlock(&self, request: Request<v1::UnlockRequest>) -> Answer<v1::LockResponse> {
        control::unlock(request).await
    }

    async fn freeze(&self, request: Request<v1::FreezeRequest>) -> Answer<v1::FreezeResponse> {
        freezes::freeze(request).await
    }

    async fn unfreeze(&self, request: Request<v1::UnfreezeRequest>) -> Answer<v1::FreezeResponse> {
        freezes::unfreeze(request).await
    }

    async fn list_freezes(
        &self,
        request: Request<v1::ListFreezesRequest>,
    ) -> Answer<v1::ListFreezesResponse> {
        freezes::list(request).await
    }

    async fn preview(&self, request: Request<v1::PreviewRequest>) -> Answer<v1::PreviewResponse> {
        previews::list(request).await
    }

    async fn run_preview(&self, request: Request<v1::RunPreviewRequest>) -> Answer<Self::RunPreviewStream> {
        let permit = Permit::of(&request)?;
        let (wire, stop) = (request.into_inner(), self.stop.clone());
        let stream = commands::run(permit, &self.commands, &self.limits, wire, stop);
        Ok(Response::new(stream.await?))
    }

    async fn list_blocks(&self, request: Request<v1::ListBlocksRequest>) -> Answer<v1::ListBlocksResponse> {
        blocks::list(request).await
    }

    async fn list_rehearsals(
        &self,
        request: Request<v1::ListRehearsalsRequest>,
    ) -> Answer<v1::ListRehearsalsResponse> {
        rehearsals::list(request).await
    }
}
