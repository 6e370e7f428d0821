//! Starting, watching and ending a run.

use super::{
    config::{Config, ConfigError},
    pace::Pace,
    report::Report,
    sources::Sources,
    tally::{Tally, now},
    worker::{Shared, Worker},
};
use handover_model::Timestamp;
use std::{
    io,
    sync::{Arc, Mutex},
    thread,
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
    /// No thread or no event queue.
    #[error("cannot start the load generator's thread")]
    Runtime(#[from] io::Error),
}

impl Load {
    /// Starts a run on a thread of its own, so that a test that blocks or is slow does not slow it down.
    ///
    /// # Panics
    /// Where [`try_start`](Self::try_start) fails.
    #[track_caller]
    #[must_use]
    pub fn start(config: Config) -> RunningLoad {
        Self::try_start(config).unwrap_or_else(|error| panic!("{error}: {error:?}"))
    }

    /// As [`start`](Self::start), for programs.
    ///
    /// # Errors
    /// A target that is not loopback, a number out of range, no thread.
    pub fn try_start(config: Config) -> Result<RunningLoad, LoadError> {
        config.check()?;
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("load")
            .enable_all()
            .build()?;
        let began = Instant::now();
        let shared = Arc::new(Shared {
            pace: Pace::new(began, config.rate, config.duration, config.max_requests),
            tally: Mutex::new(Tally::new(&config.targets)),
            sources: Sources::new(),
            config,
        });
        let (stop, stopped) = watch::channel(false);
        let (finish, finished) = watch::channel(None);
        let clients = shared.config.mode.clients();
        let workers: Vec<_> =
            (0..clients).map(|client| Worker::new(client, Arc::clone(&shared), stopped.clone())).collect();
        runtime.spawn(async move {
            let mut running = JoinSet::new();
            for worker in workers {
                running.spawn(worker.run());
            }
            let mut broken = false;
            while let Some(ended) = running.join_next().await {
                broken |= ended.is_err();
            }
            let _ = finish.send(Some(Finished { after: began.elapsed(), broken }));
        });
        Ok(RunningLoad { shared, began, began_at: now(), stop, finished, runtime: Some(runtime) })
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug)]
struct Finished {
    after: Duration,
    /// A client panicked: what it would have counted is missing.
    broken: bool,
}

/// A run that goes on until its bound, until it is stopped, or until this is dropped, which cuts what is running.
#[derive(Debug)]
pub struct RunningLoad {
    shared: Arc<Shared>,
    began: Instant,
    began_at: Timestamp,
    stop: watch::Sender<bool>,
    /// How long the run took, once all clients have ended.
    finished: watch::Receiver<Option<Finished>>,
    runtime: Option<runtime::Runtime>,
}

impl RunningLoad {
    /// What was counted so far.
    #[must_use]
    pub fn snapshot(&self) -> Report {
        let elapsed = self.finished.borrow().map_or_else(|| self.began.elapsed(), |finished| finished.after);
        let tally = self.shared.tally().clone();
        Report::of(tally, self.shared.config.mode.words(), self.began_at, elapsed)
    }

    /// All clients have ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.finished.borrow().is_some()
    }

    /// Begins no further request; those that run go on to their end.
    pub fn end(&self) {
        self.stop.send_replace(true);
    }

    /// Begins no further request, waits for those that run (each has its time-out), and reports.
    #[must_use]
    pub fn stop(self) -> Report {
        self.end();
        self.wait()
    }

    /// Waits for the run to end by itself, at its bound, and reports.
    ///
    /// # Panics
    /// When one of its clients did: the report would miss what that one saw.
    #[must_use]
    pub fn wait(self) -> Report {
        // The clients' own runtime cannot be blocked on from inside another one; a sleep can, anywhere. Bounded by the run's
        // duration and the requests' time-outs.
        while !self.is_finished() {
            thread::sleep(Duration::from_millis(2));
        }
        let broken = self.finished.borrow().is_some_and(|finished| finished.broken);
        assert!(!broken, "a client of the load generator panicked: its report would be too good");
        self.snapshot()
    }
}

impl Drop for RunningLoad {
    fn drop(&mut self) {
        self.end();
        if let Some(runtime) = self.runtime.take() {
            // A plain drop would block, which panics inside an async test.
            runtime.shutdown_background();
        }
    }
}
