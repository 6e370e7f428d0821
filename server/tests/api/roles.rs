//! Roles, limits to services, and their end: over real connections.

use crate::{
    fixture::{Agent, DEADLINE, Server, bundle, reason, until},
    remote::Remote,
};
use handover::api::{Permission, Scope, TABLE};
use handover_proto::v1::{self, OperatorRole, operator_service_client::OperatorServiceClient};
use std::{
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    process::Command,
    time::{Duration, Instant},
};
use tokio::time::timeout;
use tonic::{Status, transport::Channel};

/// A revoked operator's streams are over by then.
const REVOKED: Duration = Duration::from_secs(5);

type Client = OperatorServiceClient<Channel>;

fn named(service: &str) -> v1::GetDeploymentRequest {
    v1::GetDeploymentRequest { id: 0, service: service.into() }
}

fn deployment(service: &str) -> v1::DeploymentRequest {
    v1::DeploymentRequest { service: service.into(), version: "1".into(), ..Default::default() }
}

fn release(service: &str) -> v1::CreateReleaseRequest {
    let manifest = format!("service = \"{service}\"\ncommand = [\"bin/run\"]\n");
    let release = v1::Release {
        service: service.into(),
        version: "1".into(),
        bundle: Some((&bundle("1").0).into()),
        manifest,
    };
    v1::CreateReleaseRequest { release: Some(release) }
}

/// Calls a method that is of a service, about that service, by name and (where the message has one) by the number of its
/// deployment. A method that is missing here is new: it needs its line.
async fn about(
    client: &mut Client,
    method: &str,
    service: &str,
    deployment_id: u64,
) -> Vec<Result<(), Status>> {
    let numbered = v1::GetDeploymentRequest { id: deployment_id, service: String::new() };
    let abort = |id, service: &str| v1::AbortDeploymentRequest {
        id,
        service: service.into(),
        reason: String::new(),
        ..Default::default()
    };
    match method {
        "CreateRelease" => vec![client.create_release(release(service)).await.map(drop)],
        "GetRelease" => {
            let request = v1::GetReleaseRequest { service: service.into(), version: "1".into() };
            vec![client.get_release(request).await.map(drop)]
        }
        "PlanDeployment" => vec![client.plan_deployment(deployment(service)).await.map(drop)],
        "CreateDeployment" => vec![client.create_deployment(deployment(service)).await.map(drop)],
        "GetDeployment" => vec![
            client.get_deployment(named(service)).await.map(drop),
            client.get_deployment(numbered).await.map(drop),
        ],
        "WatchDeployment" => vec![
            client.watch_deployment(named(service)).await.map(drop),
            client.watch_deployment(numbered).await.map(drop),
        ],
        "AbortDeployment" => vec![
            client.abort_deployment(abort(0, service)).await.map(drop),
            client.abort_deployment(abort(deployment_id, "")).await.map(drop),
        ],
        "PauseDeployment" | "PromoteDeployment" | "ResumeDeployment" | "RetryDeployment" => {
            let mut answers = Vec::new();
            for (id, service) in [(0, service), (deployment_id, "")] {
                let request =
                    v1::ControlDeploymentRequest { id, service: service.into(), ..Default::default() };
                let answer = match method {
                    "PauseDeployment" => client.pause_deployment(request).await,
                    "PromoteDeployment" => client.promote_deployment(request).await,
                    "ResumeDeployment" => client.resume_deployment(request).await,
                    _ => client.retry_deployment(request).await,
                };
                answers.push(answer.map(drop));
            }
            answers
        }
        "ExplainDeployment" => vec![
            client.explain_deployment(named(service)).await.map(drop),
            client.explain_deployment(numbered).await.map(drop),
        ],
        "Lock" => {
            let request =
                v1::LockRequest { service: service.into(), reason: "mine".into(), ..Default::default() };
            vec![client.lock(request).await.map(drop)]
        }
        "Unlock" => {
            let request = v1::UnlockRequest { service: service.into(), ..Default::default() };
            vec![client.unlock(request).await.map(drop)]
        }
        "Freeze" => {
            let request =
                v1::FreezeRequest { service: service.into(), reason: "sales".into(), ..Default::default() };
            vec![client.freeze(request).await.map(drop)]
        }
        // The one that was made a line before.
        "Unfreeze" => vec![client.unfreeze(v1::UnfreezeRequest { number: 1 }).await.map(drop)],
        "Preview" => {
            let request = v1::PreviewRequest { service: service.into(), hosts: Vec::new() };
            vec![client.preview(request).await.map(drop)]
        }
        "RunPreview" => {
            let request = v1::RunPreviewRequest {
                service: service.into(),
                command: vec!["bin/smoke".into()],
                ..Default::default()
            };
            vec![client.run_preview(request).await.map(drop)]
        }
        "ReadLogs" => {
            let request = v1::ReadLogsRequest { service: service.into(), ..Default::default() };
            vec![client.read_logs(request).await.map(drop)]
        }
        "ListRehearsals" => {
            let request = v1::ListRehearsalsRequest { service: service.into() };
            vec![client.list_rehearsals(request).await.map(drop)]
        }
        "ListBlocks" => {
            let request = v1::ListBlocksRequest { service: service.into() };
            vec![client.list_blocks(request).await.map(drop)]
        }
        "WatchEvents" => {
            let request = v1::WatchEventsRequest { service: service.into(), ..Default::default() };
            vec![client.watch_events(request).await.map(drop)]
        }
        "ListReleases" => {
            vec![client.list_releases(v1::ListReleasesRequest { service: service.into() }).await.map(drop)]
        }
        "ListServices" => {
            vec![client.list_services(v1::ListServicesRequest { service: service.into() }).await.map(drop)]
        }
        "WatchServices" => {
            vec![client.watch_services(v1::ListServicesRequest { service: service.into() }).await.map(drop)]
        }
        "ListDeployments" => {
            let request = v1::ListDeploymentsRequest { service: service.into(), limit: 0 };
            vec![client.list_deployments(request).await.map(drop)]
        }
        // Of hosts, of which only what is the operator's own is shown.
        "ListHosts" | "GetHost" | "ListFreezes" => Vec::new(),
        other => {
            panic!("{other} is of a service, and this test has no call of it about a foreign one: add it")
        }
    }
}

/// Two services, `web` and `api`, with a release and a deployment that goes on.
async fn two_services(server: &Server) -> (Agent, crate::fixture::Running, [u64; 2]) {
    let agent = Agent::enrol(server, "a").await;
    let running = agent.run();
    until("the agent is online", async || agent.target.lock().unwrap().is_some()).await;
    let mut ids = [0; 2];
    for (id, service) in ids.iter_mut().zip(["web", "api"]) {
        server.push(service, "1", "[rollout]\nbake = \"1h\"\n").await;
        *id = server.deploy(service, "1").await.unwrap().id;
    }
    (agent, running, ids)
}

#[tokio::test]
async fn whatever_is_of_a_service_refuses_those_who_are_limited_to_another() {
    let server = Server::start();
    let (_agent, _running, [web, _]) = two_services(&server).await;
    let foreign = Remote::create(&server, "foreign", OperatorRole::Deployer, &["api", "other"]).await;
    let own = Remote::create(&server, "own", OperatorRole::Deployer, &["web"]).await;
    let (mut foreign, mut own) = (foreign.client().await, own.client().await);
    let mut tried = 0;
    for rule in TABLE {
        let Permission::Operator(_, Scope::Service | Scope::Filtered) = rule.permission else { continue };
        for answer in about(&mut foreign, rule.method(), "web", web).await {
            assert_eq!(reason(&answer.unwrap_err()), "NOT_AUTHORISED", "{}", rule.path);
            tried += 1;
        }
        for answer in about(&mut own, rule.method(), "web", web).await {
            let refused = answer.err().map(|status| reason(&status));
            let for_another_reason =
                ["DEPLOYMENT_IN_PROGRESS", "NOTHING_TO_DO", "RELEASE_EXISTS", "DEPLOYMENT_ENDED", "NOT_NOW"];
            assert!(
                refused.as_deref().is_none_or(|reason| for_another_reason.contains(&reason)),
                "{}: {refused:?}",
                rule.path
            );
        }
    }
    assert!(tried >= 24, "only {tried} calls were tried");
}

#[tokio::test]
async fn lists_show_what_is_the_operators_own() {
    let server = Server::start();
    let (agent, _running, [web, api]) = two_services(&server).await;
    until("the host runs both", async || {
        !agent.versions("web").is_empty() && !agent.versions("api").is_empty()
    })
    .await;
    let mut limited = Remote::create(&server, "ada", OperatorRole::Viewer, &["web"]).await.client().await;
    let services =
        limited.list_services(v1::ListServicesRequest::default()).await.unwrap().into_inner().services;
    assert_eq!(services.iter().map(|service| service.name.as_str()).collect::<Vec<_>>(), ["web"]);
    let releases =
        limited.list_releases(v1::ListReleasesRequest::default()).await.unwrap().into_inner().releases;
    assert!(
        releases.iter().all(|info| info.release.as_ref().unwrap().service == "web") && releases.len() == 1
    );
    let list = limited.list_deployments(v1::ListDeploymentsRequest::default()).await.unwrap().into_inner();
    assert_eq!(list.deployments.iter().map(|deployment| deployment.id).collect::<Vec<_>>(), [web]);
    let host = limited.get_host(v1::GetHostRequest { name: "a".into() }).await.unwrap().into_inner();
    assert_eq!(host.assignments.iter().map(|a| a.service.as_str()).collect::<Vec<_>>(), ["web"]);
    assert!(host.instances.iter().all(|instance| instance.service == "web"));
    let mut watch = limited.watch_services(v1::ListServicesRequest::default()).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().services.len(), 1);
    let mut events = limited.watch_events(v1::WatchEventsRequest::default()).await.unwrap().into_inner();
    let (mut of_web, mut of_hosts) = (0, 0);
    while let Some(message) = events.message().await.unwrap() {
        for event in message.events {
            match event.service.as_str() {
                "web" => of_web += 1,
                "" => of_hosts += 1,
                other => panic!("an event of service {other}: {event:?}"),
            }
        }
    }
    assert!(of_web > 0 && of_hosts > 0, "{of_web} of web, {of_hosts} of hosts");
    let all = server.operator().await.list_services(v1::ListServicesRequest::default()).await.unwrap();
    assert_eq!(all.into_inner().services.len(), 2);
    assert_ne!(web, api);
}

#[tokio::test]
async fn a_role_ends_where_the_next_one_begins() {
    let server = Server::start();
    server.push("web", "1", "").await;
    let mut viewer = Remote::create(&server, "viewer", OperatorRole::Unspecified, &[]).await.client().await;
    let mut deployer = Remote::create(&server, "deployer", OperatorRole::Deployer, &[]).await.client().await;
    let mut admin = Remote::create(&server, "admin", OperatorRole::Admin, &[]).await.client().await;
    viewer.list_services(v1::ListServicesRequest::default()).await.unwrap();
    let refused = viewer.create_deployment(deployment("web")).await.unwrap_err();
    assert_eq!(reason(&refused), "NOT_AUTHORISED");
    assert!(refused.message().contains("needs the role deployer"), "{}", refused.message());
    // It may, and there is no host: refused for another reason.
    let refused = deployer.create_deployment(deployment("web")).await.unwrap_err();
    assert_eq!(reason(&refused), "NO_HOSTS");
    let refused = deployer.create_token(v1::CreateTokenRequest::default()).await.unwrap_err();
    assert_eq!(reason(&refused), "NOT_AUTHORISED");
    admin.create_token(v1::CreateTokenRequest::default()).await.unwrap();
}

#[tokio::test]
async fn a_revoked_operators_watches_end_and_nothing_is_open_to_it_any_more_also_after_a_crash() {
    let mut server = Server::start();
    let (_agent, _running, [web, _]) = two_services(&server).await;
    let eve = Remote::create(&server, "eve", OperatorRole::Deployer, &[]).await;
    let ada = Remote::create(&server, "ada", OperatorRole::Deployer, &[]).await;
    let mut client = eve.client().await;
    let mut services = client.watch_services(v1::ListServicesRequest::default()).await.unwrap().into_inner();
    let numbered = v1::GetDeploymentRequest { id: web, service: String::new() };
    let mut deployment = client.watch_deployment(numbered).await.unwrap().into_inner();
    services.message().await.unwrap().unwrap();
    deployment.message().await.unwrap().unwrap();
    // An upload of which nothing more comes.
    let (parts_in, parts) = tokio::sync::mpsc::channel(1);
    let header = v1::UploadHeader { bundle: Some((&bundle("7").0).into()), offset: 0 };
    let part = Some(v1::upload_bundle_request::Part::Header(header));
    parts_in.send(v1::UploadBundleRequest { part }).await.unwrap();
    let mut uploader = eve.client().await;
    let upload = tokio::spawn(async move {
        uploader.upload_bundle(tokio_stream::wrappers::ReceiverStream::new(parts)).await
    });
    let mut others = ada.client().await;
    let mut unharmed = others.watch_services(v1::ListServicesRequest::default()).await.unwrap().into_inner();
    unharmed.message().await.unwrap().unwrap();

    let revoke = v1::RevokeOperatorRequest { name: "eve".into(), reason: "left".into() };
    server.operator().await.revoke_operator(revoke).await.unwrap();
    let began = Instant::now();
    let ended = async |what: &str, end: &mut (dyn Future<Output = Status> + Send + Unpin)| {
        let status = timeout(REVOKED, end).await.unwrap_or_else(|_| panic!("{what} goes on"));
        assert_eq!(reason(&status), "REVOKED", "{what}");
    };
    ended("the watch of services", &mut Box::pin(last(&mut services))).await;
    ended("the watch of a deployment", &mut Box::pin(last(&mut deployment))).await;
    ended("the upload", &mut Box::pin(async { upload.await.unwrap().unwrap_err() })).await;
    assert!(began.elapsed() < REVOKED, "{:?}", began.elapsed());
    assert!(
        timeout(Duration::from_millis(300), unharmed.message()).await.is_err(),
        "somebody else's watch ended"
    );

    let refused = async || {
        let mut again = eve.client().await;
        reason(&again.list_services(v1::ListServicesRequest::default()).await.unwrap_err())
    };
    assert_eq!(refused().await, "REVOKED");
    let over_the_old_connection = client.get_server(v1::GetServerRequest {}).await.unwrap_err();
    assert_eq!(reason(&over_the_old_connection), "REVOKED");
    server.crash_and_start_again();
    assert_eq!(refused().await, "REVOKED");
    // Made anew under the same name, it has a new certificate; the old one stays worthless.
    let anew = Remote::create(&server, "eve", OperatorRole::Viewer, &[]).await;
    anew.client().await.list_services(v1::ListServicesRequest::default()).await.unwrap();
    assert_eq!(refused().await, "CERTIFICATE_UNKNOWN");
}

/// The status that ends a stream.
async fn last<T: std::fmt::Debug>(stream: &mut tonic::Streaming<T>) -> Status {
    loop {
        match stream.message().await {
            Ok(Some(_)) => {}
            Ok(None) => return Status::ok("it ended as if nothing had happened"),
            Err(status) => return status,
        }
    }
}

#[tokio::test]
async fn another_role_holds_at_once_with_the_same_certificate() {
    let server = Server::start();
    server.push("web", "1", "").await;
    server.push("api", "1", "").await;
    let ada = Remote::create(&server, "ada", OperatorRole::Viewer, &[]).await;
    let mut client = ada.client().await;
    assert_eq!(reason(&client.create_deployment(deployment("web")).await.unwrap_err()), "NOT_AUTHORISED");
    let mut watch = client.watch_services(v1::ListServicesRequest::default()).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().services.len(), 2);
    let update = v1::UpdateOperatorRequest {
        name: "ada".into(),
        role: OperatorRole::Deployer.into(),
        services: vec!["web".into()],
        change_services: true,
    };
    let operator = server.operator().await.update_operator(update).await.unwrap().into_inner();
    assert_eq!((operator.role(), operator.services), (OperatorRole::Deployer, vec!["web".to_owned()]));
    let ended = timeout(DEADLINE, last(&mut watch)).await.unwrap();
    assert_eq!(reason(&ended), "ROLE_CHANGED", "the watch showed what is not the operator's any more");
    assert_eq!(reason(&client.create_deployment(deployment("web")).await.unwrap_err()), "NO_HOSTS");
    let services =
        client.list_services(v1::ListServicesRequest::default()).await.unwrap().into_inner().services;
    assert_eq!(services.len(), 1);
}

#[tokio::test]
async fn what_makes_no_operator_is_refused() {
    let server = Server::start();
    let first = Remote::create(&server, "ada", OperatorRole::Deployer, &["web"]).await;
    let second = Remote::create(&server, "ada", OperatorRole::Unspecified, &[]).await;
    let mut operator = server.operator().await;
    let listed = operator.list_operators(v1::ListOperatorsRequest {}).await.unwrap().into_inner().operators;
    let serials: Vec<&str> =
        listed[0].certificates.iter().map(|certificate| certificate.serial.as_str()).collect();
    assert_eq!(serials, [first.serial.as_str(), &second.serial]);
    assert!(listed[0].created_by.starts_with("uid:"));
    let key = handover_identity::KeyPair::generate().unwrap();
    let request = |name: &str, role: OperatorRole, services: &[&str]| v1::SignOperatorRequest {
        name: name.into(),
        csr_pem: key.csr_pem().unwrap(),
        days: 1,
        role: role.into(),
        services: services.iter().map(|service| (*service).into()).collect(),
    };
    for (asked, expected) in [
        (request("ada", OperatorRole::Admin, &[]), "OPERATOR_EXISTS"),
        (request("ada", OperatorRole::Unspecified, &["api"]), "OPERATOR_EXISTS"),
        (request("root", OperatorRole::Admin, &["web"]), "INVALID_REQUEST"),
        (request("bob", OperatorRole::Viewer, &["no service"]), "INVALID_REQUEST"),
        (request("a b", OperatorRole::Viewer, &[]), "INVALID_REQUEST"),
        (request("server", OperatorRole::Viewer, &[]), "INVALID_REQUEST"),
    ] {
        let refused = operator.sign_operator(asked).await.unwrap_err();
        assert_eq!(reason(&refused), expected, "{}", refused.message());
    }
    let nobody = v1::RevokeOperatorRequest { name: "nobody".into(), reason: String::new() };
    assert_eq!(reason(&operator.revoke_operator(nobody).await.unwrap_err()), "UNKNOWN_OPERATOR");
    let listed = operator.list_operators(v1::ListOperatorsRequest {}).await.unwrap().into_inner().operators;
    assert_eq!(listed.len(), 1);
}

/// The exit code of `handover hosts` as another user of this machine, and what it complained.
fn hosts_as(server: &Server, uid: u32, gid: u32) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_handover"));
    command.args(["hosts", "--socket"]).arg(server.unix()).uid(uid).gid(gid);
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn another_user_of_the_servers_machine_is_no_operator_unless_its_group_is_named() {
    // Who they are does not matter: neither root nor the server's user, and not in root's group.
    let (user, group) = (65_534, 65_534);
    let open = || {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        folder
    };
    let server = Server::start_in(open(), &[]);
    assert_eq!(hosts_as(&server, 0, 0).0, Some(0));
    let (code, complaint) = hosts_as(&server, user, group);
    assert_eq!(code, Some(5), "the socket's mode keeps it out: {complaint}");
    // In the socket's group the kernel lets it in; the server does not.
    let (code, complaint) = hosts_as(&server, user, 0);
    assert_eq!(code, Some(6), "{complaint}");
    assert!(complaint.contains("--admin-group"), "{complaint}");
    let name =
        nix::unistd::Group::from_gid(group.into()).unwrap().expect("this machine has a group 65534").name;
    let server = Server::start_in(open(), &["--admin-group", &name]);
    assert_eq!(hosts_as(&server, user, group).0, Some(0));
}

#[tokio::test]
async fn the_fleets_own_lock_is_for_those_who_are_limited_to_no_service() {
    let server = Server::start();
    server.push("web", "1", "").await;
    let mut limited = Remote::create(&server, "ada", OperatorRole::Deployer, &["web"]).await.client().await;
    let mut free = Remote::create(&server, "bob", OperatorRole::Deployer, &[]).await.client().await;
    let lock = |service: &str| v1::LockRequest {
        service: service.into(),
        reason: "moving house".into(),
        ..Default::default()
    };
    assert_eq!(reason(&limited.lock(lock("")).await.unwrap_err()), "NOT_AUTHORISED");
    limited.lock(lock("web")).await.unwrap();
    free.lock(lock("")).await.unwrap();
    let unlock = v1::UnlockRequest { take_over: true, reason: "now".into(), ..Default::default() };
    assert_eq!(reason(&limited.unlock(unlock).await.unwrap_err()), "NOT_AUTHORISED");
    // Nor on the way of a deployment, which takes over whatever lock is in its way.
    let deployment = v1::DeploymentRequest {
        service: "web".into(),
        version: "1".into(),
        request_id: "by ada".into(),
        take_over: true,
        reason: "now".into(),
        ..Default::default()
    };
    let refused = limited.create_deployment(deployment).await.unwrap_err();
    assert_eq!(reason(&refused), "NOT_AUTHORISED");
    assert!(refused.message().contains("bob has locked the fleet (moving house)"), "{}", refused.message());
}

#[tokio::test]
async fn a_backup_is_for_the_servers_own_machine_only_and_is_told() {
    let server = Server::start();
    let mut admin = Remote::create(&server, "ada", OperatorRole::Admin, &[]).await.client().await;
    assert_eq!(reason(&admin.backup(v1::BackupRequest {}).await.unwrap_err()), "NOT_AUTHORISED");
    server.operator().await.backup(v1::BackupRequest {}).await.unwrap();
    let told =
        server.operator().await.list_audit(v1::ListAuditRequest::default()).await.unwrap().into_inner();
    let backups = told.entries.iter().filter(|entry| entry.method == "Backup" && entry.outcome == "ok");
    assert_eq!(backups.count(), 1);
}
