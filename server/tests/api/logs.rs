//! Logs: asked through the session, answered by a call of the agent's own, merged, and ended with the reader.

use crate::fixture::{Agent, DEADLINE, Server, hello, reason};
use handover_proto::v1::{
    self, AgentLogLine, LogBatch, agent_service_client::AgentServiceClient,
    server_message::Message as FromServer,
};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status, Streaming};

type Sent = JoinHandle<Result<Response<v1::SendLogsResponse>, Status>>;

/// An agent in a session that is asked for logs.
pub(crate) struct Host {
    pub(crate) agent: Agent,
    stream: Streaming<v1::ServerMessage>,
    _out: mpsc::Sender<v1::AgentMessage>,
}

impl Host {
    pub(crate) async fn of(server: &Server, name: &str) -> Self {
        let agent = Agent::enrol(server, name).await;
        let (out, stream) = agent.session(hello()).await.unwrap();
        Self { agent, stream, _out: out }
    }

    pub(crate) async fn asked(&mut self) -> v1::ReadLogs {
        let asked = async {
            loop {
                let message = self.stream.message().await.unwrap().unwrap().message;
                if let Some(FromServer::ReadLogs(asked)) = message {
                    return asked;
                }
            }
        };
        timeout(DEADLINE, asked).await.expect("the host was not asked")
    }

    /// Sends batches for a request; more may follow through the sender.
    async fn send(&self, batches: Vec<LogBatch>) -> (mpsc::Sender<LogBatch>, Sent) {
        let (out, parts) = mpsc::channel(16);
        for batch in batches {
            out.send(batch).await.unwrap();
        }
        let mut client = AgentServiceClient::new(self.agent.channel().await);
        (out, tokio::spawn(async move { client.send_logs(ReceiverStream::new(parts)).await }))
    }
}

pub(crate) fn line(micros: u64, text: &str) -> AgentLogLine {
    AgentLogLine {
        instance: "web-d1".into(),
        time_unix_micros: micros,
        text: text.as_bytes().to_vec(),
        ..AgentLogLine::default()
    }
}

pub(crate) fn batch(request_id: u64, lines: Vec<AgentLogLine>) -> LogBatch {
    LogBatch { request_id, lines, ..LogBatch::default() }
}

pub(crate) fn request(hosts: &[&str], follow: bool) -> v1::ReadLogsRequest {
    v1::ReadLogsRequest {
        service: "web".into(),
        hosts: hosts.iter().map(ToString::to_string).collect(),
        follow,
        ..v1::ReadLogsRequest::default()
    }
}

async fn next(stream: &mut Streaming<v1::Logs>) -> Option<v1::Logs> {
    timeout(DEADLINE, stream.message()).await.expect("nothing comes").unwrap()
}

#[tokio::test]
async fn lines_of_two_hosts_come_in_the_order_of_time_and_an_absent_host_is_named() {
    let server = Server::start();
    server.push("web", "1", "").await;
    let (mut a, mut b) = (Host::of(&server, "a").await, Host::of(&server, "b").await);
    Agent::enrol(&server, "absent").await;
    let asked = request(&["a", "b", "absent"], false);
    let mut stream = server.operator().await.read_logs(asked).await.unwrap().into_inner();
    let (of_a, of_b) = (a.asked().await, b.asked().await);
    assert_eq!((of_a.service.as_str(), of_a.lines, of_a.follow), ("web", 200, false));
    let later = vec![line(10, "one"), line(30, "three")];
    drop(a.send(vec![batch(of_a.request_id, later)]).await);
    drop(b.send(vec![batch(of_b.request_id, vec![line(20, "two"), line(40, "\u{1b}four")])]).await);
    let (mut lines, mut ended) = (Vec::new(), Vec::new());
    while let Some(logs) = next(&mut stream).await {
        lines.extend(logs.lines.into_iter().map(|line| (line.host, String::from_utf8(line.text).unwrap())));
        ended.extend(logs.ended.into_iter().map(|host| (host.host, host.failed)));
    }
    let expected = [("a", "one"), ("b", "two"), ("a", "three"), ("b", "\u{1b}four")];
    assert_eq!(lines, expected.map(|(host, text)| (host.to_owned(), text.to_owned())));
    ended.sort();
    let ends = [("a", ""), ("absent", "it is offline"), ("b", "")];
    assert_eq!(ended, ends.map(|(host, failed)| (host.to_owned(), failed.to_owned())));
}

#[tokio::test]
async fn an_agent_sends_only_what_its_own_host_was_asked_for_and_once() {
    let server = Server::start();
    server.push("web", "1", "").await;
    let (mut asked, other) = (Host::of(&server, "asked").await, Host::of(&server, "other").await);
    let mut stream = server.operator().await.read_logs(request(&["asked"], true)).await.unwrap().into_inner();
    let number = asked.asked().await.request_id;
    for (host, number) in [(&other, number), (&asked, number + 1)] {
        let (_more, sent) = host.send(vec![batch(number, vec![line(1, "forged")])]).await;
        let refused = timeout(DEADLINE, sent).await.unwrap().unwrap().unwrap_err();
        assert_eq!(reason(&refused), "NOT_AUTHORISED");
    }
    let caught_up = LogBatch { caught_up: true, ..batch(number, Vec::new()) };
    let (_more, _sent) = asked.send(vec![batch(number, vec![line(1, "true")]), caught_up]).await;
    let logs = next(&mut stream).await.unwrap();
    assert_eq!(logs.lines.iter().map(|line| line.text.as_slice()).collect::<Vec<_>>(), [b"true"]);
    let (_again, sent) = asked.send(vec![batch(number, vec![line(2, "twice")])]).await;
    assert_eq!(reason(&timeout(DEADLINE, sent).await.unwrap().unwrap().unwrap_err()), "NOT_AUTHORISED");
}

#[tokio::test]
async fn the_agents_call_ends_when_the_reader_goes_although_nothing_is_written() {
    let server = Server::start();
    server.push("web", "1", "").await;
    let mut host = Host::of(&server, "a").await;
    let mut stream = server.operator().await.read_logs(request(&["a"], true)).await.unwrap().into_inner();
    let number = host.asked().await.request_id;
    let (_more, sent) = host.send(vec![batch(number, vec![line(1, "one")])]).await;
    assert_eq!(next(&mut stream).await.unwrap().lines.len(), 1);
    drop(stream);
    timeout(DEADLINE, sent).await.expect("the call goes on without a reader").unwrap().unwrap();
}

#[tokio::test]
async fn an_agent_that_does_not_answer_is_named_and_requests_are_counted() {
    let server = Server::start();
    server.push("web", "1", "").await;
    let mut host = Host::of(&server, "a").await;
    let mut stream = server.operator().await.read_logs(request(&["a"], false)).await.unwrap().into_inner();
    host.asked().await;
    let logs = next(&mut stream).await.unwrap();
    assert!(logs.ended[0].failed.contains("said nothing in time"), "{logs:?}");
    assert!(next(&mut stream).await.is_none());

    let mut open = Vec::new();
    let refused = loop {
        match server.operator().await.read_logs(request(&["a"], true)).await {
            Ok(stream) => open.push(stream),
            Err(status) => break status,
        }
        host.asked().await;
    };
    assert_eq!((open.len(), reason(&refused).as_str()), (handover::limits::LOG_READERS.0, "TOO_MANY"));
}
