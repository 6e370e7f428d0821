//! Readers of events and of logs who do not read, or who are many.

use super::watchers::{Operator, certificate, slow_from_elsewhere, slow_on_this_machine};
use crate::{
    fixture::{Agent, DEADLINE, Server, hello, reason, until},
    logs::{Host, batch, line, request},
};
use handover::{events::MOST, limits::LOG_READERS};
use handover_model::{HostReport, InstancePhase, InstanceReport, ReleaseRef, Share, Timestamp};
use handover_proto::v1::{
    self, agent_message::Message as FromAgent, agent_service_client::AgentServiceClient,
};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

/// Slow readers of events of each of two operators, and how many of them share a connection.
const READERS: (usize, usize) = (100, 50);
/// Instances that a host reports, each of which is an event.
const INSTANCES: usize = 1000;
/// What a host sends to each reader of its logs: batches of lines of so many bytes.
const LOGS: (usize, usize, usize) = (24, 32, 16 * 1024);

/// A host's session that is kept open.
type Session = (mpsc::Sender<v1::AgentMessage>, Streaming<v1::ServerMessage>);

/// All instances of one host, in one phase.
fn report(phase: InstancePhase) -> HostReport {
    let release = ReleaseRef { service: "web".parse().unwrap(), version: "1".parse().unwrap() };
    let instance = InstanceReport {
        service: release.service.clone(),
        release,
        phase,
        share: Share::HIDDEN,
        pid: None,
        restarts: 0,
        connections: None,
        since: Timestamp::from_unix_millis(1),
        until: None,
        detail: "x".repeat(200),
        flip_nanos: None,
        ready_millis: None,
        ledger: None,
        pin: None,
    };
    let instances =
        (1..=INSTANCES).map(|number| (format!("web-d{number}").parse().unwrap(), instance.clone()));
    HostReport { revision: 0, instances: instances.collect(), ..HostReport::default() }
}

async fn send_report(out: &mpsc::Sender<v1::AgentMessage>, phase: InstancePhase) {
    let message = v1::AgentMessage { message: Some(FromAgent::Report(report(phase).into())) };
    out.send(message).await.unwrap();
}

/// Fills what is remembered of events. The session must be kept: its end is one more.
async fn fill(server: &Server) -> Session {
    let agent = Agent::enrol(server, "h").await;
    let (out, stream) = agent.session(hello()).await.unwrap();
    let follow = v1::WatchEventsRequest { follow: true, ..Default::default() };
    let mut events = server.operator().await.watch_events(follow).await.unwrap().into_inner();
    // The first report says how things are, and is no event.
    send_report(&out, InstancePhase::Starting).await;
    until("the host has reported", async || {
        let hosts = server.operator().await.list_hosts(v1::ListHostsRequest {}).await.unwrap();
        hosts.into_inner().hosts.iter().any(|host| host.instances.len() == INSTANCES)
    })
    .await;
    let (mut seen, mut rounds) = (0, 0_usize);
    while seen < MOST as u64 {
        let phase = if rounds.is_multiple_of(2) { InstancePhase::Unhealthy } else { InstancePhase::Ready };
        rounds += 1;
        send_report(&out, phase).await;
        // Of reports the latest waits: each is seen before the next one comes.
        let before = seen;
        while seen < before + INSTANCES as u64 {
            let told = timeout(DEADLINE, events.message()).await.expect("no events").unwrap().unwrap();
            assert_eq!(told.left_out, 0);
            seen = told.events.last().map_or(seen, |event| event.sequence);
        }
    }
    (out, stream)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_of_events_who_do_not_read_cost_little_and_begin_at_the_oldest() {
    let server = Server::start();
    server.push("web", "1", "").await;
    let _session = fill(&server).await;
    let ada = certificate(&server, "ada").await;
    let memory = server.resident();
    let mut slow = Vec::new();
    for number in 0..2 * READERS.0 / READERS.1 {
        let client: Operator = if number % 2 == 0 {
            slow_on_this_machine(&server).await
        } else {
            slow_from_elsewhere(&server, &ada).await
        };
        for _ in 0..READERS.1 {
            let all = v1::WatchEventsRequest { follow: true, ..Default::default() };
            slow.push(client.clone().watch_events(all).await.unwrap().into_inner());
        }
    }
    let all = v1::WatchEventsRequest::default();
    let mut whole = server.operator().await.watch_events(all).await.unwrap().into_inner();
    let (mut first, mut count) = (None, 0);
    while let Some(told) = timeout(DEADLINE, whole.message()).await.unwrap().unwrap() {
        first = first.or(told.events.first().map(|event| event.sequence));
        count += told.events.len();
    }
    assert_eq!(count, MOST, "one who reads gets all that are remembered");
    let growth = server.resident().saturating_sub(memory);
    for watch in slow.iter_mut().step_by(10) {
        let told = timeout(DEADLINE, watch.message()).await.unwrap().unwrap().unwrap();
        assert_eq!((told.events.first().map(|event| event.sequence), told.left_out), (first, 0));
    }
    println!("{} slow readers of {MOST} events: {} KiB more memory", slow.len(), growth / 1024);
    assert!(growth < 64 << 20, "{growth} bytes more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_of_logs_who_do_not_read_cost_little_and_hold_no_host_up() {
    let server = Server::start();
    server.push("web", "1", "").await;
    let mut host = Host::of(&server, "a").await;
    let ada = certificate(&server, "ada").await;
    let sender = AgentServiceClient::new(host.agent.channel().await);
    let memory = server.resident();
    let (mut slow, mut sent) = (Vec::new(), Vec::new());
    for client in [slow_on_this_machine(&server).await, slow_from_elsewhere(&server, &ada).await] {
        for _ in 0..LOG_READERS.0 {
            slow.push(client.clone().read_logs(request(&["a"], true)).await.unwrap().into_inner());
            let (number, mut sender) = (host.asked().await.request_id, sender.clone());
            let (out, parts) = mpsc::channel(1);
            sent.push(tokio::spawn(async move {
                let feed = async move {
                    let caught_up = v1::LogBatch { caught_up: true, ..batch(number, Vec::new()) };
                    out.send(caught_up).await.unwrap();
                    for micros in 0..LOGS.0 as u64 {
                        let lines = (0..LOGS.1).map(|_| line(micros, &"x".repeat(LOGS.2))).collect();
                        out.send(batch(number, lines)).await.unwrap();
                    }
                };
                tokio::join!(feed, sender.send_logs(ReceiverStream::new(parts))).1
            }));
        }
    }
    for sent in sent {
        timeout(DEADLINE, sent).await.expect("the host is held up").unwrap().unwrap();
    }
    let growth = server.resident().saturating_sub(memory);
    let through = slow.len() * LOGS.0 * LOGS.1 * LOGS.2;
    println!(
        "{} slow followers, {} KiB of lines: {} KiB more memory",
        slow.len(),
        through / 1024,
        growth / 1024
    );
    assert!(growth < 128 << 20, "{growth} bytes more");
}

#[tokio::test]
async fn one_operators_followers_of_logs_leave_another_operator_a_place() {
    let server = Server::start();
    server.push("web", "1", "").await;
    let mut host = Host::of(&server, "a").await;
    let (ada, bob) = (certificate(&server, "ada").await, certificate(&server, "bob").await);
    let (mut ada, mut bob) =
        (slow_from_elsewhere(&server, &ada).await, slow_from_elsewhere(&server, &bob).await);
    let mut open = Vec::new();
    let refused = loop {
        match ada.read_logs(request(&["a"], true)).await {
            Ok(stream) => open.push(stream),
            Err(refused) => break refused,
        }
        host.asked().await;
    };
    assert_eq!((open.len(), reason(&refused).as_str()), (LOG_READERS.0, "TOO_MANY"), "{refused:?}");
    assert!(refused.message().contains("ada has 8 requests for logs open"), "{refused:?}");
    bob.read_logs(request(&["a"], true)).await.unwrap();
    open.pop();
    until("a place is free", async || ada.clone().read_logs(request(&["a"], true)).await.is_ok()).await;
}
