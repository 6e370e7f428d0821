//! One client of a run.

use super::{
    config::{Config, Mode},
    connection::{Connection, Failed, request},
    failure::{Failure, FailureKind},
    pace::{Pace, Turn},
    response::Head,
    sources::Sources,
    tally::{Tally, micros, now},
};
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::{
    sync::watch,
    time::{sleep, sleep_until},
};

/// A client that could not connect waits this long, so that a refusing address does not take a whole core.
const PAUSE_AFTER_NO_CONNECTION: Duration = Duration::from_millis(10);

/// What all clients of a run share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) pace: Pace,
    pub(crate) tally: Mutex<Tally>,
    pub(crate) sources: Sources,
}

impl Shared {
    /// The counters; never held over an await.
    pub(crate) fn tally(&self) -> MutexGuard<'_, Tally> {
        // A client that panicked while counting has left whole numbers.
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One client: takes turns until none is left or the run is stopped. A request that was begun is always ended.
pub(crate) struct Worker {
    client: usize,
    shared: Arc<Shared>,
    stopped: watch::Receiver<bool>,
    requests: Vec<(SocketAddr, Vec<u8>)>,
}

/// How one request went.
struct Attempt {
    connection: Option<Connection>,
    outcome: Result<Head, Failed>,
    began: Instant,
}

impl Worker {
    pub(crate) fn new(client: usize, shared: Arc<Shared>, stopped: watch::Receiver<bool>) -> Self {
        let config = &shared.config;
        let close = matches!(config.mode, Mode::OnePerRequest { .. });
        let requests =
            config.targets.iter().map(|&target| (target, request(target, &config.path, close))).collect();
        Self { client, shared, stopped, requests }
    }

    pub(crate) async fn run(mut self) {
        let mut kept = None;
        while let Some(turn) = self.next_turn().await {
            let which = match self.shared.config.mode {
                Mode::KeepAlive { .. } => self.client as u64,
                Mode::OnePerRequest { .. } => turn.number,
            };
            let index = usize::try_from(which % self.requests.len() as u64).unwrap_or(0);
            let target = self.requests[index].0;
            let attempt = self.attempt(index, kept.take()).await;
            self.count(target, &attempt);
            match (attempt.connection, attempt.outcome) {
                (Some(connection), Ok(head))
                    if head.close || matches!(self.shared.config.mode, Mode::OnePerRequest { .. }) =>
                {
                    connection.close().await;
                }
                (Some(connection), Ok(_)) => kept = Some(connection),
                (Some(_), Err(_)) => {}
                (None, _) => sleep(PAUSE_AFTER_NO_CONNECTION).await,
            }
        }
    }

    /// Waits until the next request is due; none: the run is over.
    async fn next_turn(&mut self) -> Option<Turn> {
        if *self.stopped.borrow() {
            return None;
        }
        let turn = self.shared.pace.turn(Instant::now())?;
        if let Some(due) = turn.due {
            if due > Instant::now() {
                tokio::select! {
                    () = sleep_until(due.into()) => {}
                    // Also where the handle is gone.
                    _ = self.stopped.wait_for(|&stopped| stopped) => return None,
                }
            }
            let lag = due.elapsed();
            let mut tally = self.shared.tally();
            tally.max_lag = tally.max_lag.max(lag);
        }
        Some(turn)
    }

    async fn attempt(&self, index: usize, kept: Option<Connection>) -> Attempt {
        let (target, request) = &self.requests[index];
        let began = Instant::now();
        let mut connection = match kept {
            Some(connection) => connection,
            None => match Connection::open(*target, &self.shared.sources, self.shared.config.connect_timeout)
                .await
            {
                Ok(connection) => {
                    self.shared.tally().connections += 1;
                    connection
                }
                Err(failed) => return Attempt { connection: None, outcome: Err(failed), began },
            },
        };
        let outcome = connection.exchange(request, self.shared.config.request_timeout).await;
        Attempt { connection: Some(connection), outcome, began }
    }

    fn count(&self, target: SocketAddr, attempt: &Attempt) {
        let took = attempt.began.elapsed();
        let mut tally = self.shared.tally();
        let status = attempt.outcome.as_ref().ok().map(|head| head.status);
        let (kind, detail, version) = match &attempt.outcome {
            Ok(head) if (200..300).contains(&head.status) => {
                return tally.ok(target, head.version.as_deref(), took);
            }
            Ok(head) => (FailureKind::Non2xx, format!("status {}", head.status), head.version.as_deref()),
            Err(failed) => (failed.kind, failed.detail.clone(), None),
        };
        let connection = attempt.connection.as_ref();
        let source = connection.and_then(Connection::source);
        // A whole answer with another status was counted by its connection.
        let answered = connection.map_or(0, Connection::answered);
        let answered_before = if kind == FailureKind::Non2xx { answered.saturating_sub(1) } else { answered };
        let failure =
            Failure { at: now(), kind, target, source, answered_before, after_us: micros(took), detail };
        tally.failed(failure, status, version);
    }
}
