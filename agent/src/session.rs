//! The agent's connection to the server: dialled, kept, dialled again. Losing it stops nothing on the host.

use crate::{
    clock::nanos, commands::Commands, facts::Facts, logs::LogRequests, measuring::Outbox, metrics::Metrics,
    renewal::RenewalError,
};
use backon::BackoffBuilder as _;
use handover_identity::{rough, wall_clock};
use handover_model::{HostReport, Readings, ServiceName, Target, Timestamp, chain};
use handover_proto::v1::{
    AgentMessage, Confirm, Heartbeat, Hello, ServerMessage, TargetRefused,
    agent_message::Message as FromAgent, agent_service_client::AgentServiceClient,
    server_message::Message as FromServer,
};
use std::{error::Error, sync::Arc, time::Duration};
use tokio::{
    sync::{Notify, mpsc, watch},
    time::{Instant, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

/// How often the agent says that it is there.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// After that long without a word the server is taken for lost.
const SILENCE: Duration = Duration::from_secs(20);
/// Longest wait for a connection and for the server's first word.
const DIAL: Duration = Duration::from_secs(10);
/// Between two attempts at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// Between two attempts, where only a person can help.
const SLOW: Duration = Duration::from_secs(60);
/// How often the host's facts are told anew.
const FACTS: Duration = Duration::from_secs(60);
/// A clock that is wrong by more than that is worth a word.
const CLOCK: Duration = Duration::from_secs(30);
/// A session that lasted that long was a good one: the next attempt comes at once.
const GOOD: Duration = Duration::from_secs(10);

/// What the server says to who looks after what runs.
#[derive(Debug)]
pub enum Word {
    /// What the host should run.
    Target(Offer),
    /// The report of a flip has come: it stands.
    Confirmed {
        /// Of which service.
        service: ServiceName,
        /// For which order: see [`handover_model::Confirm::revision`].
        revision: u64,
    },
}

/// A target from the server, and where to say that it is refused.
#[derive(Debug)]
pub struct Offer {
    /// What the host should run.
    pub target: Target,
    /// Takes the reason if it is refused.
    pub refused: mpsc::Sender<(u64, String)>,
}

/// What a session needs of the rest of the agent.
#[derive(Debug)]
pub struct Session {
    /// What the agent says first; revision and facts are filled in.
    pub hello: Hello,
    /// What the host is like.
    pub facts: Facts,
    /// What runs; the newest counts.
    pub reports: watch::Receiver<HostReport>,
    /// Targets and confirmations on their way in.
    pub words: mpsc::Sender<Word>,
    /// The connection, for those who fetch bundles.
    pub server: watch::Sender<Option<Channel>>,
    /// Who answers where the server asks what instances wrote.
    pub logs: LogRequests,
    /// Who runs what operators ask for beside hidden instances.
    pub commands: Commands,
    /// What was measured and is to be told; the newest of each service counts.
    pub measured: Outbox,
    /// Where sessions are counted.
    pub metrics: Arc<Metrics>,
    /// Told when the next attempt is worth making at once.
    pub hurry: Arc<Notify>,
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// No connection.
    #[error("cannot reach the server at {0}")]
    Dial(String, #[source] Box<dyn Error + Send + Sync>),
    /// The server refused or broke off.
    #[error("the server ended the session")]
    Ended(#[source] Box<tonic::Status>),
    /// The server closed the stream.
    #[error("the server closed the session")]
    Closed,
    /// Nothing was heard for [`SILENCE`].
    #[error("nothing heard from the server for {SILENCE:?}")]
    Silent,
    /// The agent is going.
    #[error("the agent stops")]
    Stopping,
}

impl SessionError {
    /// Whether only a person can help: there is no hurry to try again.
    fn needs_person(&self) -> bool {
        match self {
            Self::Dial(_, source) => {
                source.downcast_ref::<RenewalError>().is_some_and(RenewalError::needs_person)
            }
            Self::Ended(_) | Self::Closed | Self::Silent | Self::Stopping => false,
        }
    }
}

impl Session {
    /// Keeps a session open for as long as the agent runs, with back-off and jitter between attempts.
    pub async fn keep<D, F, E>(mut self, address: &str, dial: D)
    where
        D: Fn() -> F,
        F: Future<Output = Result<Channel, E>>,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let pauses = || {
            backon::ExponentialBuilder::default()
                .with_jitter()
                .with_min_delay(Duration::from_millis(100))
                .with_max_delay(LONGEST_PAUSE)
                .without_max_times()
                .build()
        };
        let mut pause = pauses();
        loop {
            let began = Instant::now();
            let ended = match timeout(DIAL, dial()).await {
                Err(_) => Err(SessionError::Dial(address.to_owned(), "no answer".into())),
                Ok(Err(error)) => Err(SessionError::Dial(address.to_owned(), error.into())),
                Ok(Ok(channel)) => self.hold(channel).await,
            };
            self.server.send_replace(None);
            let error = match ended {
                Ok(()) | Err(SessionError::Stopping) => return,
                Err(error) => error,
            };
            if began.elapsed() > GOOD {
                pause = pauses();
            }
            let next = if error.needs_person() {
                tracing::error!(error = chain(&error), "no session with the server");
                SLOW
            } else {
                tracing::warn!(error = &error as &dyn Error, "no session with the server");
                pause.next().unwrap_or(LONGEST_PAUSE)
            };
            tokio::select! {
                () = tokio::time::sleep(next) => {}
                () = self.hurry.notified() => {}
            }
        }
    }

    /// One session, until it ends.
    async fn hold(&mut self, channel: Channel) -> Result<(), SessionError> {
        let ended = |status| SessionError::Ended(Box::new(status));
        let (out, messages) = mpsc::channel(16);
        let (refused, mut refusals) = mpsc::channel(4);
        self.reports.mark_changed();
        // Measured before there was a server that listens: its time is not known any more.
        drop(self.measured.take());
        self.hello.revision = self.reports.borrow().revision;
        let mut disks = self.facts.subscribe();
        self.hello.facts = Some((&self.facts.now()).into());
        say(&out, FromAgent::Hello(self.hello.clone())).await?;
        let mut client = AgentServiceClient::new(channel.clone()).max_decoding_message_size(16 * 1024 * 1024);
        let stream = timeout(DIAL, client.session(ReceiverStream::new(messages)))
            .await
            .map_err(|_| SessionError::Silent)?;
        let mut stream = stream.map_err(ended)?.into_inner();
        self.server.send_replace(Some(channel));
        self.metrics.session();

        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        let mut facts = tokio::time::interval_at(Instant::now() + FACTS, FACTS);
        let mut sequence = 0;
        // The revision of the target that came last, and when.
        let mut target = None;
        let mut heard = Instant::now();
        loop {
            tokio::select! {
                message = stream.message() => {
                    heard = Instant::now();
                    let message = message.map_err(ended)?.ok_or(SessionError::Closed)?;
                    if let Some(FromServer::Target(came)) = &message.message {
                        target = Some((came.revision, nanos()));
                    }
                    self.take(message, &out, &refused).await?;
                }
                changed = self.reports.changed() => {
                    changed.map_err(|_| SessionError::Stopping)?;
                    let report = self.reports.borrow_and_update().clone();
                    say(&out, FromAgent::Report(read_off(report, target).into())).await?;
                }
                Some((revision, reason)) = refusals.recv() => {
                    say(&out, FromAgent::TargetRefused(TargetRefused { revision, reason })).await?;
                }
                () = self.measured.filled() => {
                    for measurement in self.measured.take() {
                        say(&out, FromAgent::Measurement((&measurement).into())).await?;
                    }
                }
                Ok(()) = disks.changed() => {
                    say(&out, FromAgent::Facts((&self.facts.now()).into())).await?;
                }
                _ = facts.tick() => {
                    say(&out, FromAgent::Facts((&self.facts.now()).into())).await?;
                }
                _ = heartbeat.tick() => {
                    if heard.elapsed() > SILENCE {
                        return Err(SessionError::Silent);
                    }
                    sequence += 1;
                    say(&out, FromAgent::Heartbeat(Heartbeat { sequence })).await?;
                }
            }
        }
    }

    async fn hand_over(&self, word: Word) -> Result<(), SessionError> {
        self.words.send(word).await.map_err(|_| SessionError::Stopping)
    }

    /// One message of the server's.
    async fn take(
        &self,
        message: ServerMessage,
        out: &mpsc::Sender<AgentMessage>,
        refused: &mpsc::Sender<(u64, String)>,
    ) -> Result<(), SessionError> {
        match message.message {
            Some(FromServer::Welcome(welcome)) => {
                tracing::info!(server = welcome.version, fleet = welcome.fleet, "session");
                if let Some(words) = clock_is_wrong(welcome.time_unix_millis, wall_clock()) {
                    tracing::warn!("{words}");
                }
                if !welcome.skew.is_empty() {
                    tracing::warn!("{}", welcome.skew);
                }
            }
            Some(FromServer::Target(target)) => {
                let revision = target.revision;
                match Target::try_from(target) {
                    Ok(target) => {
                        let offer = Offer { target, refused: refused.clone() };
                        self.hand_over(Word::Target(offer)).await?;
                    }
                    Err(error) => {
                        let reason = format!("the target makes no sense: {error}");
                        say(out, FromAgent::TargetRefused(TargetRefused { revision, reason })).await?;
                    }
                }
            }
            Some(FromServer::ReadLogs(asked)) => {
                if let Some(channel) = self.server.borrow().clone() {
                    self.logs.answer(asked, channel);
                }
            }
            Some(FromServer::RunCommand(asked)) => {
                if let Some(channel) = self.server.borrow().clone() {
                    self.commands.answer(asked, channel);
                }
            }
            Some(FromServer::Confirm(Confirm { revision, service })) => {
                // One that names nothing confirms nothing.
                if let Ok(service) = service.parse() {
                    self.hand_over(Word::Confirmed { service, revision }).await?;
                }
            }
            // A message of a later minor release: not for this agent.
            Some(FromServer::Heartbeat(_)) | None => {}
        }
        Ok(())
    }
}

/// A report as it is sent: with what the clock says now, and said when the target came that it is about.
fn read_off(report: HostReport, target: Option<(u64, u64)>) -> HostReport {
    let target_nanos = target.filter(|(revision, _)| *revision == report.revision).map(|(_, at)| at);
    HostReport { readings: Some(Readings { sent_nanos: nanos(), target_nanos }), ..report }
}

/// What to say of this machine's clock, where it differs from the server's. A server that tells no time says 0.
fn clock_is_wrong(server: u64, own: Timestamp) -> Option<String> {
    let server = Timestamp::from_unix_millis(server);
    let (by, how) =
        if own > server { (own.since(server), "ahead of") } else { (server.since(own), "behind") };
    (server != Timestamp::default() && by > CLOCK).then(|| {
        format!(
            "this machine's clock is {} {how} the server's: set it, or certificates will look over, or not valid yet",
            rough(by)
        )
    })
}

/// Sends one message; the queue is bounded, and a server that does not read for long has lost its session.
async fn say(out: &mpsc::Sender<AgentMessage>, message: FromAgent) -> Result<(), SessionError> {
    match timeout(SILENCE, out.send(AgentMessage { message: Some(message) })).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(SessionError::Closed),
        Err(_) => Err(SessionError::Silent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_clock_is_told_with_its_direction_and_by_how_much() {
        let at = |seconds: i64| 1_700_000_000_000_u64.checked_add_signed(seconds * 1000);
        let own = Timestamp::from_unix_millis(at(0).unwrap());
        assert_eq!(clock_is_wrong(at(20).unwrap(), own), None);
        assert!(clock_is_wrong(at(86_400).unwrap(), own).unwrap().contains("1 d 0 h behind the server's"));
        assert!(
            clock_is_wrong(at(-90 * 60).unwrap(), own).unwrap().contains("1 h 30 min ahead of the server's")
        );
        assert_eq!(clock_is_wrong(0, own), None, "a server that tells no time");
    }
}
