//! The baseline's latency before the canary: what thresholds are taken from.

use crate::{Histogram, Tally, Threshold, proportion::DECAY};

/// Thresholds are fixed once the baseline was seen in so many requests.
pub(crate) const LEAST_REQUESTS: f64 = 100.0;

/// The baseline's histogram, decayed as the learnt rates are.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Watched {
    edges: Vec<f64>,
    buckets: Vec<f64>,
}

impl Watched {
    /// Takes in the baseline of one block. Hosts whose edges are not those of the first are left out; where none has
    /// the edges known so far, the release that has them is gone, and it begins anew.
    pub(crate) fn observe<'a>(&mut self, histograms: impl Iterator<Item = &'a Histogram> + Clone) {
        let known = |edges: &[f64]| histograms.clone().any(|histogram| histogram.edges() == edges);
        if !known(&self.edges) {
            let Some(first) = histograms.clone().next() else { return };
            self.edges = first.edges().to_vec();
            self.buckets = vec![0.0; first.buckets().len()];
        }
        self.buckets.iter_mut().for_each(|bucket| *bucket *= DECAY);
        for histogram in histograms.filter(|histogram| histogram.edges() == self.edges) {
            #[expect(clippy::cast_precision_loss, reason = "at most MAX_REQUESTS, which f64 holds exactly")]
            self.buckets.iter_mut().zip(histogram.buckets()).for_each(|(sum, more)| *sum += *more as f64);
        }
    }

    fn requests(&self) -> f64 {
        self.buckets.iter().sum()
    }

    /// The edge of each threshold's quantile with the threshold's number, and what was slower than it; an edge of two
    /// thresholds once, for the first. `None` before [`LEAST_REQUESTS`].
    pub(crate) fn thresholds(&self, wanted: &[Threshold]) -> Option<Vec<(f64, usize, Tally)>> {
        let requests = self.requests();
        if requests < LEAST_REQUESTS {
            return None;
        }
        let mut thresholds: Vec<(f64, usize, Tally)> = Vec::with_capacity(wanted.len());
        for (number, Threshold { quantile, .. }) in wanted.iter().enumerate() {
            let mut fast = 0.0;
            let at = self.buckets.iter().position(|bucket| {
                fast += bucket;
                fast >= quantile * requests
            });
            // What lies beyond the last finite edge is slower than that edge.
            let at = at.unwrap_or(self.edges.len()).min(self.edges.len() - 1);
            let slower = self.buckets[at + 1..].iter().sum();
            let edge = self.edges[at];
            if thresholds.iter().all(|(known, ..)| known.total_cmp(&edge).is_ne()) {
                thresholds.push((edge, number, Tally { requests, bad: slower }));
            }
        }
        Some(thresholds)
    }

    pub(crate) fn numbers(&self) -> Vec<u64> {
        self.edges.iter().chain(&self.buckets).map(|number| number.to_bits()).collect()
    }

    pub(crate) fn of_numbers(numbers: &[u64]) -> Option<Self> {
        let numbers: Vec<f64> = numbers.iter().map(|bits| f64::from_bits(*bits)).collect();
        if numbers.is_empty() {
            return Some(Self::default());
        }
        let fits = numbers.len() % 2 == 1 && numbers.iter().all(|number| number.is_finite());
        let (edges, buckets) = numbers.split_at(numbers.len() / 2);
        fits.then(|| Self { edges: edges.to_vec(), buckets: buckets.to_vec() })
    }
}
