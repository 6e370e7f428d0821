//! Evidence that a canary got worse after its first block.
//!
//! A product over all blocks falls while a canary is healthy, and has to make up for it when it turns bad. So a second
//! process bets on every block as the one in which it turned: the sum over s of weight(s) times the product of the
//! values from block s on, and what weight is left for blocks to come. It is a mixture of processes whose mean is at
//! most 1, and so has one itself. It costs the logarithm of 1 / weight(s), not what health has cost.

use crate::{
    evidence::{log_mean, log_sum},
    proportion::ALTERNATIVES,
};

/// The block by which half of the weight is spent.
const HALF: f64 = 30.0;

/// For each alternative the logarithm of the sum over the blocks that it may have begun in.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Late {
    sums: [f64; ALTERNATIVES],
    /// Blocks so far.
    blocks: f64,
}

impl Default for Late {
    fn default() -> Self {
        Self { sums: [f64::NEG_INFINITY; ALTERNATIVES], blocks: 0.0 }
    }
}

impl Late {
    /// Takes in one block, by the logarithms of its values.
    pub(crate) fn observe(&mut self, values: [f64; ALTERNATIVES]) {
        self.blocks += 1.0;
        // The weights h / ((s + h - 1) (s + h)) sum to 1, and leave h / (T + h) after T blocks.
        let weight = HALF.ln() - (self.blocks + HALF - 1.0).ln() - (self.blocks + HALF).ln();
        for (sum, value) in self.sums.iter_mut().zip(values) {
            *sum = log_sum(*sum, weight) + value;
        }
    }

    /// The logarithm of the process.
    pub(crate) fn log_e(&self) -> f64 {
        let left = HALF.ln() - (self.blocks + HALF).ln();
        log_sum(log_mean(self.sums.iter().copied()), left)
    }

    /// For each alternative what it has, of its own.
    pub(crate) const fn sums(&self) -> &[f64; ALTERNATIVES] {
        &self.sums
    }

    pub(crate) const fn blocks(&self) -> f64 {
        self.blocks
    }

    /// `None` where these are no sums of logarithms.
    pub(crate) fn of(sums: [f64; ALTERNATIVES], blocks: f64) -> Option<Self> {
        let numbers = blocks.is_finite() && sums.iter().all(|sum| *sum < f64::INFINITY);
        numbers.then_some(Self { sums, blocks })
    }
}
