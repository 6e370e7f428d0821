//! Whether a daemon's heart beats: the one loop without which it does nothing, though its process lives.
//!
//! The loop has the [`Heart`] and beats it each time that it has got somewhere; whoever has to answer for the daemon
//! (the watchdog, `/healthz`) holds a [`Pulse`].

use std::time::Duration;
use tokio::{sync::watch, time::Instant};

#[derive(Debug)]
struct Beat {
    at: Instant,
    /// Why the one after it does not come, where that is known.
    fault: Option<String>,
}

/// What the loop beats. Dropped with the loop: a heart that is gone is still.
#[derive(Debug)]
pub struct Heart(watch::Sender<Beat>);

/// What tells whether the heart beats. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Pulse {
    name: &'static str,
    patience: Duration,
    beats: watch::Receiver<Beat>,
}

/// A heart that does not beat.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} has not moved for {} s{}", silent.as_secs(), fault.as_deref().map(|fault| format!(": {fault}")).unwrap_or_default())]
pub struct Still {
    /// Which loop.
    pub name: &'static str,
    /// Since its last beat.
    pub silent: Duration,
    /// Why, where that is known.
    pub fault: Option<String>,
}

impl Heart {
    /// A heart that begins with a beat. `name` is the loop's, for people ("the fleet"); after `patience` without a
    /// beat [`Pulse::check`] calls it still.
    #[must_use]
    pub fn new(name: &'static str, patience: Duration) -> (Self, Pulse) {
        let (heart, beats) = watch::channel(Beat { at: Instant::now(), fault: None });
        (Self(heart), Pulse { name, patience, beats })
    }

    /// The loop has got somewhere.
    pub fn beat(&self) {
        self.0.send_replace(Beat { at: Instant::now(), fault: None });
    }

    /// The loop could not get anywhere, and this is why. No beat.
    pub fn falter(&self, why: String) {
        self.0.send_if_modified(|beat| {
            beat.fault = Some(why);
            false
        });
    }
}

impl Pulse {
    /// Whether the last beat is at most the heart's patience ago.
    ///
    /// # Errors
    /// When it is longer ago, or the loop has ended.
    pub fn check(&self) -> Result<(), Still> {
        let ended = self.beats.has_changed().is_err();
        let beat = self.beats.borrow();
        let silent = beat.at.elapsed();
        if silent <= self.patience && !ended {
            return Ok(());
        }
        let fault = if ended { Some("it has ended".to_owned()) } else { beat.fault.clone() };
        Err(Still { name: self.name, silent, fault })
    }

    /// Whether the heart has beaten since this was asked last, by this very clone.
    pub fn has_beaten(&mut self) -> bool {
        let beaten = self.beats.has_changed().unwrap_or(false);
        self.beats.mark_unchanged();
        beaten
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_heart_that_beats_is_not_still_and_one_that_stops_is() {
        let (heart, pulse) = Heart::new("the loop", PATIENCE);
        for _ in 0..5 {
            tokio::time::advance(PATIENCE).await;
            assert_eq!(pulse.check(), Ok(()));
            heart.beat();
        }
        tokio::time::advance(PATIENCE + Duration::from_secs(1)).await;
        assert_eq!(pulse.check().unwrap_err().to_string(), "the loop has not moved for 11 s");
        heart.beat();
        assert_eq!(pulse.check(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_heart_that_falters_says_why_and_does_not_beat_by_that() {
        let (heart, mut pulse) = Heart::new("the loop", PATIENCE);
        heart.falter("the disk is full".to_owned());
        assert_eq!(pulse.check(), Ok(()), "it may still come");
        assert!(!pulse.has_beaten());
        tokio::time::advance(PATIENCE + Duration::from_secs(5)).await;
        let still = pulse.check().unwrap_err().to_string();
        assert_eq!(still, "the loop has not moved for 15 s: the disk is full");
        heart.beat();
        assert_eq!(pulse.check(), Ok(()), "what was is over");
    }

    #[tokio::test]
    async fn each_holder_of_a_pulse_sees_each_beat_once() {
        let (heart, mut pulse) = Heart::new("the loop", PATIENCE);
        let mut other = pulse.clone();
        assert!(!pulse.has_beaten());
        heart.beat();
        heart.beat();
        assert!(pulse.has_beaten() && other.has_beaten());
        assert!(!pulse.has_beaten() && !other.has_beaten());
    }

    #[tokio::test]
    async fn a_heart_that_is_gone_is_still_at_once() {
        let (heart, mut pulse) = Heart::new("the loop", PATIENCE);
        heart.beat();
        drop(heart);
        assert_eq!(pulse.check().unwrap_err().to_string(), "the loop has not moved for 0 s: it has ended");
        assert!(!pulse.has_beaten(), "its last beat says nothing any more");
    }
}
