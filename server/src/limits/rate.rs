//! Rates: so much at once, and from then on one at a time. Without a clock: time is a parameter.

use std::{collections::BTreeMap, time::Duration};

/// How much of something there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// At once, after a long time without any.
    pub burst: u32,
    /// One more each so long.
    pub every: Duration,
}

/// What was used of a rate. Times are since any one moment, the same for all calls.
///
/// It remembers only when all of it is free again (the generic cell rate algorithm, ITU-T I.371).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    free_at: Duration,
}

impl Bucket {
    /// Uses `cost` of the rate up.
    ///
    /// # Errors
    /// How long there is to wait until there is as much; then nothing is used up. A cost beyond the burst waits for
    /// the whole burst.
    pub fn take(&mut self, rate: Rate, cost: u32, now: Duration) -> Result<(), Duration> {
        let mut after = *self;
        let wait = after.charge(rate, cost.min(rate.burst), now);
        if !wait.is_zero() {
            return Err(wait);
        }
        *self = after;
        Ok(())
    }

    /// Uses `cost` of the rate up, also where there is not as much: how long to wait before anything more is done.
    #[must_use]
    pub fn charge(&mut self, rate: Rate, cost: u32, now: Duration) -> Duration {
        self.free_at = self.free_at.max(now) + rate.every * cost;
        self.free_at.saturating_sub(now + rate.every * rate.burst)
    }

    /// Gives back what was taken.
    pub fn give_back(&mut self, rate: Rate, cost: u32) {
        self.free_at = self.free_at.saturating_sub(rate.every * cost.min(rate.burst));
    }
}

/// A bucket for each key. Those that are free again are forgotten; of more than `most`, the one that is free soonest.
#[derive(Debug)]
pub struct Buckets<K> {
    rate: Rate,
    most: usize,
    used: BTreeMap<K, Bucket>,
}

impl<K: Ord + Clone> Buckets<K> {
    /// All of them free.
    #[must_use]
    pub const fn new(rate: Rate, most: usize) -> Self {
        Self { rate, most, used: BTreeMap::new() }
    }

    /// Uses one up.
    ///
    /// # Errors
    /// How long there is to wait.
    pub fn take(&mut self, key: &K, now: Duration) -> Result<(), Duration> {
        if !self.used.contains_key(key) && self.used.len() >= self.most {
            self.make_room(now);
        }
        self.used.entry(key.clone()).or_default().take(self.rate, 1, now)
    }

    /// Gives one back.
    pub fn give_back(&mut self, key: &K) {
        if let Some(bucket) = self.used.get_mut(key) {
            bucket.give_back(self.rate, 1);
        }
    }

    fn make_room(&mut self, now: Duration) {
        self.used.retain(|_, bucket| bucket.free_at > now);
        if self.used.len() >= self.most {
            let soonest = self.used.iter().min_by_key(|(_, bucket)| bucket.free_at);
            if let Some(key) = soonest.map(|(key, _)| key.clone()) {
                self.used.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RATE: Rate = Rate { burst: 3, every: Duration::from_secs(10) };

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(1000 + seconds)
    }

    #[test]
    fn after_the_burst_there_is_one_each_interval() {
        let mut bucket = Bucket::default();
        for _ in 0..3 {
            bucket.take(RATE, 1, at(0)).unwrap();
        }
        assert_eq!(bucket.take(RATE, 1, at(0)), Err(Duration::from_secs(10)));
        assert_eq!(bucket.take(RATE, 1, at(4)), Err(Duration::from_secs(6)), "asking costs nothing");
        bucket.take(RATE, 1, at(10)).unwrap();
        assert!(bucket.take(RATE, 1, at(19)).is_err());
        bucket.give_back(RATE, 1);
        bucket.take(RATE, 1, at(19)).unwrap();
    }

    #[test]
    fn what_costs_more_than_the_burst_waits_for_all_of_it() {
        let mut bucket = Bucket::default();
        bucket.take(RATE, 99, at(0)).unwrap();
        assert_eq!(bucket.take(RATE, 99, at(0)), Err(Duration::from_secs(30)));
    }

    #[test]
    fn what_was_done_already_is_waited_for_afterwards() {
        let mut bucket = Bucket::default();
        assert_eq!(bucket.charge(RATE, 3, at(0)), Duration::ZERO);
        assert_eq!(bucket.charge(RATE, 5, at(0)), Duration::from_secs(50));
        assert_eq!(bucket.charge(RATE, 1, at(50)), Duration::from_secs(10));
    }

    #[test]
    fn each_key_has_its_own_and_the_number_of_keys_is_bounded() {
        let mut buckets = Buckets::new(RATE, 4);
        for _ in 0..3 {
            buckets.take(&1000, at(0)).unwrap();
        }
        assert!(buckets.take(&1000, at(0)).is_err());
        for key in 0..100 {
            buckets.take(&key, at(0)).unwrap();
            assert!(buckets.used.len() <= 4);
        }
        assert!(buckets.take(&1000, at(0)).is_err(), "what is used up most is remembered");
        buckets.take(&1000, at(10)).unwrap();
        for key in 0..4 {
            buckets.take(&key, at(100)).unwrap();
        }
        assert!(buckets.used.len() <= 4 && !buckets.used.contains_key(&1000));
    }

    proptest! {
        #[test]
        fn never_more_than_the_burst_and_one_each_interval(
            burst in 1_u32..20, every in 1_u64..50, pauses in prop::collection::vec(0_u64..60, 1..200),
        ) {
            let rate = Rate { burst, every: Duration::from_millis(every) };
            let (mut bucket, mut now, mut taken) = (Bucket::default(), 0, Vec::new());
            for pause in pauses {
                now += pause;
                match bucket.take(rate, 1, Duration::from_millis(now)) {
                    Ok(()) => taken.push(now),
                    Err(wait) => prop_assert!(
                        bucket.clone().take(rate, 1, Duration::from_millis(now) + wait).is_ok()
                    ),
                }
            }
            for (at, from) in taken.iter().enumerate() {
                for (count, to) in taken[at..].iter().enumerate() {
                    let most = u64::from(burst) + (to - from) / every;
                    prop_assert!((count as u64) < most, "{} from {from} to {to}, at most {most}", count + 1);
                }
            }
        }
    }
}
