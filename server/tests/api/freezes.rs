//! Freezes over the protocol: refused with a stable reason, overridden with an entry in the audit.

use crate::fixture::{Agent, Server, reason, until};
use handover_proto::v1;

fn deployment(override_freeze: bool, why: &str) -> v1::DeploymentRequest {
    v1::DeploymentRequest {
        service: "web".into(),
        version: "1".into(),
        request_id: format!("{override_freeze} {why}"),
        reason: why.into(),
        override_freeze,
        ..Default::default()
    }
}

#[tokio::test]
async fn a_freeze_is_listed_refuses_deployments_and_is_overridden_with_an_entry_in_the_audit() {
    let server = Server::start();
    let agent = Agent::enrol(&server, "a").await;
    let _running = agent.run();
    until("the agent is online", async || agent.target.lock().unwrap().is_some()).await;
    server.push("web", "1", "").await;
    let mut client = server.operator().await;
    let freeze = v1::FreezeRequest { reason: "the sales".into(), ..Default::default() };
    let answer = client.freeze(freeze).await.unwrap().into_inner().answer;
    assert_eq!(answer, "f1: the fleet is frozen");

    let refused = client.create_deployment(deployment(false, "")).await.unwrap_err();
    assert_eq!(reason(&refused), "FROZEN");
    assert!(refused.message().contains("the sales"), "{}", refused.message());
    let status = client.list_services(v1::ListServicesRequest::default()).await.unwrap().into_inner();
    assert_eq!(status.freezes.len(), 1, "status shows it");

    client.create_deployment(deployment(true, "the fire is larger")).await.unwrap();
    let told = client.list_audit(v1::ListAuditRequest::default()).await.unwrap().into_inner();
    let entry = told.entries.iter().find(|entry| entry.method == "CreateDeployment" && entry.outcome == "ok");
    let entry = entry.expect("the deployment is not in the audit");
    assert_eq!(entry.reason, "the fire is larger");
    assert!(entry.detail.ends_with("; with --override-freeze"), "{}", entry.detail);

    let ended = client.unfreeze(v1::UnfreezeRequest { number: 1 }).await.unwrap().into_inner().answer;
    assert!(ended.starts_with("f1 has ended"), "{ended}");
    let again = client.unfreeze(v1::UnfreezeRequest { number: 1 }).await.unwrap_err();
    assert_eq!(reason(&again), "UNKNOWN_FREEZE");
    let listed = client.list_freezes(v1::ListFreezesRequest {}).await.unwrap().into_inner();
    assert!(listed.freezes.is_empty());
}
