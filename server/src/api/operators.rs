//! What operators call. Each call: convert, ask the fleet through the call's permit, convert back.

use super::{
    Context, audit, backups, control, events,
    held::Held,
    logs,
    permit::{Access, Permit, Subject},
    request, rights, stories, uploads, views,
    watches::{self, Watching},
};
use crate::{
    backup::Backups,
    blobs::Bundles,
    fleet::{Act, DeploymentRecord, HostChange, Refusal},
    limits::Limits,
    logs::LogRequests,
};
use handover_identity::{Ca, JoinToken, ServerAddress, TokenId};
use handover_model::{DeploymentId, Digest, Duration, HostName, Release, ReleaseRef, ServiceName, Timestamp};
use handover_proto::{
    status::{Reason, refuse},
    v1::{self, operator_service_server::OperatorService},
    version::ProgramVersion,
};
use std::sync::Arc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

/// Deployments in a list where nothing is said.
const LISTED: usize = 20;
/// Deployments in a list at most.
const MOST_LISTED: usize = 200;

/// The operators' service. It has no way to the fleet of its own: each call brings its [`Permit`].
#[derive(Clone, Debug)]
pub struct Operators {
    bundles: Bundles,
    backups: Backups,
    limits: Arc<Limits>,
    logs: Arc<LogRequests>,
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
            stop,
        } = context.clone();
        Self { bundles, backups, limits, logs, ca, fleet_name, address, started, stop }
    }

    /// A deployment, from memory or from the journal.
    pub(super) async fn deployment(access: &Access, id: DeploymentId) -> Result<v1::Deployment, Refusal> {
        let seen: Result<v1::Deployment, DeploymentRecord> = access
            .look(move |state, _| {
                let (record, live) = state.deployment(id)?;
                Ok(live.map(|live| views::deployment(id, record, live)).ok_or_else(|| record.clone()))
            })
            .await?;
        match seen {
            Ok(deployment) => Ok(deployment),
            Err(record) => {
                let engine = access.replayed(id).await?;
                Ok(views::deployment_from_journal(id, &record, engine))
            }
        }
    }

    /// What a watch of this operator's needs.
    fn watching(&self, access: &Access) -> Result<Watching, Status> {
        let place = self.limits.watch(&access.by())?;
        let counters = self.limits.counters();
        let open = Some(access.metrics().watcher());
        Ok(Watching { changes: access.changes(), place, counters, open, stop: self.stop.clone() })
    }

    async fn host(access: &Access, name: HostName) -> Answer<v1::Host> {
        let seen_by = access.clone();
        let host = access.look(move |state, _| {
            Ok(views::host(state, &name, state.host(&name)?, |service| seen_by.sees(service)))
        });
        Ok(Response::new(host.await?))
    }
}

#[tonic::async_trait]
impl OperatorService for Operators {
    type VerifyAuditStream = ReceiverStream<Result<v1::AuditProgress, Status>>;
    type WatchServicesStream = Held<v1::ListServicesResponse, String>;
    type BackupStream = ReceiverStream<Result<v1::BackupChunk, Status>>;
    type WatchDeploymentStream = Held<v1::Deployment, String>;
    type ExplainDeploymentStream = ReceiverStream<Result<v1::StoryLine, Status>>;
    type WatchEventsStream = ReceiverStream<Result<v1::Events, Status>>;
    type ReadLogsStream = ReceiverStream<Result<v1::Logs, Status>>;

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
        let v1::CreateTokenRequest { ttl_seconds, host, server } = request.into_inner();
        let host: Option<HostName> = request::parse_optional("host", &host)?;
        let server = if server.is_empty() { self.address.clone() } else { server };
        let server: ServerAddress = request::parse("server", &server)?;
        let token = JoinToken::generate(self.ca.fingerprint(), server)
            .map_err(|error| Status::from(Refusal::Internal(error.to_string())))?;
        let (id, secret) = (token.claim.id, token.claim.secret.digest());
        let life = Duration::from_secs(ttl_seconds);
        let wanted = host.as_ref().map(|host| format!("for host {host}")).unwrap_or_default();
        let record = access
            .change(Subject::of(format!("token {id}")).detail(wanted), move |desk, _| {
                desk.state.create_token(id, secret, host, life, desk.now, desk.effects)
            })
            .await?;
        Ok(Response::new(v1::CreateTokenResponse {
            token: token.expose(),
            id: id.to_string(),
            expires_unix_millis: record.expires.unix_millis(),
        }))
    }

    async fn list_tokens(&self, request: Request<v1::ListTokensRequest>) -> Answer<v1::ListTokensResponse> {
        let access = Permit::of(&request)?.fleet()?;
        let tokens = access.look(|state, _| {
            let token = |(id, token): (&TokenId, &crate::fleet::TokenRecord)| v1::Token {
                id: id.to_string(),
                host: token.host.as_ref().map(ToString::to_string).unwrap_or_default(),
                created_unix_millis: token.created.unix_millis(),
                expires_unix_millis: token.expires.unix_millis(),
                used_by: token.used_by.as_ref().map(ToString::to_string).unwrap_or_default(),
            };
            Ok(state.tokens().map(token).collect())
        });
        Ok(Response::new(v1::ListTokensResponse { tokens: tokens.await? }))
    }

    async fn revoke_token(
        &self,
        request: Request<v1::RevokeTokenRequest>,
    ) -> Answer<v1::RevokeTokenResponse> {
        let access = Permit::of(&request)?.fleet()?;
        let id: TokenId = request::parse("id", &request.into_inner().id)?;
        let token = Subject::of(format!("token {id}"));
        access.change(token, move |desk, _| desk.state.revoke_token(id, desk.effects)).await?;
        Ok(Response::new(v1::RevokeTokenResponse {}))
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
        Ok(Response::new(audit::verify(&access, request.into_inner(), self.stop.clone()).await?))
    }

    async fn list_hosts(&self, request: Request<v1::ListHostsRequest>) -> Answer<v1::ListHostsResponse> {
        let access = Permit::of(&request)?.filtered(None)?;
        let seen_by = access.clone();
        let hosts = access.look(move |state, _| {
            let seen = |service: &ServiceName| seen_by.sees(service);
            Ok(state.hosts().map(|(name, host)| views::host(state, name, host, seen)).collect())
        });
        Ok(Response::new(v1::ListHostsResponse { hosts: hosts.await? }))
    }

    async fn get_host(&self, request: Request<v1::GetHostRequest>) -> Answer<v1::Host> {
        let access = Permit::of(&request)?.filtered(None)?;
        Self::host(&access, request::parse("name", &request.into_inner().name)?).await
    }

    async fn update_host(&self, request: Request<v1::UpdateHostRequest>) -> Answer<v1::Host> {
        let access = Permit::of(&request)?.fleet()?;
        let v1::UpdateHostRequest { name, set_labels, remove_labels, cordoned, acknowledge_clone } =
            request.into_inner();
        let name: HostName = request::parse("name", &name)?;
        let remove = remove_labels.into_iter().collect();
        let change = HostChange { set: request::labels(set_labels), remove, cordoned, acknowledge_clone };
        let changed = name.clone();
        let subject = Subject::of(format!("host {name}")).detail(wanted(&change));
        access
            .change(subject, move |desk, _| desk.state.update_host(&changed, &change, desk.now, desk.effects))
            .await?;
        Self::host(&access, name).await
    }

    async fn remove_host(&self, request: Request<v1::RemoveHostRequest>) -> Answer<v1::RemoveHostResponse> {
        let access = Permit::of(&request)?.fleet()?;
        let v1::RemoveHostRequest { name, force, reason } = request.into_inner();
        let name: HostName = request::parse("name", &name)?;
        let forced = if force { "forced" } else { "" };
        let subject = Subject::of(format!("host {name}")).detail(forced).reason(reason);
        access
            .change(subject, move |desk, _| desk.state.remove_host(&name, force, desk.now, desk.effects))
            .await?;
        Ok(Response::new(v1::RemoveHostResponse {}))
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
        let release = request.into_inner().release;
        let release =
            release.ok_or_else(|| refuse(Reason::InvalidRequest, "field release: is missing", ""))?;
        let release = Release::try_from(release)?;
        let access = permit.service(&release.name.service)?;
        let (by, digest) = (access.by(), release.bundle.digest);
        // Asking keeps the bundle from being pruned until the release has it.
        let received = self.bundles.received(digest).await.map_err(|error| uploads::refused(&error))?;
        if !received.complete {
            return Err(Refusal::NoBundle(release.name).into());
        }
        let subject = Subject::service(&release.name.service).detail(format!(
            "release {}, bundle {}",
            release.name.version,
            digest.short()
        ));
        let stored = access
            .change(subject, move |desk, _| desk.state.create_release(release, &by, desk.now, desk.effects))
            .await?;
        Ok(Response::new(views::release(&stored, true)))
    }

    async fn list_releases(
        &self,
        request: Request<v1::ListReleasesRequest>,
    ) -> Answer<v1::ListReleasesResponse> {
        let permit = Permit::of(&request)?;
        let service: Option<ServiceName> = request::parse_optional("service", &request.into_inner().service)?;
        let access = permit.filtered(service.as_ref())?;
        let seen_by = access.clone();
        let releases = access.look(move |state, _| {
            let releases = state.list_releases(service.as_ref()).into_iter();
            let seen = releases.filter(|release| seen_by.sees(&release.release.name.service));
            Ok(seen.map(|release| views::release(release, false)).collect())
        });
        Ok(Response::new(v1::ListReleasesResponse { releases: releases.await? }))
    }

    async fn get_release(&self, request: Request<v1::GetReleaseRequest>) -> Answer<v1::ReleaseInfo> {
        let permit = Permit::of(&request)?;
        let v1::GetReleaseRequest { service, version } = request.into_inner();
        let name = ReleaseRef {
            service: request::parse("service", &service)?,
            version: request::parse("version", &version)?,
        };
        let access = permit.service(&name.service)?;
        let release = access.look(move |state, _| Ok(views::release(state.get_release(&name)?, true)));
        Ok(Response::new(release.await?))
    }

    async fn list_services(
        &self,
        request: Request<v1::ListServicesRequest>,
    ) -> Answer<v1::ListServicesResponse> {
        let permit = Permit::of(&request)?;
        let service: Option<ServiceName> = request::parse_optional("service", &request.into_inner().service)?;
        let access = permit.filtered(service.as_ref())?;
        let seen_by = access.clone();
        let services = access.look(move |state, now| {
            Ok(views::services(state, service.as_ref(), |service| seen_by.sees(service), now))
        });
        Ok(Response::new(services.await?))
    }

    async fn watch_services(
        &self,
        request: Request<v1::ListServicesRequest>,
    ) -> Answer<Self::WatchServicesStream> {
        let permit = Permit::of(&request)?;
        let service: Option<ServiceName> = request::parse_optional("service", &request.into_inner().service)?;
        let access = permit.filtered(service.as_ref())?;
        let looks = access.clone();
        let stream = watches::watch(self.watching(&access)?, move || {
            let (access, seen_by, service) = (looks.clone(), looks.clone(), service.clone());
            async move {
                let services = access.look(move |state, now| {
                    Ok(views::services(state, service.as_ref(), |service| seen_by.sees(service), now))
                });
                services.await
            }
        });
        Ok(Response::new(stream))
    }

    async fn plan_deployment(&self, request: Request<v1::DeploymentRequest>) -> Answer<v1::Plan> {
        let permit = Permit::of(&request)?;
        let request = request::deployment(request.into_inner(), permit.asker().limited)?;
        let access = permit.service(&request.service)?;
        let plan = access
            .look(move |state, now| state.plan_deployment(&request, now).map(|(plan, _)| views::plan(&plan)));
        Ok(Response::new(plan.await?))
    }

    async fn create_deployment(&self, request: Request<v1::DeploymentRequest>) -> Answer<v1::Deployment> {
        let permit = Permit::of(&request)?;
        let request = request::deployment(request.into_inner(), permit.asker().limited)?;
        let access = permit.service(&request.service)?;
        let by = access.by();
        let taken = request.take_over.clone().unwrap_or_default();
        let subject = Subject::service(&request.service).request(&*request.request).reason(taken);
        let id = access.change(subject, move |desk, subject| {
            let id = desk.state.create_deployment(&request, &by, desk.now, desk.effects)?;
            let version = &desk.state.deployment(id)?.0.release.version;
            let rollback = if request.rollback { ", a rollback" } else { "" };
            let taken = if request.take_over.is_some() { "; with --take-over" } else { "" };
            subject.say(format!("{id} to {version}{rollback}{taken}"));
            Ok(id)
        });
        let id = id.await?;
        Ok(Response::new(Self::deployment(&access, id).await?))
    }

    async fn get_deployment(&self, request: Request<v1::GetDeploymentRequest>) -> Answer<v1::Deployment> {
        let permit = Permit::of(&request)?;
        let v1::GetDeploymentRequest { id, service } = request.into_inner();
        let (access, id) = permit.deployment(id, &service).await?;
        Ok(Response::new(Self::deployment(&access, id).await?))
    }

    async fn list_deployments(
        &self,
        request: Request<v1::ListDeploymentsRequest>,
    ) -> Answer<v1::ListDeploymentsResponse> {
        let permit = Permit::of(&request)?;
        let v1::ListDeploymentsRequest { service, limit } = request.into_inner();
        let service: Option<ServiceName> = request::parse_optional("service", &service)?;
        let limit = match usize::try_from(limit) {
            Ok(0) => LISTED,
            Ok(limit) => limit.min(MOST_LISTED),
            Err(_) => MOST_LISTED,
        };
        let access = permit.filtered(service.as_ref())?;
        let seen_by = access.clone();
        let deployments = access.look(move |state, _| {
            let seen =
                state.deployments(service).filter(|(_, record, _)| seen_by.sees(&record.release.service));
            let newest = seen.take(limit);
            Ok(newest.map(|(id, record, live)| views::summary(id, record, live)).collect())
        });
        Ok(Response::new(v1::ListDeploymentsResponse { deployments: deployments.await? }))
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
            async move { Self::deployment(&access, id).await }
        });
        Ok(Response::new(stream))
    }

    async fn watch_events(
        &self,
        request: Request<v1::WatchEventsRequest>,
    ) -> Answer<Self::WatchEventsStream> {
        let permit = Permit::of(&request)?;
        Ok(Response::new(events::stream(permit, &request.into_inner(), self.stop.clone())?))
    }

    async fn read_logs(&self, request: Request<v1::ReadLogsRequest>) -> Answer<Self::ReadLogsStream> {
        let permit = Permit::of(&request)?;
        let stream = logs::read(permit, Arc::clone(&self.logs), request.into_inner(), self.stop.clone());
        Ok(Response::new(stream.await?))
    }

    async fn abort_deployment(&self, request: Request<v1::AbortDeploymentRequest>) -> Answer<v1::Deployment> {
        let permit = Permit::of(&request)?;
        let asked = request::abort(request.into_inner(), permit.asker());
        let act = Act::Abort { reason: asked.reason.clone() };
        control::deployment(permit, asked, act).await
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
        Ok(Response::new(stories::tell(access, id, self.stop.clone())))
    }

    async fn lock(&self, request: Request<v1::LockRequest>) -> Answer<v1::LockResponse> {
        control::lock(request).await
    }

    async fn unlock(&self, request: Request<v1::UnlockRequest>) -> Answer<v1::LockResponse> {
        control::unlock(request).await
    }
}

/// What is to be changed in a host, in words.
fn wanted(change: &HostChange) -> String {
    let HostChange { set, remove, cordoned, acknowledge_clone } = change;
    let set = set.iter().map(|(key, value)| format!("{key}={value}"));
    let remove = remove.iter().map(|key| format!("{key}-"));
    let cordoned = cordoned.iter().map(|cordoned| if *cordoned { "cordon" } else { "uncordon" }.to_owned());
    let copy = acknowledge_clone.then(|| "acknowledge".to_owned());
    set.chain(remove).chain(cordoned).chain(copy).collect::<Vec<_>>().join(" ")
}
