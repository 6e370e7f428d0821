//! How far the service is with its end.

use std::{
    convert::Infallible,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};

/// The phases, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Connections are kept alive.
    Serving,
    /// Each answer is the last of its connection.
    Draining,
    /// And connections without a request at the moment are closed.
    ClosingIdle,
    /// And those too that never sent one.
    Ending,
}

/// The phase, and who is still there.
#[derive(Debug)]
pub struct Drain {
    phase: watch::Sender<Phase>,
    // Beside the phase, because it is asked for each answer.
    draining: AtomicBool,
    alive: mpsc::WeakSender<Infallible>,
}

/// Held by everything that has to end before the program does.
#[derive(Debug)]
pub struct Guard(#[expect(dead_code, reason = "it is there to be dropped")] Option<mpsc::Sender<Infallible>>);

/// Tells when all guards are gone.
#[derive(Debug)]
pub struct Gone {
    alive: mpsc::Sender<Infallible>,
    all: mpsc::Receiver<Infallible>,
}

impl Drain {
    /// One that serves, and what waits for the end of it.
    #[must_use]
    pub fn new() -> (Self, Gone) {
        let (alive, all) = mpsc::channel(1);
        let drain = Self {
            phase: watch::Sender::new(Phase::Serving),
            draining: AtomicBool::new(false),
            alive: alive.downgrade(),
        };
        (drain, Gone { alive, all })
    }

    /// Goes on to a phase.
    pub fn enter(&self, phase: Phase) {
        self.draining.store(phase >= Phase::Draining, Ordering::Relaxed);
        self.phase.send_replace(phase);
    }

    /// Whether each answer is the last of its connection.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Waits until this phase or a later one.
    pub async fn reached(&self, phase: Phase) {
        // Cannot fail: the sender is in self.
        let _ = self.phase.subscribe().wait_for(|now| *now >= phase).await;
    }

    /// For something that has to end first.
    #[must_use]
    pub fn guard(&self) -> Guard {
        Guard(self.alive.upgrade())
    }
}

impl Gone {
    /// Waits until nothing is left; after `grace` idle connections are closed.
    pub async fn wait(mut self, grace: Duration, drain: &Drain) {
        drop(self.alive);
        if timeout(grace, self.all.recv()).await.is_err() {
            drain.enter(Phase::Ending);
            // What still works on a request may finish it, however long that takes: the deadline is that of whoever sent the signal.
            let _ = self.all.recv().await;
        }
    }
}
