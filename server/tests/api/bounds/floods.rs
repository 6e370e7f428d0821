//! An agent that floods the server with reports.

use super::middle_and_most;
use crate::fixture::{Agent, DEADLINE, Server, hello, until};
use handover_proto::v1::{
    self, AgentMessage, DeploymentState, agent_message::Message as FromAgent,
    server_message::Message as FromServer,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::{sync::mpsc, time::timeout};
use tonic::Streaming;

/// How fast an agent is read: at first, and each second (`limits::MESSAGES`).
const READ: (u64, u64) = (100, 20);
/// How much of a flood may wait unread at the server, in bytes: HTTP/2's window.
const WINDOW: u64 = 1 << 20;
const FLOODED: Duration = Duration::from_secs(5);
const QUICK: &str = "hosts = { role = \"web\" }\n[rollout]\nbake = \"100ms\"\n";

/// A large report that is another one each time.
fn large(number: u64) -> v1::HostReport {
    let instance = |index: usize| v1::InstanceReport {
        instance: format!("web-d{index}"),
        service: "web".into(),
        version: "1".into(),
        phase: v1::InstancePhase::Ready.into(),
        detail: format!("report {number} {}", "flood ".repeat(50)),
        ..v1::InstanceReport::default()
    };
    v1::HostReport { revision: 0, instances: (0..20).map(instance).collect(), migrations: Vec::new() }
}

/// Sends reports as fast as the server takes them, and counts those that went out.
async fn flood(out: mpsc::Sender<AgentMessage>, sent: Arc<AtomicU64>) {
    for number in 0.. {
        let report = AgentMessage { message: Some(FromAgent::Report(large(number))) };
        if out.send(report).await.is_err() {
            return;
        }
        sent.fetch_add(1, Relaxed);
    }
}

/// Deploys these versions one after the other: how long each took.
async fn deployments(server: &Server, versions: std::ops::Range<u32>) -> Vec<Duration> {
    let mut times = Vec::new();
    for version in versions {
        server.push("web", &version.to_string(), QUICK).await;
        let began = Instant::now();
        let begun = server.deploy("web", &version.to_string()).await.unwrap();
        let ended = server.outcome(begun.id).await;
        assert_eq!(ended.state(), DeploymentState::Succeeded, "{ended:?}");
        times.push(began.elapsed());
    }
    times
}

async fn target(stream: &mut Streaming<v1::ServerMessage>) -> v1::Target {
    loop {
        let message = timeout(DEADLINE, stream.message()).await.unwrap().unwrap().unwrap();
        if let Some(FromServer::Target(target)) = message.message {
            return target;
        }
    }
}

/// An agent reports again and again: how long it took each time until a watcher saw it.
async fn reports_to_watcher(server: &Server, agent: &Agent) -> Vec<Duration> {
    let (out, mut stream) = agent.session(hello()).await.unwrap();
    let mut report = v1::HostReport::from(agent.report(&target(&mut stream).await.try_into().unwrap()));
    let asked = v1::ListServicesRequest { service: "web".into() };
    let mut watch = server.operator().await.watch_services(asked).await.unwrap().into_inner();
    let mut times = Vec::new();
    for number in 0..20 {
        let detail = format!("seen {number}");
        report.instances[0].detail.clone_from(&detail);
        let began = Instant::now();
        out.send(AgentMessage { message: Some(FromAgent::Report(report.clone())) }).await.unwrap();
        loop {
            let shown = timeout(DEADLINE, watch.message()).await.unwrap().unwrap().unwrap();
            let hosts = shown.services.iter().flat_map(|service| &service.hosts);
            if hosts.flat_map(|host| &host.instances).any(|instance| instance.detail == detail) {
                break;
            }
        }
        times.push(began.elapsed());
    }
    times
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_floods_reports_delays_no_other_and_keeps_its_session() {
    let server = Server::start();
    let flooding = Agent::enrol(&server, "flooding").await;
    let (a, b) = (Agent::enrol(&server, "a").await, Agent::enrol(&server, "b").await);
    for host in ["a", "b"] {
        let set_labels = [("role".to_owned(), "web".to_owned())].into();
        let request = v1::UpdateHostRequest { name: host.into(), set_labels, ..Default::default() };
        server.operator().await.update_host(request).await.unwrap();
    }
    let (running_a, running_b) = (a.run(), b.run());
    until("both agents are online", async || {
        a.target.lock().unwrap().is_some() && b.target.lock().unwrap().is_some()
    })
    .await;
    let mut calm = deployments(&server, 1..4).await;

    let (out, mut stream) = flooding.session(hello()).await.unwrap();
    let heard = tokio::spawn(async move { while let Ok(Some(_)) = stream.message().await {} });
    let (sent, memory, began) = (Arc::new(AtomicU64::new(0)), server.resident(), Instant::now());
    let flooder = tokio::spawn(flood(out, Arc::clone(&sent)));
    until("the flood is on", async || sent.load(Relaxed) > READ.0).await;
    let mut flooded = deployments(&server, 4..7).await;
    drop((running_a, running_b));
    let mut seen = reports_to_watcher(&server, &b).await;
    until("the flood lasted", async || began.elapsed() >= FLOODED).await;
    let (sent, lasted) = (sent.load(Relaxed), began.elapsed());
    let growth = server.resident().saturating_sub(memory);

    let (before, _) = middle_and_most(&mut calm);
    let (during, longest) = middle_and_most(&mut flooded);
    let (median, slowest) = middle_and_most(&mut seen);
    println!(
        "{sent} reports in {lasted:.1?}; a deployment took {before:.0?} before and {during:.0?} (at most \
         {longest:.0?}) meanwhile; another agent's report was seen after {median:.0?} (at most {slowest:.0?}); \
         {} KiB more memory",
        growth / 1024
    );
    assert!(during < before * 2 + Duration::from_millis(250), "{during:?} instead of {before:?}");
    assert!(slowest < Duration::from_secs(2), "a report was seen after {slowest:?}");
    // Read by the server, on their way in both ends' windows, and in the queue of this test's own client.
    let size = prost::Message::encoded_len(&large(0)) as u64;
    let most = READ.0 + READ.1 * (lasted.as_secs() + 1) + 2 * WINDOW / size + 64;
    assert!(sent <= most, "{sent} reports were taken, at most {most}");
    assert!(growth < 64 << 20, "{growth} bytes more");
    assert!(!heard.is_finished() && !flooder.is_finished(), "the flooding agent's session was ended");
    let shown = server.operator().await.get_host(v1::GetHostRequest { name: "flooding".into() }).await;
    let shown = shown.unwrap().into_inner();
    assert!(shown.online && shown.instances[0].detail.starts_with("report "), "{shown:?}");
}

#[tokio::test]
async fn an_agent_that_begins_sessions_again_and_again_is_told_to_wait() {
    let server = Server::start();
    let (restless, calm) = (Agent::enrol(&server, "restless").await, Agent::enrol(&server, "calm").await);
    let mut refused = None;
    for _ in 0..50 {
        if let Err(status) = restless.session(hello()).await {
            refused = Some(status);
            break;
        }
    }
    let refused = handover_proto::status::Refusal::of(&refused.expect("never refused")).unwrap();
    assert_eq!(refused.reason.as_str(), "BUSY");
    assert!(refused.message.contains("restless begins sessions too often"), "{refused:?}");
    calm.session(hello()).await.unwrap();
}
