//! Which request is next, and when.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// Hands out numbered turns to all clients of a run.
#[derive(Debug)]
pub(crate) struct Pace {
    began: Instant,
    rate: Option<u32>,
    duration: Duration,
    requests: Option<u64>,
    next: AtomicU64,
}

/// One request to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Turn {
    /// Its number, from 0.
    pub(crate) number: u64,
    /// When it should be sent; none: now.
    pub(crate) due: Option<Instant>,
}

impl Pace {
    pub(crate) fn new(began: Instant, rate: Option<u32>, duration: Duration, requests: Option<u64>) -> Self {
        Self { began, rate, duration, requests, next: AtomicU64::new(0) }
    }

    /// The next turn at `now`; none where the run is over. A paced run's turns lie evenly on the time since it began: a turn that is late
    /// does not delay the later ones.
    pub(crate) fn turn(&self, now: Instant) -> Option<Turn> {
        let elapsed = now.saturating_duration_since(self.began);
        if elapsed >= self.duration {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        if self.requests.is_some_and(|requests| number >= requests) {
            return None;
        }
        // Precise for 2^53 requests, which no run reaches.
        let due = self.rate.map(|rate| Duration::from_secs_f64(number as f64 / f64::from(rate)));
        if due.is_some_and(|due| due >= self.duration) {
            return None;
        }
        Some(Turn { number, due: due.map(|due| self.began + due) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_lie_evenly_and_end_with_the_duration() {
        let began = Instant::now();
        let pace = Pace::new(began, Some(100), Duration::from_millis(35), None);
        let due: Vec<_> =
            std::iter::from_fn(|| pace.turn(began)).map(|turn| turn.due.unwrap() - began).collect();
        assert_eq!(due, [0, 10, 20, 30].map(Duration::from_millis));
    }

    #[test]
    fn turns_end_with_the_count() {
        let pace = Pace::new(Instant::now(), None, Duration::MAX, Some(3));
        let numbers: Vec<_> =
            std::iter::from_fn(|| pace.turn(Instant::now())).map(|turn| turn.number).collect();
        assert_eq!(numbers, [0, 1, 2]);
    }

    #[test]
    fn a_run_as_fast_as_it_goes_ends_with_the_duration() {
        let began = Instant::now();
        let pace = Pace::new(began, None, Duration::from_secs(1), None);
        assert_eq!(pace.turn(began + Duration::from_millis(999)), Some(Turn { number: 0, due: None }));
        assert_eq!(pace.turn(began + Duration::from_secs(1)), None);
    }
}
