//! Ctrl-C and SIGTERM: noticed between two measurements, so that what was started is ended.

use crate::Failed;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{SignalKind, signal},
};

/// Whether somebody wants this program to end.
#[derive(Debug)]
pub(crate) struct Interrupt {
    asked: Arc<AtomicBool>,
    _runtime: Runtime,
}

impl Interrupt {
    /// Watches from now on.
    pub(crate) fn watch() -> Result<Self, Failed> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let asked = Arc::new(AtomicBool::new(false));
        let inside = runtime.enter();
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let seen = Arc::clone(&asked);
        runtime.spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            seen.store(true, Ordering::Relaxed);
        });
        drop(inside);
        Ok(Self { asked, _runtime: runtime })
    }

    /// An error where it was asked to end.
    pub(crate) fn check(&self) -> Result<(), Failed> {
        if self.asked.load(Ordering::Relaxed) {
            return Err("interrupted; what it started is ended".into());
        }
        Ok(())
    }
}
