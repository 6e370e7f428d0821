//! One request after the other: read, send, and end when the server has nobody who reads.

use super::{MAX_REQUESTS, Piece, files, journald, line::micros, request::LogRequest};
use crate::instance::logs::journald_is_there;
use handover_proto::v1::{self, agent_service_client::AgentServiceClient};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{Semaphore, mpsc},
    time::timeout,
};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use tonic::transport::Channel;
use tracing::Instrument as _;

/// Pieces that wait for the network.
const PIECES: usize = 2;
/// How often files are looked at while somebody follows.
const LOOK: Duration = Duration::from_millis(250);
/// How long a request without following may take, and how long one may follow.
const DEADLINE: Duration = Duration::from_secs(120);
const FOLLOWED: Duration = Duration::from_secs(24 * 3600);

/// What the server asked for, as long as it is answered.
#[derive(Clone, Debug)]
pub struct LogRequests {
    logs: PathBuf,
    places: Arc<Semaphore>,
}

impl LogRequests {
    /// Of an agent whose files are here.
    #[must_use]
    pub fn of(logs: PathBuf) -> Self {
        Self { logs, places: Arc::new(Semaphore::new(MAX_REQUESTS)) }
    }

    /// Answers a request over this connection. Returns at once.
    pub fn answer(&self, asked: v1::ReadLogs, channel: Channel) {
        let (number, this) = (asked.request_id, self.clone());
        let span = tracing::info_span!("logs", service = asked.service, request = number);
        let most = if asked.follow { FOLLOWED } else { DEADLINE };
        let answered = async move {
            let (out, pieces) = mpsc::channel(PIECES);
            let reading = async move {
                let Ok(_place) = Arc::clone(&this.places).try_acquire_owned() else {
                    let why = format!("its agent reads logs for {MAX_REQUESTS} others already");
                    let _ = out.send(Piece::Failed(why)).await;
                    return;
                };
                match LogRequest::try_from(asked) {
                    Ok(request) => read(&this.logs, &request, &out).await,
                    Err(error) => {
                        let _ = out.send(Piece::Failed(error.to_string())).await;
                    }
                }
            };
            let batches = ReceiverStream::new(pieces).map(move |piece| piece.wire(number));
            // Says that the agent heard, before anything is read.
            let first = tokio_stream::once(v1::LogBatch { request_id: number, ..v1::LogBatch::default() });
            let mut client = AgentServiceClient::new(channel);
            let sending = client.send_logs(first.chain(batches));
            tokio::pin!(reading, sending);
            // The answer comes when nobody reads any more: then the reading is dropped, and with it its journalctl.
            let sent = tokio::select! {
                sent = &mut sending => sent,
                () = &mut reading => sending.await,
            };
            if let Err(status) = sent {
                tracing::debug!(error = status.message(), "logs are not sent to the end");
            }
        };
        tokio::spawn(
            async move {
                if timeout(most, answered).await.is_err() {
                    tracing::info!("the time for this request is over");
                }
            }
            .instrument(span),
        );
    }
}

/// Reads what is asked for into `out`, until its end or until nobody takes it.
pub async fn read(logs: &Path, request: &LogRequest, out: &mpsc::Sender<Piece>) {
    if let Err(why) = read_all(logs, request, out).await {
        // Nobody takes it: then nobody needs to know.
        let _ = out.send(Piece::Failed(why)).await;
    }
}

async fn read_all(logs: &Path, request: &LogRequest, out: &mpsc::Sender<Piece>) -> Result<(), String> {
    let began = micros() / 1000;
    let folder = logs.join(request.service.as_str());
    let (asked, place) = (request.clone(), folder.clone());
    let read = tokio::task::spawn_blocking(move || files::before(&place, &asked)).await;
    let read = read.map_err(|error| error.to_string())?;
    let (found, following) = read.map_err(|error| format!("{}: {error}", folder.display()))?;
    if found.files && request.since_millis != 0 {
        let note = "the lines of its files carry no time: of a file that was written to since then all lines are shown";
        let _ = out.send(Piece::Note(note.to_owned())).await;
    }
    let journal = if journald_is_there() {
        Some(journald::before(request).await.map_err(|error| handover_model::chain(&error))?)
    } else {
        None
    };
    if found.more || journal.as_ref().is_some_and(|journal| journal.more) {
        let note =
            format!("there are older lines than the {} that were asked for, or than fit", request.lines);
        let _ = out.send(Piece::Note(note)).await;
    }
    let is_there = journal.is_some();
    let journald::Before { lines, cursor, .. } = journal.unwrap_or_default();
    for piece in Piece::of(found.lines).into_iter().chain(Piece::of(lines)) {
        if out.send(piece).await.is_err() {
            return Ok(());
        }
    }
    if !request.follow || out.send(Piece::CaughtUp).await.is_err() {
        return Ok(());
    }
    let from = request.since_millis.max(began);
    let journal = async {
        if !is_there {
            return std::future::pending().await;
        }
        let ended = journald::follow(request, cursor.as_deref(), from, out).await;
        ended.map_err(|error| handover_model::chain(&error))
    };
    tokio::select! {
        ended = journal => ended,
        ended = follow_files(following, request, out) => ended,
    }
}

async fn follow_files(
    mut following: files::Following,
    request: &LogRequest,
    out: &mpsc::Sender<Piece>,
) -> Result<(), String> {
    loop {
        let asked = request.clone();
        let round = tokio::task::spawn_blocking(move || {
            let read = following.round(&asked);
            (following, read)
        });
        let (back, read) = round.await.map_err(|error| error.to_string())?;
        following = back;
        let (lines, lost) = read.map_err(|error| format!("its files cannot be read: {error}"))?;
        let idle = lines.is_empty();
        let note = lost.then(|| Piece::Note("lines were rotated away before they were read".to_owned()));
        for piece in note.into_iter().chain(Piece::of(lines)) {
            if out.send(piece).await.is_err() {
                return Ok(());
            }
        }
        if idle {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = out.closed() => return Ok(()),
            }
        }
    }
}
