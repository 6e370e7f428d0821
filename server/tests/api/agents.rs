//! Sessions: introduced, replaced, ended; bundles only for those whose target names them.

use crate::fixture::{Agent, DEADLINE, Server, bundle, hello, reason, until};
use handover_proto::v1::{
    self, AgentMessage, Hello, TargetRefused, agent_message::Message as FromAgent,
    agent_service_client::AgentServiceClient, server_message::Message as FromServer,
};
use std::time::Duration;
use tokio::time::timeout;
use tonic::{Status, Streaming};

/// The next status that ends the stream.
async fn end(stream: &mut Streaming<v1::ServerMessage>) -> Status {
    timeout(DEADLINE, async {
        loop {
            match stream.message().await {
                Ok(Some(_)) => {}
                Ok(None) => return Status::ok(""),
                Err(status) => return status,
            }
        }
    })
    .await
    .expect("the session does not end")
}

#[tokio::test]
async fn a_session_begins_with_welcome_and_target_and_beats() {
    let server = Server::start();
    let agent = Agent::enrol(&server, "a").await;
    let (_out, mut stream) = agent.session(hello()).await.unwrap();
    let (mut welcome, mut target, mut beat) = (false, false, false);
    while !(welcome && target && beat) {
        match timeout(DEADLINE, stream.message()).await.unwrap().unwrap().unwrap().message.unwrap() {
            FromServer::Welcome(message) => {
                assert!(!target && !beat, "the welcome comes first");
                assert_eq!(message.fleet, "test");
                welcome = true;
            }
            FromServer::Target(message) => {
                assert_eq!((message.host_name.as_str(), message.services.len()), ("a", 0));
                target = true;
            }
            FromServer::Heartbeat(_) => beat = true,
            FromServer::ReadLogs(asked) => panic!("nobody asked for logs: {asked:?}"),
            FromServer::Confirm(confirmed) => panic!("nobody flipped: {confirmed:?}"),
            FromServer::RunCommand(asked) => panic!("nobody asked for a command: {asked:?}"),
        }
    }
}

#[tokio::test]
async fn an_agent_of_another_age_or_without_a_hello_gets_no_session() {
    let server = Server::start();
    let agent = Agent::enrol(&server, "a").await;
    let refused = agent.session(Hello { version: "7.0.0".into(), ..hello() }).await.err().unwrap();
    assert_eq!(reason(&refused), "VERSION_SKEW");
    let (out, messages) = tokio::sync::mpsc::channel(1);
    out.send(AgentMessage { message: None }).await.unwrap();
    let mut client = AgentServiceClient::new(agent.channel().await);
    let refused = client.session(tokio_stream::wrappers::ReceiverStream::new(messages)).await.unwrap_err();
    assert_eq!(reason(&refused), "PROTOCOL");
}

#[tokio::test]
async fn a_newer_session_replaces_the_older_one() {
    let server = Server::start();
    let agent = Agent::enrol(&server, "a").await;
    let (_first_out, mut first) = agent.session(hello()).await.unwrap();
    let (_second_out, _second) = agent.session(hello()).await.unwrap();
    assert_eq!(reason(&end(&mut first).await), "SESSION_REPLACED");
    let host =
        server.operator().await.get_host(v1::GetHostRequest { name: "a".into() }).await.unwrap().into_inner();
    assert!(host.online);
}

#[tokio::test]
async fn a_removed_hosts_session_ends_and_its_certificate_is_worth_nothing() {
    let server = Server::start();
    let agent = Agent::enrol(&server, "a").await;
    let (_out, mut stream) = agent.session(hello()).await.unwrap();
    let remove = |force| v1::RemoveHostRequest { name: "a".into(), force, reason: String::new() };
    let refused = server.operator().await.remove_host(remove(false)).await.unwrap_err();
    assert_eq!(reason(&refused), "HOST_BUSY");
    server.operator().await.remove_host(remove(true)).await.unwrap();
    let ended = timeout(Duration::from_secs(5), end(&mut stream)).await.expect("the session goes on");
    assert_eq!(reason(&ended), "HOST_REMOVED");
    let refused = agent.session(hello()).await.err().unwrap();
    assert_eq!(reason(&refused), "HOST_REMOVED");
    Agent::enrol(&server, "a").await.session(hello()).await.unwrap();
}

#[tokio::test]
async fn a_refused_target_is_shown() {
    let server = Server::start();
    let agent = Agent::enrol(&server, "a").await;
    let (out, _stream) = agent.session(hello()).await.unwrap();
    let shown = async || {
        server.operator().await.get_host(v1::GetHostRequest { name: "a".into() }).await.unwrap().into_inner()
    };
    let refused =
        TargetRefused { revision: shown().await.target_revision, reason: "no such user: www".into() };
    out.send(AgentMessage { message: Some(FromAgent::TargetRefused(refused)) }).await.unwrap();
    until("the refusal is shown", async || shown().await.target_refused == "no such user: www").await;
}

#[tokio::test]
async fn a_bundle_is_fetched_from_an_offset_and_only_by_hosts_that_need_it() {
    let server = Server::start();
    let agent = Agent::enrol(&server, "a").await;
    let running = agent.run();
    let (descriptor, bytes) = bundle("1");
    server.push("web", "1", "").await;
    let fetch = async |offset| -> Result<Vec<u8>, Status> {
        let request = v1::FetchBundleRequest { digest: descriptor.digest.to_string(), offset };
        let mut chunks =
            AgentServiceClient::new(agent.channel().await).fetch_bundle(request).await?.into_inner();
        let mut data = Vec::new();
        while let Some(chunk) = chunks.message().await? {
            data.extend(chunk.data);
        }
        Ok(data)
    };
    assert_eq!(reason(&fetch(0).await.unwrap_err()), "NOT_YOUR_HOST");
    until("the agent is online", async || agent.target.lock().unwrap().is_some()).await;
    server.deploy("web", "1").await.unwrap();
    assert_eq!(fetch(0).await.unwrap(), bytes);
    assert_eq!(fetch(10).await.unwrap(), bytes[10..]);
    drop(running);
}

#[tokio::test]
async fn the_server_ends_in_time_with_sessions_watches_and_silent_connections_open() {
    let server = Server::start();
    let agent = Agent::enrol(&server, "a").await;
    let (_out, mut stream) = agent.session(hello()).await.unwrap();
    let mut watch = server
        .operator()
        .await
        .watch_services(v1::ListServicesRequest::default())
        .await
        .unwrap()
        .into_inner();
    watch.message().await.unwrap();
    let _silent = tokio::net::TcpStream::connect(&server.tls).await.unwrap();
    let took = tokio::task::spawn_blocking(move || server.terminate()).await.unwrap();
    assert!(took < Duration::from_secs(8), "{took:?}");
    assert_eq!(reason(&end(&mut stream).await), "SHUTTING_DOWN");
}

#[tokio::test]
async fn an_agent_that_says_nothing_is_taken_for_lost_and_one_without_a_name_is_not_waited_for() {
    let server = Server::start();
    let (silent, nameless) = (Agent::enrol(&server, "silent").await, Agent::enrol(&server, "nameless").await);
    let (_out, mut stream) = silent.session(hello()).await.unwrap();
    let (_kept_open, messages) = tokio::sync::mpsc::channel(1);
    let mut client = AgentServiceClient::new(nameless.channel().await);
    let unspoken = client.session(tokio_stream::wrappers::ReceiverStream::new(messages));
    let refused = timeout(Duration::from_secs(15), unspoken).await.expect("it was waited for").unwrap_err();
    assert_eq!(reason(&refused), "PROTOCOL");
    assert_eq!(reason(&end(&mut stream).await), "PROTOCOL");
    until("the silent host is offline", async || {
        let request = v1::GetHostRequest { name: "silent".into() };
        !server.operator().await.get_host(request).await.unwrap().into_inner().online
    })
    .await;
}

#[tokio::test]
async fn agents_one_minor_release_older_or_newer_are_let_in_and_shown_and_others_refused() {
    let server = Server::start();
    let agent = Agent::enrol(&server, "a").await;
    let own: handover_proto::version::ProgramVersion = env!("CARGO_PKG_VERSION").parse().unwrap();
    let mut near = vec![(format!("{}.{}.9", own.major, own.minor + 1), "newer")];
    if let Some(older) = own.minor.checked_sub(1) {
        near.push((format!("{}.{older}.9", own.major), "older"));
    }
    for (version, word) in near {
        let (_out, _stream) = agent.session(Hello { version: version.clone(), ..hello() }).await.unwrap();
        let request = v1::GetHostRequest { name: "a".into() };
        let host = server.operator().await.get_host(request).await.unwrap().into_inner();
        assert_eq!(host.agent_version, version);
        assert!(host.skew.contains(&format!("one minor release {word}")), "{}", host.skew);
    }
    let far = Hello { version: format!("{}.{}.0", own.major, own.minor + 2), ..hello() };
    assert_eq!(reason(&agent.session(far).await.err().unwrap()), "VERSION_SKEW");
}
