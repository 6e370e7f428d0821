//! Histograms of latency over one block.

use crate::{Counts, MAX_REQUESTS};

/// The most edges that a histogram may have.
pub const MAX_EDGES: usize = 64;

/// How many requests took how long: finite upper edges in ascending order, seconds, and one bucket more than edges, the
/// last for what was slower than all of them. Native histograms are put on fixed edges by whoever reads them.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    edges: Vec<f64>,
    buckets: Vec<u64>,
}

/// A histogram that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HistogramError {
    /// No edges, or more than [`MAX_EDGES`].
    #[error("{0} edges: from 1 to {MAX_EDGES} can be compared")]
    Edges(usize),
    /// The edges do not ascend, or one is not finite.
    #[error("the edges must be finite and ascend")]
    Order,
    /// Not one bucket more than edges.
    #[error("{buckets} buckets for {edges} edges: one more than edges is needed")]
    Buckets {
        /// How many edges there are.
        edges: usize,
        /// How many buckets there are.
        buckets: usize,
    },
    /// More than [`MAX_REQUESTS`].
    #[error("more than {MAX_REQUESTS} requests in one block")]
    TooMany,
}

impl Histogram {
    /// A histogram; `buckets` are not cumulative.
    ///
    /// # Errors
    /// Where edges or buckets are not as described at the type, or all buckets together hold more than [`MAX_REQUESTS`].
    pub fn new(edges: Vec<f64>, buckets: Vec<u64>) -> Result<Self, HistogramError> {
        if edges.is_empty() || edges.len() > MAX_EDGES {
            return Err(HistogramError::Edges(edges.len()));
        }
        let ascend = edges.windows(2).all(|pair| pair[0] < pair[1]);
        if !ascend || edges.iter().any(|edge| !edge.is_finite()) {
            return Err(HistogramError::Order);
        }
        if buckets.len() != edges.len() + 1 {
            return Err(HistogramError::Buckets { edges: edges.len(), buckets: buckets.len() });
        }
        let total = buckets.iter().try_fold(0u64, |sum, bucket| sum.checked_add(*bucket));
        if total.is_none_or(|total| total > MAX_REQUESTS) {
            return Err(HistogramError::TooMany);
        }
        Ok(Self { edges, buckets })
    }

    /// The upper edges, seconds.
    #[must_use]
    pub fn edges(&self) -> &[f64] {
        &self.edges
    }

    pub(crate) fn buckets(&self) -> &[u64] {
        &self.buckets
    }

    /// All requests, with those that were slower than `edge` as bad ones; `None` where no bucket ends there.
    #[must_use]
    pub fn slower_than(&self, edge: f64) -> Option<Counts> {
        let at = self.edges.iter().position(|known| known.total_cmp(&edge).is_eq())?;
        let requests = self.buckets.iter().sum();
        Counts::new(requests, self.buckets[at + 1..].iter().sum()).ok()
    }
}
