//! How long anything may take, and how much a backfill may ask of a database.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};

/// By how much this side's clock is more patient than the server's.
pub(crate) const SLACK: Duration = Duration::from_secs(5);

/// The bounds of a run.
#[derive(Clone, Debug)]
pub struct Limits {
    /// How long a statement may wait for a lock. Whoever comes behind it in the lock's queue waits as long: so it is short, and
    /// tried again. MySQL counts in whole seconds. A file may say otherwise.
    pub lock_timeout: Duration,
    /// How long a statement in a transaction may run. A file may say otherwise. One that runs alone is bounded by `whole`.
    pub statement_timeout: Duration,
    /// How often a migration is tried that found something locked.
    pub attempts: u32,
    /// The first pause between two tries; it doubles.
    pub pause: Duration,
    /// The longest pause between two tries.
    pub longest_pause: Duration,
    /// The longest time for which the lock may be stuck to a runner that is gone.
    pub lease: Duration,
    /// How long to wait for another runner's lock before it is refused.
    pub wait_for_lock: Duration,
    /// How long to try to reach a database that went away in the middle.
    pub reconnect: Duration,
    /// How long all of it may take, but for the time that somebody lets it pause.
    pub whole: Duration,
    /// What a backfill may ask.
    pub throttle: Throttle,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            lock_timeout: Duration::from_secs(1),
            statement_timeout: Duration::from_secs(60),
            attempts: 20,
            pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(30),
            lease: Duration::from_secs(30),
            wait_for_lock: Duration::ZERO,
            reconnect: Duration::from_secs(120),
            whole: Duration::from_secs(24 * 60 * 60),
            throttle: Throttle::default(),
        }
    }
}

impl Limits {
    /// The pauses between tries.
    pub(crate) fn pauses(&self) -> impl Iterator<Item = Duration> + Send + use<> {
        ExponentialBuilder::default()
            .with_min_delay(self.pause)
            .with_max_delay(self.longest_pause)
            .with_max_times(usize::try_from(self.attempts.saturating_sub(1)).unwrap_or(usize::MAX))
            .with_jitter()
            .build()
    }

    /// How often the server looks whether the runner's connection is still there.
    pub(crate) fn check_interval(&self) -> Duration {
        (self.lease / 3).clamp(Duration::from_millis(200), Duration::from_secs(2))
    }
}

/// Says why a backfill should wait, if it should.
pub type Brake = Arc<dyn Fn() -> Option<String> + Send + Sync>;

/// What a backfill may ask of a database.
#[derive(Clone)]
pub struct Throttle {
    /// It waits while a replica is further behind than this. PostgreSQL.
    pub most_lag: Duration,
    /// It waits while more sessions than this are at work. None: it does not look.
    pub most_active: Option<u32>,
    /// The part of the time in which it works, in percent: 50 rests as long as it worked.
    pub share: u8,
    /// How long a batch should take; its size follows.
    pub batch: Duration,
    /// How often it looks again while it waits.
    pub look: Duration,
    /// Something else that can make it wait.
    pub brake: Option<Brake>,
}

impl Default for Throttle {
    fn default() -> Self {
        Self {
            most_lag: Duration::from_secs(5),
            most_active: None,
            share: 50,
            batch: Duration::from_millis(500),
            look: Duration::from_secs(1),
            brake: None,
        }
    }
}

impl Throttle {
    /// How long to rest after a batch that took so long.
    pub(crate) fn rest(&self, took: Duration) -> Duration {
        let share = u32::from(self.share.clamp(1, 100));
        took.saturating_mul(100 - share) / share
    }
}

impl fmt::Debug for Throttle {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { most_lag, most_active, share, batch, look, brake } = self;
        out.debug_struct("Throttle")
            .field("most_lag", most_lag)
            .field("most_active", most_active)
            .field("share", share)
            .field("batch", batch)
            .field("look", look)
            .field("brake", &brake.is_some())
            .finish()
    }
}

/// How many rows the next batch has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    rows: u32,
    most: u32,
}

impl Pace {
    /// Begins with what the file says and goes up to ten times as many.
    pub(crate) fn new(rows: u32) -> Self {
        let most = rows.saturating_mul(10).clamp(1, handover_script::MOST_ROWS);
        Self { rows: rows.clamp(1, most), most }
    }

    pub(crate) fn rows(self) -> u32 {
        self.rows
    }

    /// After a batch that took so long, where it should have taken `aim`: at most twice as many, or a quarter.
    pub(crate) fn after(&mut self, took: Duration, aim: Duration) {
        let factor = (aim.as_secs_f64() / took.as_secs_f64().max(1e-6)).clamp(0.25, 2.0);
        let next = f64::from(self.rows) * factor;
        self.rows = u32::try_from(next as i64).unwrap_or(self.most).clamp(1, self.most);
    }

    /// After a batch that did not come to its end.
    pub(crate) fn failed(&mut self) {
        self.rows = (self.rows / 2).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AIM: Duration = Duration::from_millis(500);

    #[test]
    fn a_batch_grows_while_it_is_fast_and_shrinks_at_once_where_it_is_slow() {
        let mut pace = Pace::new(1000);
        for _ in 0..10 {
            pace.after(Duration::from_millis(10), AIM);
        }
        assert_eq!(pace.rows(), 10_000);
        pace.after(Duration::from_secs(2), AIM);
        assert_eq!(pace.rows(), 2500);
        pace.after(Duration::ZERO, AIM);
        assert_eq!(pace.rows(), 5000);
        for _ in 0..20 {
            pace.after(Duration::from_secs(60), AIM);
            pace.failed();
        }
        assert_eq!(pace.rows(), 1);
    }

    #[test]
    fn a_backfill_rests_in_proportion() {
        let throttle = |share| Throttle { share, ..Throttle::default() };
        assert_eq!(throttle(50).rest(AIM), AIM);
        assert_eq!(throttle(100).rest(AIM), Duration::ZERO);
        assert_eq!(throttle(20).rest(AIM), AIM * 4);
        assert_eq!(throttle(0).rest(Duration::from_millis(1)), Duration::from_millis(99));
    }

    #[test]
    fn tries_are_as_many_as_allowed_and_pauses_as_long() {
        let limits = Limits { attempts: 5, ..Limits::default() };
        let pauses: Vec<Duration> = limits.pauses().collect();
        assert_eq!(pauses.len(), 4);
        assert!(pauses.iter().all(|pause| *pause <= limits.longest_pause * 2), "{pauses:?}");
    }
}
