//! What a person wishes of a run that goes on: pause, resume, cancel.

use tokio::sync::watch;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Run,
    Pause,
    Cancel,
}

/// A handle on a run. Its copies are the same handle.
#[derive(Clone, Debug)]
pub struct Control(watch::Sender<Wish>);

impl Default for Control {
    fn default() -> Self {
        Self(watch::Sender::new(Wish::Run))
    }
}

impl Control {
    /// A run that nobody has said anything to.
    pub fn new() -> Self {
        Self::default()
    }

    /// Before the next migration, or the next batch of a backfill, the run waits. What goes on comes to its end.
    pub fn pause(&self) {
        self.wish(Wish::Pause);
    }

    /// It goes on.
    pub fn resume(&self) {
        self.wish(Wish::Run);
    }

    /// What goes on is ended at the server and taken back. For ever: a run that was cancelled is not resumed.
    pub fn cancel(&self) {
        self.0.send_replace(Wish::Cancel);
    }

    fn wish(&self, wish: Wish) {
        self.0.send_if_modified(|now| {
            let change = *now != Wish::Cancel && *now != wish;
            if change {
                *now = wish;
            }
            change
        });
    }

    pub(crate) fn is_paused(&self) -> bool {
        *self.0.borrow() == Wish::Pause
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        *self.0.borrow() == Wish::Cancel
    }

    /// Comes back once it was cancelled.
    pub async fn cancelled(&self) {
        // The sender is this handle's own, so it cannot be gone.
        let _ = self.0.subscribe().wait_for(|wish| *wish == Wish::Cancel).await;
    }

    /// Comes back once it is not paused any more.
    pub(crate) async fn unpaused(&self) {
        let _ = self.0.subscribe().wait_for(|wish| *wish != Wish::Pause).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_cancelled_is_neither_paused_nor_resumed() {
        let control = Control::new();
        control.pause();
        assert!(control.is_paused());
        control.resume();
        assert!(!control.is_paused());
        control.cancel();
        control.resume();
        control.pause();
        assert!(control.is_cancelled() && !control.is_paused());
    }
}
