//! Streams that nobody reads: each ends by its deadline, and nobody else notices.

use super::watchers::{Operator, certificate, slow_from_elsewhere};
use crate::{
    fixture::{Agent, DEADLINE, Server, reason, until},
    logs::{Host, batch, line, request},
};
use handover::limits::WATCHES;
use handover_proto::v1::{self, agent_service_client::AgentServiceClient};
use std::{
    fmt::Debug,
    time::{Duration, Instant},
};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status, Streaming};

/// As `api::outlet::UNREAD`.
const UNREAD: Duration = Duration::from_secs(60);
/// Changes that the audit has: several pages of it.
const CHANGES: u32 = 3500;
/// Records that the deployment's story has.
const RECORDS: u32 = 400;
/// Lines that a host sends to a reader of its logs: batches of lines of so many bytes.
const LOGS: (u64, usize, usize) = (24, 32, 16 * 1024);
/// Between two looks of another operator's.
const PACE: Duration = Duration::from_millis(500);
/// What another operator waits for an answer meanwhile, at most.
const QUICK: Duration = Duration::from_secs(5);

/// Cordons the absent host, or takes it back.
async fn cordon(server: &Server, cordoned: bool) {
    let request =
        v1::UpdateHostRequest { name: "absent".into(), cordoned: Some(cordoned), ..Default::default() };
    server.operator().await.update_host(request).await.unwrap();
}

/// Pauses deployment 1, or lets it go on.
async fn pause(server: &Server, paused: bool) {
    let mut operator = server.operator().await;
    let control =
        v1::ControlDeploymentRequest { id: 1, reason: "a long reason ".repeat(20), ..Default::default() };
    if paused {
        operator.pause_deployment(control).await.unwrap();
    } else {
        operator.resume_deployment(control).await.unwrap();
    }
}

/// Answers a request for logs with more than its reader has room for.
async fn answer(host: &mut Host) -> JoinHandle<Result<Response<v1::SendLogsResponse>, Status>> {
    let number = host.asked().await.request_id;
    let mut sender = AgentServiceClient::new(host.agent.channel().await);
    let (out, parts) = mpsc::channel(1);
    tokio::spawn(async move {
        let feed = async move {
            let caught_up = v1::LogBatch { caught_up: true, ..batch(number, Vec::new()) };
            let mut sent = out.send(caught_up).await;
            for micros in 0..LOGS.0 {
                let lines = (0..LOGS.1).map(|_| line(micros, &"x".repeat(LOGS.2))).collect();
                sent = sent.and(out.send(batch(number, lines)).await);
            }
            // Until the server ends the call: it does with its reader.
            out.closed().await;
        };
        tokio::join!(feed, sender.send_logs(ReceiverStream::new(parts))).1
    })
}

/// Streams of one operator, none of which is read.
struct Unread {
    services: Streaming<v1::ListServicesResponse>,
    deployment: Streaming<v1::Deployment>,
    events: [Streaming<v1::Events>; 2],
    story: Streaming<v1::StoryLine>,
    audit: Streaming<v1::AuditProgress>,
    logs: [Streaming<v1::Logs>; 2],
}

impl Unread {
    const STREAMS: u64 = 8;

    async fn open(client: &Operator) -> Self {
        let deployment = v1::GetDeploymentRequest { id: 1, ..Default::default() };
        let events = async |follow| {
            let asked = v1::WatchEventsRequest { follow, ..Default::default() };
            client.clone().watch_events(asked).await.unwrap().into_inner()
        };
        let logs =
            async |follow| client.clone().read_logs(request(&["a"], follow)).await.unwrap().into_inner();
        let mut client = client.clone();
        Self {
            services: client.watch_services(v1::ListServicesRequest::default()).await.unwrap().into_inner(),
            deployment: client.watch_deployment(deployment.clone()).await.unwrap().into_inner(),
            story: client.explain_deployment(deployment).await.unwrap().into_inner(),
            audit: client.verify_audit(v1::VerifyAuditRequest::default()).await.unwrap().into_inner(),
            events: [events(false).await, events(true).await],
            logs: [logs(false).await, logs(true).await],
        }
    }

    /// Reads what waited in each, to the word that ends it.
    async fn all_ended_with_a_word(self) {
        let Self { services, deployment, events, story, audit, logs } = self;
        ended_with_a_word(services).await;
        ended_with_a_word(deployment).await;
        ended_with_a_word(story).await;
        ended_with_a_word(audit).await;
        for events in events {
            ended_with_a_word(events).await;
        }
        for logs in logs {
            ended_with_a_word(logs).await;
        }
    }
}

async fn ended_with_a_word<T: Debug>(mut stream: Streaming<T>) {
    let kind = std::any::type_name::<T>();
    let why = loop {
        match timeout(DEADLINE, stream.message()).await.unwrap() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("{kind} came to its end although nobody had read it"),
            Err(why) => break why,
        }
    };
    assert_eq!(reason(&why), "BUSY", "{kind}: {why:?}");
    assert!(why.message().contains("not read for 60s"), "{kind}: {why:?}");
}

/// Reads the same as the others do not, to its end.
async fn read_everything(server: &Server) {
    let mut operator = server.operator().await;
    let all = v1::WatchEventsRequest::default();
    let mut events = operator.watch_events(all).await.unwrap().into_inner();
    while events.message().await.unwrap().is_some() {}
    let story = v1::GetDeploymentRequest { id: 1, ..Default::default() };
    let mut story = operator.explain_deployment(story).await.unwrap().into_inner();
    while story.message().await.unwrap().is_some() {}
    let mut audit = operator.verify_audit(v1::VerifyAuditRequest::default()).await.unwrap().into_inner();
    let mut last = None;
    while let Some(progress) = audit.message().await.unwrap() {
        last = Some(progress);
    }
    let last = last.unwrap();
    assert!(last.done && last.broken.is_none() && last.checked > u64::from(CHANGES), "{last:?}");
}

/// Streams to operators that the server has not ended.
async fn still_open(server: &Server) -> u64 {
    server.counted("watchers").await + server.counted("log_readers").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_stream_that_nobody_reads_ends_by_its_deadline_and_nobody_else_notices() {
    let server = Server::start_in(tempfile::tempdir().unwrap(), &["--metrics", "127.0.0.1:0"]);
    Agent::enrol(&server, "absent").await;
    server.push("web", "1", "[rollout]\noffline = \"wait\"\noffline_deadline = \"1h\"\n").await;
    server.deploy("web", "1").await.unwrap();
    for number in 0..RECORDS {
        pause(&server, number.is_multiple_of(2)).await;
    }
    for number in 0..CHANGES {
        cordon(&server, number.is_multiple_of(2)).await;
    }
    let ada = certificate(&server, "ada").await;
    // Not earlier: it says nothing in its session, which therefore ends after a while.
    let mut host = Host::of(&server, "a").await;
    let unread = Unread::open(&slow_from_elsewhere(&server, &ada).await).await;
    let opened = Instant::now();
    assert_eq!(still_open(&server).await, Unread::STREAMS);
    let sent = [answer(&mut host).await, answer(&mut host).await];

    let (mut slowest, mut looks) = (Duration::ZERO, 0);
    while still_open(&server).await > 0 {
        // What is watched changes, and stays so for long enough to be seen; somebody else looks at all of it.
        looks += 1;
        pause(&server, looks % 2 == 1).await;
        cordon(&server, looks % 2 == 1).await;
        let began = Instant::now();
        timeout(DEADLINE, read_everything(&server)).await.expect("another operator is held up");
        slowest = slowest.max(began.elapsed());
        tokio::time::sleep(PACE).await;
        let open = opened.elapsed();
        assert!(open < UNREAD + DEADLINE, "{} go on unread", still_open(&server).await);
    }
    println!(
        "all ended after {:.1?}; another operator looked {looks} times, the slowest {slowest:.0?}",
        opened.elapsed()
    );
    assert!(opened.elapsed() >= UNREAD);
    assert!(slowest < QUICK, "another operator waited for {slowest:?}");
    unread.all_ended_with_a_word().await;
    for sent in sent {
        timeout(DEADLINE, sent).await.expect("the host's call goes on without its reader").unwrap().unwrap();
    }
}

#[tokio::test]
async fn all_streams_but_those_of_logs_take_the_same_places_and_give_them_back() {
    let server = Server::start();
    Agent::enrol(&server, "a").await;
    server.push("web", "1", "").await;
    server.deploy("web", "1").await.unwrap();
    let (ada, bob) = (certificate(&server, "ada").await, certificate(&server, "bob").await);
    let mut open = Vec::new();
    for number in 0..WATCHES.0 {
        if number.is_multiple_of(50) {
            open.push((slow_from_elsewhere(&server, &ada).await, Vec::new()));
        }
        let (client, streams) = open.last_mut().unwrap();
        let follow = v1::WatchEventsRequest { follow: true, ..Default::default() };
        streams.push(client.watch_events(follow).await.unwrap().into_inner());
    }
    let deployment = v1::GetDeploymentRequest { id: 1, ..Default::default() };
    let refused = async |client: &mut Operator| {
        let services = client.watch_services(v1::ListServicesRequest::default()).await.err();
        let watch = client.watch_deployment(deployment.clone()).await.err();
        let events = client.watch_events(v1::WatchEventsRequest::default()).await.err();
        let story = client.explain_deployment(deployment.clone()).await.err();
        let audit = client.verify_audit(v1::VerifyAuditRequest::default()).await.err();
        [services, watch, events, story, audit].map(|status| status.map(|status| reason(&status)))
    };
    let mut ada = slow_from_elsewhere(&server, &ada).await;
    assert_eq!(refused(&mut ada).await, [const { "TOO_MANY" }; 5].map(|reason| Some(reason.to_owned())));
    let mut bob = slow_from_elsewhere(&server, &bob).await;
    assert_eq!(refused(&mut bob).await, [const { None }; 5]);
    drop(open);
    until("the places are free", async || refused(&mut ada.clone()).await == [const { None }; 5]).await;
}
