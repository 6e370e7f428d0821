//! Starting, watching and ending a run.

use super::{
    address::Sources,
    config::{Config, ConfigError},
    failure::{Failure, FailureKind},
    pace::Pace,
    report::Report,
    tally::{Shards, now},
    worker::{Shared, Worker},
};
use handover_model::Timestamp;
use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{runtime, sync::watch, task::JoinSet};

/// The load generator.
#[derive(Debug)]
pub struct Load;

/// Why a run did not start.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The configuration cannot run, or must not.
    #[error("the load cannot run as configured")]
    Config(#[from] ConfigError),
    /// No threads or no event queue.
    #[error("cannot start the load generator's threads")]
    Runtime(#[from] io::Error),
    /// No memory for the counters.
    #[error("cannot make the load generator's latency histogram")]
    Histogram(#[from] hdrhistogram::CreationError),
}

impl Load {
    /// Starts a run on threads of its own, so that a test that blocks or is slow does not slow it down.
    ///
    /// # Errors
    /// A target that is not loopback, a number out of range, no threads.
    pub fn start(config: Config) -> Result<RunningLoad, LoadError> {
        config.check()?;
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(config.threads)
            .thread_name("load")
            .enable_all()
            .build()?;
        let began = Instant::now();
        let shared = Arc::new(Shared {
            pace: Pace::new(began, config.rate, config.duration, config.requests),
            shards: Shards::new(config.connections.min(8), &config.targets)?,
            sources: Sources::new(),
            config,
        });
        let (stop, stopped) = watch::channel(false);
        let (finish, finished) = watch::channel(None);
        let clients = shared.config.connections;
        let workers: Vec<_> =
            (0..clients).map(|client| Worker::new(client, Arc::clone(&shared), stopped.clone())).collect();
        let counting = Arc::clone(&shared);
        runtime.spawn(async move {
            let mut running = JoinSet::new();
            for worker in workers {
                running.spawn(worker.run());
            }
            while let Some(ended) = running.join_next().await {
                if ended.is_err() {
                    // Otherwise a run with a client less would look clean.
                    counting.shards.of(0).failed(lost_client(counting.config.targets[0]), None);
                }
            }
            let _ = finish.send(Some(began.elapsed()));
        });
        Ok(RunningLoad { shared, began, began_at: now(), stop, finished, runtime: Some(runtime) })
    }
}

fn lost_client(target: SocketAddr) -> Failure {
    Failure {
        at: now(),
        kind: FailureKind::OtherError,
        target,
        source: None,
        answered_before: 0,
        after_us: 0,
        detail: "a client of the load generator panicked".to_owned(),
    }
}

/// A run that goes on until its bound, until it is stopped, or until this is dropped.
#[derive(Debug)]
pub struct RunningLoad {
    shared: Arc<Shared>,
    began: Instant,
    began_at: Timestamp,
    stop: watch::Sender<bool>,
    /// How long the run took, once all clients have ended.
    finished: watch::Receiver<Option<Duration>>,
    runtime: Option<runtime::Runtime>,
}

impl RunningLoad {
    /// What was counted so far.
    #[must_use]
    pub fn snapshot(&self) -> Report {
        let elapsed = self.finished.borrow().unwrap_or_else(|| self.began.elapsed());
        Report::of(self.shared.shards.sum(), &self.shared.config, self.began_at, elapsed)
    }

    /// All clients have ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.finished.borrow().is_some()
    }

    /// Begins no further request, lets those that run end (each within its time-out), and reports.
    pub async fn stop(self) -> Report {
        self.stop.send_replace(true);
        self.wait().await
    }

    /// Waits for a bounded run to end by itself, and reports. An unbounded run never does.
    pub async fn wait(mut self) -> Report {
        // The sender goes only after it has sent.
        let _ = self.finished.wait_for(Option::is_some).await;
        self.snapshot()
    }

    /// As [`stop`](Self::stop), for tests without a runtime.
    #[must_use]
    pub fn stop_blocking(self) -> Report {
        self.stop.send_replace(true);
        // The clients' own runtime cannot be blocked on from inside another one; a bare thread park can, anywhere.
        while !self.is_finished() {
            std::thread::sleep(Duration::from_millis(2));
        }
        self.snapshot()
    }
}

impl Drop for RunningLoad {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(runtime) = self.runtime.take() {
            // A plain drop would block, which panics inside an async test.
            runtime.shutdown_background();
        }
    }
}
