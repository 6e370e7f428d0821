//! One agent's session: what it says goes to the fleet, what the fleet wants of it goes out.
//!
//! Bounded on both sides: of targets and of reports only the latest waits; an agent is read at a pace; a peer that is silent, or does not read,
//! for [`SILENCE`] has lost its session, and gets everything anew in the next one.

use crate::{
    fleet::{Fleet, Introduction, Link, Refusal},
    limits::{Bucket, LimitCounters, MESSAGE_WEIGHT, MESSAGES},
    moments::{self, Exchanges},
};
use handover_identity::wall_clock;
use handover_model::{HostName, HostReport, Measurement, ServiceName};
use handover_proto::{
    status::{self, Reason, refuse},
    v1::{
        AgentMessage, Confirm, Heartbeat, Hello, ReadLogs, RunCommand, ServerMessage, Welcome,
        agent_message::Message as FromAgent, server_message::Message as FromServer,
    },
    version,
};
use prost::Message as _;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use tracing::Instrument as _;

/// How long an agent may take to say who it is.
pub const INTRODUCTION: Duration = Duration::from_secs(10);
/// How often the server says that it is there.
pub const HEARTBEAT: Duration = Duration::from_secs(5);
/// After that long without a word the agent is taken for lost.
pub const SILENCE: Duration = Duration::from_secs(20);
/// Requests for logs that wait.
const LOG_REQUESTS: usize = 8;
/// Commands that wait: a request has some for one host, a few at most.
const COMMANDS: usize = 16;
/// Messages that wait for the network.
const OUTGOING: usize = 4;

/// What a session goes on with once it is open.
struct Session {
    fleet: Fleet,
    host: HostName,
    number: u64,
    incoming: Streaming<AgentMessage>,
    outgoing: mpsc::Sender<Result<ServerMessage, Status>>,
    target: watch::Receiver<Option<Arc<handover_proto::v1::Target>>>,
    confirms: watch::Receiver<BTreeMap<ServiceName, u64>>,
    logs: mpsc::Receiver<ReadLogs>,
    commands: mpsc::Receiver<RunCommand>,
    end: oneshot::Receiver<Refusal>,
    exchanges: Exchanges,
    pace: Pace,
}

/// How fast an agent is read. What comes faster stays in HTTP/2's window and then at the agent, which cannot do more
/// than wait: nothing is lost, no other agent notices, and its session goes on.
struct Pace {
    began: Instant,
    used: Bucket,
    /// Nothing is read before this moment.
    open: Instant,
    counters: Arc<LimitCounters>,
}

/// Who opens a session, by its connection.
#[derive(Clone, Debug)]
pub struct Connecting {
    /// The certificate's host.
    pub host: HostName,
    /// The certificate's serial number.
    pub serial: String,
    /// Where it connects from.
    pub from: String,
}

/// Takes an agent's first words and opens its session, which then runs by itself until it is lost, replaced, or
/// `stop` is cancelled.
///
/// # Errors
/// No introduction in time, a version too far away, a host that is not enrolled with this certificate.
pub async fn open(
    fleet: Fleet,
    fleet_name: String,
    agent: Connecting,
    mut incoming: Streaming<AgentMessage>,
    counters: Arc<LimitCounters>,
    stop: CancellationToken,
) -> Result<ReceiverStream<Result<ServerMessage, Status>>, Status> {
    let Connecting { host, serial, from } = agent;
    let hello = introduction(&mut incoming).await?;
    let skew = version::skew(&hello.version)
        .map_err(|error| refuse(Reason::VersionSkew, error.to_string(), "upgrade the older side"))?
        .map(|skew| format!("agent {skew}"))
        .unwrap_or_default();
    let (target_in, target) = watch::channel(None);
    let (confirms_in, confirms) = watch::channel(BTreeMap::new());
    let (logs_in, logs) = mpsc::channel(LOG_REQUESTS);
    let (commands_in, commands) = mpsc::channel(COMMANDS);
    let (end_in, end) = oneshot::channel();
    let introduction = Introduction {
        version: hello.version,
        boot_id: hello.boot_id,
        kernel: hello.kernel,
        address: hello.address,
        session_id: hello.session_id,
        skew: skew.clone(),
        revision: hello.revision,
        place: hello.place,
        from,
        facts: hello.facts.map(Into::into),
    };
    let name = host.clone();
    let number = fleet
        .ask(move |desk| {
            let session = desk.state.open_session(&name, &serial, introduction, desk.now, desk.effects)?;
            let link = Link {
                session,
                target: target_in,
                confirms: confirms_in,
                logs: logs_in,
                commands: commands_in,
                end: end_in,
            };
            if let Some(former) = desk.links.insert(name.clone(), link) {
                let _ = former.end.send(Refusal::SessionReplaced(name));
            }
            Ok(session)
        })
        .await?;
    let (outgoing, messages) = mpsc::channel(OUTGOING);
    let welcome = Welcome {
        version: version::ProgramVersion::OWN.to_string(),
        fleet: fleet_name,
        skew,
        time_unix_millis: wall_clock().unix_millis(),
    };
    // There is room: nothing else was sent yet.
    let _ = outgoing.try_send(Ok(ServerMessage { message: Some(FromServer::Welcome(welcome)) }));
    let span = tracing::info_span!("session", %host, session = number);
    span.in_scope(|| tracing::info!("session begins"));
    fleet.metrics().session_opened();
    let now = Instant::now();
    let pace = Pace { began: now, used: Bucket::default(), open: now, counters };
    let exchanges = Exchanges::default();
    let session = Session {
        fleet,
        host,
        number,
        incoming,
        outgoing,
        target,
        confirms,
        logs,
        commands,
        end,
        exchanges,
        pace,
    };
    tokio::spawn(session.run(stop).instrument(span));
    Ok(ReceiverStream::new(messages))
}

impl Pace {
    /// A message was read; the next one may have to wait.
    fn read(&mut self, message: &AgentMessage) {
        let now = Instant::now();
        let cost = u32::try_from(1 + message.encoded_len() / MESSAGE_WEIGHT).unwrap_or(u32::MAX);
        let wait = self.used.charge(MESSAGES, cost, now - self.began);
        self.open = now + wait;
        if !wait.is_zero() {
            self.counters.session_paused();
        }
    }
}

async fn introduction(incoming: &mut Streaming<AgentMessage>) -> Result<Hello, Status> {
    let first = timeout(INTRODUCTION, incoming.message())
        .await
        .map_err(|_| refuse(Reason::Protocol, "the agent did not introduce itself in time", ""))??;
    match first.and_then(|message| message.message) {
        Some(FromAgent::Hello(hello)) => Ok(hello),
        _ => Err(refuse(Reason::Protocol, "a session begins with a hello", "")),
    }
}

/// Why a session ended, as a metric's label has it.
fn reason(why: &Status) -> &'static str {
    if why.code() == tonic::Code::Ok {
        return "closed";
    }
    status::Refusal::of(why).map_or("lost", |refusal| refusal.reason.as_str())
}

impl Session {
    async fn run(mut self, stop: CancellationToken) {
        let why = self.talk(&stop).await;
        tracing::info!(why = why.message(), "session ends");
        self.fleet.metrics().session_ended(reason(&why));
        // Best effort: the peer may be gone, and nobody waits for one that does not read.
        let _ = self.outgoing.try_send(Err(why));
        let (host, number) = (self.host, self.number);
        let closed = self.fleet.ask(move |desk| {
            if desk.links.get(&host).is_some_and(|link| link.session == number) {
                desk.links.remove(&host);
            }
            desk.state.close_session(&host, number, desk.now, desk.effects)
        });
        // Fails only where the server stops: then every session is over anyway.
        let _ = closed.await;
    }

    /// Until the session is over: why it is.
    async fn talk(&mut self, stop: &CancellationToken) -> Status {
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        let mut sequence = 0;
        let mut heard = Instant::now();
        loop {
            let (incoming, open) = (&mut self.incoming, self.pace.open);
            let next = async {
                tokio::time::sleep_until(open).await;
                incoming.message().await
            };
            let message = tokio::select! {
                () = stop.cancelled() => return Refusal::Stopping.into(),
                ended = &mut self.end => return ended.unwrap_or(Refusal::Stopping).into(),
                said = next => {
                    heard = Instant::now();
                    match said {
                        Ok(Some(message)) => {
                            self.pace.read(&message);
                            match self.take(message).await {
                                Ok(()) => continue,
                                Err(status) => return status,
                            }
                        }
                        Ok(None) => return Status::ok("the agent closed the session"),
                        Err(status) => return status,
                    }
                }
                () = tokio::time::sleep_until(heard + SILENCE) => {
                    return refuse(Reason::Protocol, format!("nothing heard from the agent for {SILENCE:?}"), "");
                }
                changed = self.target.changed() => {
                    if changed.is_err() {
                        // The link was dropped: its end says why.
                        continue;
                    }
                    let target = self.target.borrow_and_update().clone();
                    let Some(target) = target else { continue };
                    self.exchanges.sent(target.revision, moments::clock());
                    FromServer::Target((*target).clone())
                }
                Ok(()) = self.confirms.changed() => {
                    let confirms = self.confirms.borrow_and_update().clone();
                    for (service, revision) in confirms {
                        let confirm = Confirm { revision, service: service.to_string() };
                        if let Err(why) = self.say(FromServer::Confirm(confirm)).await {
                            return why;
                        }
                    }
                    continue;
                }
                Some(order) = self.logs.recv() => FromServer::ReadLogs(order),
                Some(order) = self.commands.recv() => FromServer::RunCommand(order),
                _ = heartbeat.tick() => {
                    sequence += 1;
                    FromServer::Heartbeat(Heartbeat { sequence })
                }
            };
            if let Err(why) = self.say(message).await {
                return why;
            }
        }
    }

    async fn say(&self, message: FromServer) -> Result<(), Status> {
        match timeout(SILENCE, self.outgoing.send(Ok(ServerMessage { message: Some(message) }))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Status::cancelled("the agent is gone")),
            Err(_) => Err(refuse(Reason::Protocol, format!("the agent read nothing for {SILENCE:?}"), "")),
        }
    }

    /// One message of the agent's.
    async fn take(&self, message: AgentMessage) -> Result<(), Status> {
        match message.message {
            Some(FromAgent::Report(report)) => {
                let came = moments::clock();
                let mut report = HostReport::try_from(report)?;
                let flipped = self.exchanges.moments(&report, came);
                // They mean something in this session alone, and would make each report another one.
                report.readings = None;
                self.fleet.report(&self.host, self.number, report, flipped);
            }
            Some(FromAgent::TargetRefused(refused)) => {
                let (host, number) = (self.host.clone(), self.number);
                let noted = self.fleet.ask(move |desk| {
                    desk.state.target_refused(&host, number, refused.revision, &refused.reason, desk.effects);
                    Ok(())
                });
                noted.await?;
            }
            Some(FromAgent::Facts(facts)) => {
                let (host, number) = (self.host.clone(), self.number);
                let noted = self
                    .fleet
                    .ask(move |desk| desk.state.facts(&host, number, facts.into(), desk.now, desk.effects));
                noted.await?;
            }
            Some(FromAgent::Measurement(measured)) => {
                self.fleet.measured(&self.host, self.number, Measurement::try_from(measured)?);
            }
            Some(FromAgent::Hello(_)) => {
                return Err(refuse(Reason::Protocol, "a session has one hello, at its beginning", ""));
            }
            // Nothing: a message of a later minor release.
            Some(FromAgent::Heartbeat(_)) | None => self.fleet.alive(&self.host, self.number),
        }
        Ok(())
    }
}
