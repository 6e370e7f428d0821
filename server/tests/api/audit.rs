//! Who did what, as the server tells it.

use crate::{
    fixture::{Agent, Server, reason, until},
    remote::Remote,
};
use handover_proto::v1::{self, AuditEntry, OperatorRole};

async fn audit(server: &Server, request: v1::ListAuditRequest) -> v1::ListAuditResponse {
    server.operator().await.list_audit(request).await.unwrap().into_inner()
}

async fn entries(server: &Server) -> Vec<AuditEntry> {
    audit(server, v1::ListAuditRequest::default()).await.entries
}

/// The end of a walk along the chain.
async fn verified(server: &Server, noted: Option<v1::AuditHead>) -> v1::AuditProgress {
    let request = v1::VerifyAuditRequest { noted };
    let mut stream = server.operator().await.verify_audit(request).await.unwrap().into_inner();
    let mut last = None;
    while let Some(progress) = stream.message().await.unwrap() {
        last = Some(progress);
    }
    last.unwrap()
}

#[tokio::test]
async fn each_change_is_told_with_who_from_where_what_and_why() {
    let mut server = Server::start();
    let agent = Agent::enrol(&server, "a").await;
    let running = agent.run();
    server.push("web", "1", "[rollout]\nbake = \"1h\"\n").await;
    let ada = Remote::create(&server, "ada", OperatorRole::Deployer, &["web"]).await;
    until("the agent is online", async || agent.target.lock().unwrap().is_some()).await;
    let deploy = v1::DeploymentRequest {
        service: "web".into(),
        version: "1".into(),
        request_id: "request-7".into(),
        ..Default::default()
    };
    let begun = ada.client().await.create_deployment(deploy).await.unwrap().into_inner();
    let abort = v1::AbortDeploymentRequest {
        id: begun.id,
        service: String::new(),
        reason: "wrong day".into(),
        ..Default::default()
    };
    ada.client().await.abort_deployment(abort).await.unwrap();
    server.outcome(begun.id).await;
    drop(running);
    let remove = v1::RemoveHostRequest { name: "a".into(), force: true, reason: "it burned".into() };
    server.operator().await.remove_host(remove).await.unwrap();

    let told = entries(&server).await;
    let methods: Vec<&str> = told.iter().map(|entry| entry.method.as_str()).collect();
    assert_eq!(
        methods,
        [
            "CreateToken",
            "Enrol",
            "UploadBundle",
            "CreateRelease",
            "SignOperator",
            "CreateDeployment",
            "AbortDeployment",
            "EndDeployment",
            "RemoveHost"
        ]
    );
    assert!(told.iter().all(|entry| entry.outcome == "ok" && entry.count == 1), "{told:?}");
    let of = |method: &str| told.iter().find(|entry| entry.method == method).unwrap();
    let created = of("CreateDeployment");
    assert_eq!(
        (created.who.as_str(), created.role.as_str(), created.service.as_str()),
        ("ada", "deployer", "web")
    );
    assert_eq!(created.credential, format!("certificate {}", ada.serial));
    assert!(created.from.starts_with("127.0.0.1:"), "{}", created.from);
    assert_eq!(created.request_id, "request-7");
    assert_eq!(created.detail, format!("d{} to 1", begun.id));
    let aborted = of("AbortDeployment");
    assert_eq!((aborted.service.as_str(), aborted.reason.as_str()), ("web", "wrong day"));
    assert!(aborted.detail.starts_with(&format!("d{} goes back", begun.id)), "{}", aborted.detail);
    let removed = of("RemoveHost");
    assert!(removed.who.starts_with("uid:") && removed.from.starts_with("unix, pid "), "{removed:?}");
    assert_eq!((removed.resource.as_str(), removed.detail.as_str()), ("host a", "forced"));
    assert_eq!((removed.role.as_str(), removed.reason.as_str()), ("admin", "it burned"));
    assert_eq!(of("Enrol").who, "host a");
    assert_eq!(of("EndDeployment").who, "server");

    let end = verified(&server, None).await;
    assert!(end.done && end.broken.is_none(), "{end:?}");
    assert_eq!(end.checked, told.len() as u64);
    server.crash_and_start_again();
    assert_eq!(entries(&server).await, told, "what was told survives");
    let after = verified(&server, end.head.clone()).await;
    assert!(after.broken.is_none() && after.head == end.head, "{after:?}");
    let forged = v1::AuditHead { sequence: 3, hash: "ab".repeat(32) };
    assert_eq!(verified(&server, Some(forged)).await.broken.unwrap().sequence, 3);
    let beyond = v1::AuditHead { sequence: 100, hash: end.head.unwrap().hash };
    assert!(verified(&server, Some(beyond)).await.broken.unwrap().what.contains("100 is not there"));
}

#[tokio::test]
async fn what_is_refused_is_told_too_and_a_flood_of_it_is_one_number() {
    let server = Server::start();
    let eve = Remote::create(&server, "eve", OperatorRole::Viewer, &[]).await;
    let mut client = eve.client().await;
    let remove = v1::RemoveHostRequest { name: "web-1".into(), force: true, reason: String::new() };
    // HTTP/2 ends a connection that has some 256 calls refused before they were read.
    for _ in 0..200 {
        assert_eq!(reason(&client.remove_host(remove.clone()).await.unwrap_err()), "NOT_AUTHORISED");
    }
    // A read that is refused leaves nothing.
    client.list_tokens(v1::ListTokensRequest {}).await.unwrap_err();
    // What an admin is refused stands there with its subject.
    server.operator().await.remove_host(remove).await.unwrap_err();
    let refusals = async || {
        let all = entries(&server).await.into_iter();
        all.filter(|entry| entry.outcome != "ok").collect::<Vec<_>>()
    };
    until("the refusals are told", async || refusals().await.len() >= 2).await;
    let told = refusals().await;
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!((told[0].who.as_str(), told[0].outcome.as_str()), ("eve", "NOT_AUTHORISED"));
    assert!(told[0].detail.contains("needs the role admin"), "{:?}", told[0]);
    assert_eq!((told[1].resource.as_str(), told[1].outcome.as_str()), ("host web-1", "UNKNOWN_HOST"));
}

#[tokio::test]
async fn a_refusal_that_is_still_counted_is_told_before_the_server_ends() {
    let mut server = Server::start();
    let eve = Remote::create(&server, "eve", OperatorRole::Viewer, &[]).await;
    let mut client = eve.client().await;
    for _ in 0..10 {
        client.create_token(v1::CreateTokenRequest::default()).await.unwrap_err();
    }
    drop((client, eve));
    server.end_and_start_again();
    let told = entries(&server).await;
    let counts: Vec<u64> = told.iter().filter(|entry| entry.who == "eve").map(|entry| entry.count).collect();
    assert_eq!(counts, [1, 9]);
}

#[tokio::test]
async fn the_audit_is_searched_by_who_service_and_number() {
    let server = Server::start();
    for service in ["web", "api"] {
        server.push(service, "1", "").await;
    }
    let ada = Remote::create(&server, "ada", OperatorRole::Admin, &[]).await;
    ada.client().await.create_token(v1::CreateTokenRequest::default()).await.unwrap();
    let ask = async |who: &str, service: &str, limit: u32| -> Vec<String> {
        let request =
            v1::ListAuditRequest { since_unix_millis: 0, who: who.into(), service: service.into(), limit };
        audit(&server, request).await.entries.into_iter().map(|entry| entry.method).collect()
    };
    assert_eq!(ask("ada", "", 0).await, ["CreateToken"]);
    assert_eq!(ask("", "api", 0).await, ["CreateRelease"]);
    assert_eq!(ask("", "", 2).await, ["SignOperator", "CreateToken"], "the newest last");
    let uid = nix::unistd::getuid().to_string();
    assert_eq!(ask(&uid, "web", 0).await, ["CreateRelease"]);
    let late = v1::ListAuditRequest { since_unix_millis: u64::MAX, ..Default::default() };
    assert!(audit(&server, late).await.entries.is_empty());
}
