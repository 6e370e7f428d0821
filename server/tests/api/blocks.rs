//! What a service did while no deployment went on: told by a host, closed as blocks, listed.

use crate::fixture::{Agent, Server, hello, reason, until};
use handover_model::Target;
use handover_proto::v1::{
    self, AgentMessage, agent_message::Message as FromAgent, server_message::Message as FromServer,
};
use std::time::Duration;

const MEASURED: &str = "[listeners]\nhttp = \"0.0.0.0:8080\"\n[metrics]\ninterval = \"1s\"\ntimeout = \"1s\"\n[judge]\nblock = \"1s\"\n[rollout]\nbake = \"100ms\"\n";

/// A host of which every measurement has a hundred requests more, two of them bad.
async fn measures(agent: &Agent) -> tokio::task::JoinHandle<()> {
    let (out, mut stream) = agent.session(hello()).await.unwrap();
    let agent = agent.clone();
    tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        for number in 1_u64.. {
            let message = tokio::select! {
                _ = tick.tick() => {
                    let traffic = v1::Traffic { requests: 100 * number, bad: 2 * number, latency: None };
                    let sample = v1::Sample {
                        instance: "web-d1".into(),
                        share: 10_000,
                        traffic: Some(traffic),
                        ..Default::default()
                    };
                    FromAgent::Measurement(v1::Measurement { service: "web".into(), samples: vec![sample] })
                }
                message = stream.message() => match message {
                    Ok(Some(v1::ServerMessage { message: Some(FromServer::Target(target)) })) => {
                        let report = agent.report(&Target::try_from(target).unwrap());
                        FromAgent::Report(report.into())
                    }
                    Ok(Some(_)) => continue,
                    Ok(None) | Err(_) => return,
                },
            };
            if out.send(AgentMessage { message: Some(message) }).await.is_err() {
                return;
            }
        }
    })
}

#[tokio::test]
async fn blocks_without_a_deployment_are_listed_with_what_each_group_of_hosts_did() {
    let server = Server::start();
    server.push("web", "1", MEASURED).await;
    let mut client = server.operator().await;
    let request = |service: &str| v1::ListBlocksRequest { service: service.into() };
    let nothing = client.list_blocks(request("web")).await.unwrap().into_inner();
    assert_eq!((nothing.version.as_str(), nothing.hosts, nothing.blocks.len()), ("", 0, 0));
    assert_eq!(reason(&client.list_blocks(request("other")).await.unwrap_err()), "UNKNOWN_SERVICE");
    assert_eq!(reason(&client.list_blocks(request("No Service")).await.unwrap_err()), "INVALID_REQUEST");

    let host = measures(&Agent::enrol(&server, "a").await).await;
    until("the agent is online", async || {
        let hosts = server.operator().await.list_hosts(v1::ListHostsRequest::default()).await.unwrap();
        hosts.into_inner().hosts.iter().any(|host| host.online)
    })
    .await;
    let begun = server.deploy("web", "1").await.unwrap();
    assert_eq!(server.outcome(begun.id).await.state(), v1::DeploymentState::Succeeded);
    let mut told = nothing;
    until("two blocks are there", async || {
        told = client.list_blocks(request("web")).await.unwrap().into_inner();
        told.blocks.len() >= 2
    })
    .await;
    host.abort();
    assert_eq!((told.version.as_str(), told.block_millis, told.hosts), ("1", 1_000, 1));
    for block in &told.blocks {
        let [group] = &block.groups[..] else { panic!("one host is one group: {block:?}") };
        assert!(group.requests > 0 && group.requests.is_multiple_of(100), "{group:?}");
        assert_eq!(group.bad * 50, group.requests, "{group:?}");
    }
}
