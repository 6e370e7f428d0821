//! How long requests took, in a form that can be written, read and added.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Times of the requests answered with 200-299, in microseconds, within 0.1 %. With one connection per request, connecting is part of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Latency {
    pub p50_us: u64,
    pub p90_us: u64,
    pub p99_us: u64,
    pub p999_us: u64,
    pub max_us: u64,
    /// How many requests took how long, so that the times of several runs can be added.
    pub buckets: BTreeMap<u64, u64>,
}

impl Latency {
    pub(crate) fn of(histogram: &Histogram<u64>) -> Self {
        let recorded = histogram.iter_recorded();
        Self::of_buckets(
            recorded.map(|bucket| (bucket.value_iterated_to(), bucket.count_at_value())).collect(),
        )
    }

    /// Adds the other run's times.
    pub fn merge(&mut self, other: &Self) {
        let mut buckets = std::mem::take(&mut self.buckets);
        for (value, count) in &other.buckets {
            *buckets.entry(*value).or_default() += count;
        }
        *self = Self::of_buckets(buckets);
    }

    fn of_buckets(buckets: BTreeMap<u64, u64>) -> Self {
        let all: u64 = buckets.values().sum();
        // The smallest time that at least this many of a thousand requests did not pass.
        let at = |permille: u64| {
            let rank = (all * permille).div_ceil(1000);
            let mut counted = buckets.iter().scan(0, |seen, (value, count)| {
                *seen += count;
                Some((*value, *seen))
            });
            counted.find(|(_, seen)| *seen >= rank).map_or(0, |(value, _)| value)
        };
        Self {
            p50_us: at(500),
            p90_us: at(900),
            p99_us: at(990),
            p999_us: at(999),
            max_us: buckets.last_key_value().map_or(0, |(value, _)| *value),
            buckets,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latency(times: impl IntoIterator<Item = u64>) -> Latency {
        let mut histogram = Histogram::new_with_bounds(1, 1_000_000, 3).unwrap();
        for time in times {
            histogram.record(time).unwrap();
        }
        Latency::of(&histogram)
    }

    #[test]
    fn quantiles_are_the_smallest_time_that_so_many_did_not_pass() {
        let latency = latency(1..=1000);
        let Latency { p50_us, p90_us, p99_us, p999_us, max_us, .. } = latency;
        assert_eq!((p50_us, p90_us, p99_us, p999_us, max_us), (500, 900, 990, 999, 1000));
    }

    #[test]
    fn times_of_two_runs_are_those_of_one_run_with_all_of_them() {
        let mut odd = latency((1..=999).step_by(2));
        odd.merge(&latency((2..=1000).step_by(2)));
        assert_eq!(odd, latency(1..=1000));
        odd.merge(&Latency::default());
        assert_eq!(odd, latency(1..=1000));
    }

    #[test]
    fn nothing_recorded_is_zero() {
        assert_eq!(latency([]), Latency::default());
    }
}
