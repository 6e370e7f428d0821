//! Over-dispersion: how much more the baseline's bad requests vary than independent ones would.
//!
//! Baseline is compared with baseline: the difference of two halves of the hosts, against the same difference a block
//! before (with one host, a block against the block before). What moves all hosts cancels out, and so does a host that is
//! always worse. The estimate is the ratio of the squared differences to what independent requests give.

use crate::Tally;

/// A block's weight in the estimate a block later.
const DECAY: f64 = 0.99;
/// Blocks that must have been compared before the estimate is used.
const LEAST_PAIRS: f64 = 20.0;

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Dispersion {
    spread: f64,
    expected: f64,
    pairs: f64,
    bad: f64,
    last: [Tally; 2],
}

impl Dispersion {
    /// What counts are to be divided by: at least 1, and 1 where the estimate is within what chance does to it.
    pub(crate) fn factor(&self) -> f64 {
        if self.pairs < LEAST_PAIRS || self.expected <= 0.0 || self.bad <= 0.0 {
            return 1.0;
        }
        let factor = self.spread / self.expected;
        let noise = ((2.0 + self.pairs / self.bad) / self.pairs).sqrt();
        if factor > 1.0 + 2.0 * noise { factor } else { 1.0 }
    }

    /// Takes in the baseline of one block.
    pub(crate) fn observe(&mut self, halves: [Tally; 2]) {
        let together = |[a, b]: [Tally; 2]| Tally { requests: a.requests + b.requests, bad: a.bad + b.bad };
        let full = |halves: &[Tally; 2]| halves.iter().all(|half| half.requests > 0.0);
        let all = together(halves);
        if all.requests <= 0.0 {
            return;
        }
        let last = std::mem::replace(&mut self.last, halves);
        let before = together(last);
        if before.requests <= 0.0 {
            return;
        }
        let rate = |tally: Tally| tally.bad / tally.requests;
        let (difference, inverse) = if full(&halves) && full(&last) {
            let of = |halves: [Tally; 2]| rate(halves[0]) - rate(halves[1]);
            let inverse = halves.iter().chain(&last).map(|half| 1.0 / half.requests).sum::<f64>();
            (of(halves) - of(last), inverse)
        } else {
            (rate(all) - rate(before), 1.0 / all.requests + 1.0 / before.requests)
        };
        let pooled = rate(together([all, before]));
        self.spread = DECAY * self.spread + difference * difference / inverse;
        self.expected = DECAY * self.expected + pooled * (1.0 - pooled);
        self.pairs = DECAY * self.pairs + 1.0;
        self.bad = DECAY * self.bad + all.bad;
    }

    pub(crate) fn numbers(&self) -> [f64; 8] {
        let [a, b] = self.last;
        [self.spread, self.expected, self.pairs, self.bad, a.requests, a.bad, b.requests, b.bad]
    }

    pub(crate) fn of_numbers([spread, expected, pairs, bad, a, a_bad, b, b_bad]: [f64; 8]) -> Self {
        let last = [Tally { requests: a, bad: a_bad }, Tally { requests: b, bad: b_bad }];
        Self { spread, expected, pairs, bad, last }
    }
}
