//! Commands beside hidden instances: asked through the session, told by a call of the agent's own, once and by itself only.

use crate::fixture::{Agent, DEADLINE, Server, hello, reason};
use handover_proto::v1::{
    self, agent_message::Message as FromAgent, agent_service_client::AgentServiceClient,
    server_message::Message as FromServer,
};
use tokio::time::timeout;

fn request(hosts: &[&str]) -> v1::RunPreviewRequest {
    v1::RunPreviewRequest {
        service: "web".into(),
        hosts: hosts.iter().map(|&host| host.into()).collect(),
        command: vec!["bin/smoke".into(), "--all".into()],
        timeout_millis: 2_000,
    }
}

fn hidden(pin: Option<v1::Pin>) -> v1::AgentMessage {
    let instance = v1::InstanceReport {
        instance: "web-d1".into(),
        service: "web".into(),
        version: "1".into(),
        phase: v1::InstancePhase::Ready.into(),
        pid: Some(7),
        pin,
        ..Default::default()
    };
    let report = v1::HostReport { revision: 0, instances: vec![instance], migrations: Vec::new() };
    v1::AgentMessage { message: Some(FromAgent::Report(report)) }
}

fn pin() -> v1::Pin {
    v1::Pin { address: "127.77.0.3".into(), first_port: 61_048, last_port: 61_063 }
}

#[tokio::test]
async fn a_host_tells_of_what_it_was_asked_and_nobody_else_does() {
    let server = Server::start();
    server.push("web", "1", "[listeners]\nhttp = \"0.0.0.0:8080\"\n").await;
    let (agent, other) = (Agent::enrol(&server, "a").await, Agent::enrol(&server, "b").await);
    let (out, mut stream) = agent.session(hello()).await.unwrap();
    let mut client = server.operator().await;
    // An agent that is older tells no pin: what cannot be reached is not shown.
    out.send(hidden(None)).await.unwrap();
    out.send(hidden(Some(pin()))).await.unwrap();
    let shown = async {
        loop {
            let asked = v1::PreviewRequest { service: "web".into(), hosts: Vec::new() };
            let shown = client.preview(asked).await.unwrap().into_inner().hidden;
            if !shown.is_empty() {
                return shown;
            }
        }
    };
    let shown = timeout(DEADLINE, shown).await.expect("the hidden instance is not shown");
    let address = v1::ListenerAddress { listener: "http".into(), address: "127.0.0.1:8080".into() };
    assert_eq!((shown[0].pin.clone(), shown[0].addresses.clone()), (Some(pin()), vec![address]));

    let mut told = client.run_preview(request(&[])).await.unwrap().into_inner();
    let asked = async {
        loop {
            if let Some(FromServer::RunCommand(asked)) = stream.message().await.unwrap().unwrap().message {
                return asked;
            }
        }
    };
    let asked = timeout(DEADLINE, asked).await.expect("the host was not asked");
    assert_eq!((asked.instance.as_str(), asked.timeout_millis), ("web-d1", 2_000));
    assert_eq!(asked.command, ["bin/smoke", "--all"]);
    let outcome = v1::CommandOutcome {
        request_id: asked.request_id,
        ended: "exited with\u{1b} code 3".into(),
        code: Some(3),
        output: vec![b'x'; 70_000],
        ..Default::default()
    };
    let mut stranger = AgentServiceClient::new(other.channel().await);
    assert_eq!(reason(&stranger.send_outcome(outcome.clone()).await.unwrap_err()), "NOT_AUTHORISED");
    let mut own = AgentServiceClient::new(agent.channel().await);
    own.send_outcome(outcome.clone()).await.unwrap();
    let heard = timeout(DEADLINE, told.message()).await.unwrap().unwrap().unwrap();
    assert_eq!((heard.host.as_str(), heard.passed, heard.code), ("a", false, Some(3)));
    assert_eq!((heard.output.len(), heard.cut), (64 * 1024, true));
    assert_eq!(heard.ended, "exited with code 3");
    assert!(told.message().await.unwrap().is_none());
    assert_eq!(reason(&own.send_outcome(outcome).await.unwrap_err()), "NOT_AUTHORISED", "twice");
}

#[tokio::test]
async fn what_is_asked_is_bounded() {
    let server = Server::start();
    server.push("web", "1", "").await;
    let mut client = server.operator().await;
    let mut refused = async |change: fn(&mut v1::RunPreviewRequest)| {
        let mut request = request(&[]);
        change(&mut request);
        let status = client.run_preview(request).await.unwrap_err();
        (reason(&status), status.message().to_owned())
    };
    for change in [
        |request: &mut v1::RunPreviewRequest| request.command.clear(),
        |request| request.command = vec!["a".into(); 257],
        |request| request.command = vec!["a".repeat(32 * 1024 + 1)],
        |request| request.timeout_millis = 999,
        |request| request.timeout_millis = 600_001,
        |request| request.hosts = vec!["../a".into()],
    ] as [fn(&mut v1::RunPreviewRequest); 6]
    {
        let (reason, message) = refused(change).await;
        assert_eq!(reason, "INVALID_REQUEST", "{message}");
    }
    assert_eq!(refused(|request| request.hosts = vec!["nowhere".into()]).await.0, "UNKNOWN_HOST");
}
