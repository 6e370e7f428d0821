//! Streams of answers to operators: each has a place, few messages wait in it, and one that nobody reads ends.

use super::{held::Held, permit::Access};
use crate::{
    fleet::Refusal,
    limits::{LimitCounters, Limits, Place},
    metrics::Open,
};
use handover_proto::status::{Reason, refuse};
use std::{sync::Arc, time::Duration};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// A stream of which nothing was read for so long, although there is something to read, is over.
pub(super) const UNREAD: Duration = Duration::from_secs(60);

/// What a stream holds for as long as it lives.
#[derive(Debug)]
pub(super) struct Holding {
    /// The reader's place.
    pub(super) place: Place<String>,
    pub(super) counters: Arc<LimitCounters>,
    /// Counts it among the open ones.
    pub(super) open: Option<Open>,
    pub(super) stop: CancellationToken,
}

impl Holding {
    /// Of a watch.
    pub(super) fn watch(limits: &Limits, access: &Access, stop: CancellationToken) -> Result<Self, Status> {
        let place = limits.watch(&access.by())?;
        Ok(Self { place, counters: limits.counters(), open: Some(access.metrics().watcher()), stop })
    }

    /// Of a request for logs.
    pub(super) fn logs(limits: &Limits, access: &Access, stop: CancellationToken) -> Result<Self, Status> {
        let place = limits.log_reader(&access.by())?;
        Ok(Self { place, counters: limits.counters(), open: Some(access.metrics().log_reader()), stop })
    }
}

/// Why a stream ends before everything was told.
#[derive(Debug)]
pub(super) enum End {
    /// Nobody is there any more.
    Gone,
    Refused(Refusal),
    Unread,
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Where messages of one stream go.
#[derive(Debug)]
pub(super) struct Outlet<T>(mpsc::Sender<Result<T, Status>>);

/// Room for one message.
#[derive(Debug)]
pub(super) struct Room<'a, T>(mpsc::Permit<'a, Result<T, Status>>);

impl<T> Room<'_, T> {
    pub(super) fn send(self, message: T) {
        self.0.send(Ok(message));
    }
}

impl<T> Outlet<T> {
    /// Waits for room, for [`UNREAD`] at most.
    pub(super) async fn room(&self) -> Result<Room<'_, T>, End> {
        match timeout(UNREAD, self.0.reserve()).await {
            Ok(Ok(room)) => Ok(Room(room)),
            Ok(Err(_)) => Err(End::Gone),
            Err(_) => Err(End::Unread),
        }
    }

    /// Sends one message once there is room for it.
    pub(super) async fn send(&self, message: T) -> Result<(), End> {
        self.room().await?.send(message);
        Ok(())
    }
}

/// Streams what `tell` sends, until its end, the reader's, or the server's. At most `waiting` messages wait, and the word
/// why the stream ended, which a reader who is late still gets.
pub(super) fn stream<T, F>(
    holding: Holding,
    waiting: usize,
    tell: impl FnOnce(Outlet<T>) -> F + Send + 'static,
) -> Held<T, String>
where
    T: Send + 'static,
    F: Future<Output = Result<(), End>> + Send,
{
    let Holding { place, counters, open, stop } = holding;
    let (out, messages) = mpsc::channel(waiting + 1);
    tokio::spawn(async move {
        let _open = open;
        let Ok(last_word) = out.clone().reserve_owned().await else { return };
        let reader = out.clone();
        let ended = tokio::select! {
            () = stop.cancelled() => Err(Refusal::Stopping.into()),
            () = reader.closed() => return,
            ended = tell(Outlet(out)) => ended,
        };
        match ended {
            Ok(()) | Err(End::Gone) => {}
            Err(End::Refused(refusal)) => drop(last_word.send(Err(refusal.into()))),
            Err(End::Unread) => {
                counters.watch_unread();
                let why = format!("the answers were not read for {UNREAD:?}");
                last_word.send(Err(refuse(Reason::Busy, why, "ask again")));
            }
        }
    });
    Held::new(ReceiverStream::new(messages), place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt as _;
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

    #[tokio::test(start_paused = true)]
    async fn of_a_stream_that_nobody_reads_few_messages_wait_and_it_ends_with_a_word() {
        let limits = Limits::default();
        let holding = Holding {
            place: limits.log_reader("ada").unwrap(),
            counters: limits.counters(),
            open: None,
            stop: CancellationToken::new(),
        };
        let made = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&made);
        let mut stream = stream(holding, 3, async move |out: Outlet<u64>| {
            loop {
                let room = out.room().await?;
                room.send(count.fetch_add(1, SeqCst));
            }
        });
        tokio::time::sleep(UNREAD / 2).await;
        assert_eq!(made.load(SeqCst), 3);
        assert_eq!(stream.next().await.unwrap().unwrap(), 0);
        tokio::time::sleep(UNREAD * 2).await;
        assert_eq!(made.load(SeqCst), 4);
        let mut seen = Vec::new();
        let why = loop {
            match stream.next().await.expect("the stream ended without a word") {
                Ok(number) => seen.push(number),
                Err(why) => break why,
            }
        };
        assert_eq!(seen, [1, 2, 3]);
        assert!(why.message().contains("not read for 60s"), "{why:?}");
        assert!(stream.next().await.is_none());
        let unread = limits.counters().all().find(|(name, _)| *name == "watches_unread_total").unwrap().1;
        assert_eq!(unread, 1);
    }
}
