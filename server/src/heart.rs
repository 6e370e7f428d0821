//! The server's heart is its fleet: asked again and again, through the queue that everybody asks through, whether it
//! still decides and its store still takes what it decides.

use crate::fleet::{Fleet, Refusal, Vitals};
use handover_daemon::{Heart, Pulse};
use std::time::Duration;
use tokio::{sync::watch, time::timeout};

/// Between two questions.
const PACE: Duration = Duration::from_secs(1);
/// How long an answer may take: it waits behind a commit, and a disk under load may need seconds for one.
const ANSWER: Duration = Duration::from_secs(10);
/// After that long without an answer the server is not well.
const PATIENCE: Duration = Duration::from_secs(15);

/// A fleet whose pulse is felt.
#[derive(Debug)]
pub struct Felt {
    /// Whether it decides.
    pub pulse: Pulse,
    /// What it said last.
    pub vitals: watch::Receiver<Vitals>,
}

/// Waits for the fleet's first answer, which comes once everything that it wrote at its start is durable, and feels
/// its pulse from then on, until it has stopped.
///
/// # Errors
/// When the first answer is that it stops.
pub async fn feel(fleet: Fleet) -> Result<Felt, Refusal> {
    let (said, vitals) = watch::channel(fleet.vitals().await?);
    let (heart, pulse) = Heart::new("the fleet", PATIENCE);
    tokio::spawn(async move {
        let mut pace = tokio::time::interval(PACE);
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            pace.tick().await;
            match timeout(ANSWER, fleet.vitals()).await {
                Ok(Ok(vitals)) => {
                    said.send_replace(vitals);
                    heart.beat();
                }
                Ok(Err(Refusal::Stopping)) => return,
                Ok(Err(refusal)) => heart.falter(refusal.to_string()),
                Err(_) => heart.falter(format!(
                    "a question is unanswered after {} s; a disk that does not answer is the likely cause",
                    ANSWER.as_secs()
                )),
            }
        }
    });
    Ok(Felt { pulse, vitals })
}

#[cfg(test)]
mod tests;
