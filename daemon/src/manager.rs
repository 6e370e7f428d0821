//! The service manager (systemd, mostly): told what sd_notify(3) describes, where it asked for that in the environment.
//!
//! Only the crate's functions that leave the environment alone are used: those that change it are `unsafe` beside
//! threads, and what the agent starts gets an environment of its own anyway.

use crate::Pulse;
use sd_notify::NotifyState;
use std::{io, time::Duration};
use tokio::{task::JoinHandle, time::timeout};

/// Longest time between two looks at the pulse: so often a changed status is told.
const LONGEST_PACE: Duration = Duration::from_secs(5);
/// Longest wait for a manager that does not read. It is tried again at the next look.
const TELL: Duration = Duration::from_secs(2);

/// The service manager that started this process. Where none did, nothing is told to nobody.
#[derive(Debug)]
pub struct ServiceManager {
    watchdog: Option<Duration>,
    status: String,
    /// What a manager that does not read has not taken yet.
    pending: Option<JoinHandle<io::Result<()>>>,
}

impl ServiceManager {
    /// As the environment says: `NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID`.
    #[must_use]
    pub fn of_this_process() -> Self {
        let watchdog = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero());
        Self { watchdog, status: String::new(), pending: None }
    }

    /// The daemon does now what it is there for.
    pub async fn ready(&mut self, status: String) {
        self.tell(Some(NotifyState::Ready), status).await;
    }

    /// Tells for as long as it is polled that the heart beats: at half of the time that the manager has set, and each
    /// time only if the heart has beaten since. Tells the status when it has changed; that of a still heart is why.
    pub async fn watch(mut self, mut pulse: Pulse, status: impl Fn() -> String) {
        let half = self.watchdog.map_or(LONGEST_PACE, |limit| limit / 2);
        let mut pace = tokio::time::interval(half.min(LONGEST_PACE));
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            pace.tick().await;
            let beaten = pulse.has_beaten().then_some(NotifyState::Watchdog);
            let status = pulse.check().map_or_else(|still| still.to_string(), |()| status());
            self.tell(beaten.filter(|_| self.watchdog.is_some()), status).await;
        }
    }

    /// The daemon ends, on purpose.
    pub async fn stopping(mut self) {
        self.tell(Some(NotifyState::Stopping), "stopping".to_owned()).await;
    }

    /// Sends in a thread of its own: a socket that its manager does not read is full some day, and then send(2) waits.
    async fn tell(&mut self, state: Option<NotifyState<'static>>, status: String) {
        // A line break would begin another assignment.
        let status: String = status.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let changed = status != self.status;
        if state.is_none() && !changed {
            return;
        }
        if let Some(mut pending) = self.pending.take()
            && timeout(TELL, &mut pending).await.is_err()
        {
            self.pending = Some(pending);
            return;
        }
        let line = status.clone();
        let mut sending = tokio::task::spawn_blocking(move || {
            let status = changed.then_some(NotifyState::Status(&line));
            sd_notify::notify(&state.into_iter().chain(status).collect::<Vec<_>>())
        });
        match timeout(TELL, &mut sending).await {
            Ok(Ok(Ok(()))) => self.status = status,
            Ok(Ok(Err(error))) => tracing::warn!(%error, "the service manager cannot be told anything"),
            // Only a runtime that ends drops such a task.
            Ok(Err(_)) => {}
            Err(_) => {
                tracing::warn!("the service manager has not read for {TELL:?}");
                self.pending = Some(sending);
            }
        }
    }
}
