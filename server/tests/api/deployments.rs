//! Deployments over the wire, and through crashes of the server.

use crate::fixture::{Agent, Server, reason, until};
use handover_proto::v1::{self, DeploymentState};

const QUICK: &str = "[rollout]\nbake = \"100ms\"\n";

#[tokio::test]
async fn a_release_reaches_every_host_and_a_broken_one_is_rolled_back() {
    let server = Server::start();
    let (a, b) = (Agent::enrol(&server, "a").await, Agent::enrol(&server, "b").await);
    let _running = (a.run(), b.run());
    server.push("web", "1", QUICK).await;
    server.push("web", "2", QUICK).await;
    until("both agents are online", async || online(&server).await == 2).await;

    let begun = server.deploy("web", "1").await.unwrap();
    assert!(begun.created_by.contains("uid:"), "{}", begun.created_by);
    let ended = server.outcome(begun.id).await;
    assert_eq!(ended.state(), DeploymentState::Succeeded, "{ended:?}");
    assert!(ended.hosts.iter().all(|host| host.state == "done"), "{:?}", ended.hosts);
    until("the agents have the release alone", async || {
        a.versions("web") == ["1"] && b.versions("web") == ["1"]
    })
    .await;

    for agent in [&a, &b] {
        agent.broken.lock().unwrap().insert("2".into());
    }
    let begun = server.deploy("web", "2").await.unwrap();
    let ended = server.outcome(begun.id).await;
    assert_eq!(ended.state(), DeploymentState::RolledBack);
    assert!(ended.reason.contains("exited with 1"), "{}", ended.reason);
    assert_eq!(service(&server).await.version, "1");
    until("the agents are back", async || a.versions("web") == ["1"] && b.versions("web") == ["1"]).await;
}

#[tokio::test]
async fn a_second_deployment_is_refused_and_names_the_first() {
    let server = Server::start();
    let agent = Agent::enrol(&server, "a").await;
    let _running = agent.run();
    server.push("web", "1", "[rollout]\nbake = \"1h\"\n").await;
    until("the agent is online", async || online(&server).await == 1).await;
    let first = server.deploy("web", "1").await.unwrap();
    let refused = server.deploy("web", "1").await.unwrap_err();
    assert_eq!(reason(&refused), "DEPLOYMENT_IN_PROGRESS");
    assert!(refused.message().contains(&format!("d{}", first.id)), "{}", refused.message());
    let abort = v1::AbortDeploymentRequest { id: first.id, reason: "enough".into(), ..Default::default() };
    server.operator().await.abort_deployment(abort).await.unwrap();
    assert_eq!(server.outcome(first.id).await.state(), DeploymentState::RolledBack);
    let rollback = v1::DeploymentRequest { service: "web".into(), rollback: true, ..Default::default() };
    let refused = server.operator().await.create_deployment(rollback).await.unwrap_err();
    assert_eq!(reason(&refused), "NO_PREVIOUS_RELEASE");
}

#[tokio::test]
async fn a_deployment_goes_on_where_it_was_when_the_server_was_killed() {
    let mut server = Server::start();
    let hosts = ["a", "b", "c"];
    let mut agents = Vec::new();
    for host in hosts {
        agents.push(Agent::enrol(&server, host).await);
    }
    let _running: Vec<_> = agents.iter().map(Agent::run).collect();
    server.push("web", "1", "[rollout]\nbake = \"700ms\"\n").await;
    until("all agents are online", async || online(&server).await == 3).await;
    let begun = server.deploy("web", "1").await.unwrap();
    for count in 1..=2 {
        until("another host has the release", async || {
            agents.iter().filter(|agent| agent.versions("web") == ["1"]).count() >= count
        })
        .await;
        server.crash_and_start_again();
    }
    let ended = server.outcome(begun.id).await;
    assert_eq!(ended.state(), DeploymentState::Succeeded, "{ended:?}");
    assert_eq!(ended.hosts.len(), 3);
    server.crash_and_start_again();
    let shown = v1::GetDeploymentRequest { id: 0, service: "web".into() };
    let shown = server.operator().await.get_deployment(shown).await.unwrap().into_inner();
    assert_eq!((shown.id, shown.state(), shown.hosts.len()), (begun.id, DeploymentState::Succeeded, 3));
    assert_eq!(service(&server).await.version, "1");
}

#[tokio::test]
async fn a_host_that_comes_late_gets_the_current_release_by_itself() {
    let server = Server::start();
    let a = Agent::enrol(&server, "a").await;
    let _a = a.run();
    server.push("web", "1", QUICK).await;
    until("the agent is online", async || online(&server).await == 1).await;
    let begun = server.deploy("web", "1").await.unwrap();
    assert_eq!(server.outcome(begun.id).await.state(), DeploymentState::Succeeded);
    let b = Agent::enrol(&server, "b").await;
    let _b = b.run();
    until("the late host has it", async || b.versions("web") == ["1"]).await;
    let list = v1::ListDeploymentsRequest::default();
    let list = server.operator().await.list_deployments(list).await.unwrap().into_inner().deployments;
    assert_eq!(list[0].created_by, "server (catch-up)");
}

#[tokio::test]
async fn the_same_request_twice_is_one_deployment_also_after_a_crash() {
    let mut server = Server::start();
    let agent = Agent::enrol(&server, "a").await;
    let _running = agent.run();
    server.push("web", "1", QUICK).await;
    until("the agent is online", async || online(&server).await == 1).await;
    let request = v1::DeploymentRequest {
        service: "web".into(),
        version: "1".into(),
        request_id: "twice".into(),
        ..Default::default()
    };
    let first = server.operator().await.create_deployment(request.clone()).await.unwrap().into_inner();
    server.crash_and_start_again();
    let second = server.operator().await.create_deployment(request).await.unwrap().into_inner();
    assert_eq!(first.id, second.id);
}

#[tokio::test]
async fn a_services_watch_shows_each_change_with_a_newer_revision() {
    let server = Server::start();
    let mut watch = server
        .operator()
        .await
        .watch_services(v1::ListServicesRequest::default())
        .await
        .unwrap()
        .into_inner();
    let empty = watch.message().await.unwrap().unwrap();
    assert!(empty.services.is_empty());
    server.push("web", "1", "").await;
    let shown =
        tokio::time::timeout(crate::fixture::DEADLINE, watch.message()).await.unwrap().unwrap().unwrap();
    assert_eq!(shown.services[0].name, "web");
    assert!(shown.revision > empty.revision);
    assert!(!shown.services[0].no_rollback.is_empty());
}

async fn online(server: &Server) -> usize {
    let hosts = server.operator().await.list_hosts(v1::ListHostsRequest {}).await.unwrap().into_inner().hosts;
    hosts.iter().filter(|host| host.online).count()
}

async fn service(server: &Server) -> v1::Service {
    let request = v1::ListServicesRequest { service: "web".into() };
    server.operator().await.list_services(request).await.unwrap().into_inner().services.remove(0)
}
