//! The agent's connection to the server: dialled, kept, dialled again. Losing it stops nothing on the host.

use crate::{logs::LogRequests, metrics::Metrics};
use backon::BackoffBuilder as _;
use handover_model::{HostReport, Target};
use handover_proto::v1::{
    AgentMessage, Heartbeat, Hello, ServerMessage, TargetRefused, agent_message::Message as FromAgent,
    agent_service_client::AgentServiceClient, server_message::Message as FromServer,
};
use std::{error::Error, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, watch},
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
/// A session that lasted that long was a good one: the next attempt comes at once.
const GOOD: Duration = Duration::from_secs(10);

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
    /// What the agent says first; the revision is filled in.
    pub hello: Hello,
    /// What runs; the newest counts.
    pub reports: watch::Receiver<HostReport>,
    /// Targets on their way in.
    pub offers: mpsc::Sender<Offer>,
    /// The connection, for those who fetch bundles.
    pub server: watch::Sender<Option<Channel>>,
    /// Who answers where the server asks what instances wrote.
    pub logs: LogRequests,
    /// Where sessions are counted.
    pub metrics: Arc<Metrics>,
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
            match ended {
                Ok(()) | Err(SessionError::Stopping) => return,
                Err(error) => tracing::warn!(error = &error as &dyn Error, "no session with the server"),
            }
            if began.elapsed() > GOOD {
                pause = pauses();
            }
            tokio::time::sleep(pause.next().unwrap_or(LONGEST_PAUSE)).await;
        }
    }

    /// One session, until it ends.
    async fn hold(&mut self, channel: Channel) -> Result<(), SessionError> {
        let ended = |status| SessionError::Ended(Box::new(status));
        let (out, messages) = mpsc::channel(16);
        let (refused, mut refusals) = mpsc::channel(4);
        self.reports.mark_changed();
        self.hello.revision = self.reports.borrow().revision;
        say(&out, FromAgent::Hello(self.hello.clone())).await?;
        let mut client = AgentServiceClient::new(channel.clone()).max_decoding_message_size(16 * 1024 * 1024);
        let stream = timeout(DIAL, client.session(ReceiverStream::new(messages)))
            .await
            .map_err(|_| SessionError::Silent)?;
        let mut stream = stream.map_err(ended)?.into_inner();
        self.server.send_replace(Some(channel));
        self.metrics.session();

        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        let mut sequence = 0;
        let mut heard = Instant::now();
        loop {
            tokio::select! {
                message = stream.message() => {
                    heard = Instant::now();
                    let message = message.map_err(ended)?.ok_or(SessionError::Closed)?;
                    self.take(message, &out, &refused).await?;
                }
                changed = self.reports.changed() => {
                    changed.map_err(|_| SessionError::Stopping)?;
                    let report = self.reports.borrow_and_update().clone();
                    say(&out, FromAgent::Report(report.into())).await?;
                }
                Some((revision, reason)) = refusals.recv() => {
                    say(&out, FromAgent::TargetRefused(TargetRefused { revision, reason })).await?;
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
                if !welcome.skew.is_empty() {
                    tracing::warn!("{}", welcome.skew);
                }
            }
            Some(FromServer::Target(target)) => {
                let revision = target.revision;
                match Target::try_from(target) {
                    Ok(target) => {
                        let offer = Offer { target, refused: refused.clone() };
                        self.offers.send(offer).await.map_err(|_| SessionError::Stopping)?;
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
            // A message of a later minor release: not for this agent.
            Some(FromServer::Heartbeat(_)) | None => {}
        }
        Ok(())
    }
}

/// Sends one message; the queue is bounded, and a server that does not read for long has lost its session.
async fn say(out: &mpsc::Sender<AgentMessage>, message: FromAgent) -> Result<(), SessionError> {
    match timeout(SILENCE, out.send(AgentMessage { message: Some(message) })).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(SessionError::Closed),
        Err(_) => Err(SessionError::Silent),
    }
}
