//! Measurements: what the instances of a service did so far, read by their host's agent in one moment.
//!
//! Everything is counted up from the instance's start, so that a lost measurement loses nothing: whoever wants to know
//! what happened between two of them takes the difference. Nothing of it is kept on a disk.

use crate::{InstanceId, ServiceName, Share};
use std::collections::BTreeMap;

/// Most edges of a histogram of latencies.
pub const MAX_LATENCY_EDGES: usize = 64;

/// All instances of one service on one host, measured in the same moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Measurement {
    /// Whose instances.
    pub service: ServiceName,
    /// Those that run.
    pub instances: BTreeMap<InstanceId, Sample>,
}

/// One instance's counters.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Which run of the instance: how often it was started again. Counters of two runs are not compared.
    pub run: u32,
    /// The share that the kernel gives it in this moment.
    pub share: Share,
    /// What its own metrics say; `Err` is why they say nothing, in words for an operator.
    pub traffic: Result<Traffic, String>,
    /// What the kernel says of it.
    pub usage: Usage,
}

/// What a service counts of its requests.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Traffic {
    /// Requests that were answered.
    pub requests: u64,
    /// Those of them that are errors; at most `requests`.
    pub bad: u64,
    /// How long they took, where the service has a histogram of it.
    pub latency: Option<Latency>,
}

/// What the kernel says of an instance, where it says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Usage {
    /// Connections that were seen to be its, counted up. Those that came and went between two looks are missing.
    pub connections: Option<u64>,
    /// How those of them ended that ended; `None` where nobody wants to know, or it cannot be known.
    pub ends: Option<Ends>,
    /// What its listening sockets turned away; `None` where nobody wants to know, or it cannot be known.
    pub refused: Option<Refused>,
    /// Bytes of memory of all of its processes.
    pub memory: Option<u64>,
    /// Time on processors of all of its processes, microseconds.
    pub cpu_micros: Option<u64>,
    /// When that was read, by the host's clock since its start, microseconds.
    pub clock_micros: Option<u64>,
}

/// How connections ended that were seen to be an instance's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Since when they are counted, by the host's clock since its start, microseconds. Counts of another beginning are others.
    pub since_micros: u64,
    /// How many ended.
    pub ended: u64,
    /// Those of them that were reset by either side, or given up; at most `ended`.
    pub reset: u64,
}

/// What an instance's listening sockets turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Since when it is counted, by the host's clock since its start, microseconds. Counts of another beginning are others.
    pub since_micros: u64,
    /// When it was read, by the same clock.
    pub clock_micros: u64,
    /// How often a client was turned away: each time that it tries anew counts.
    pub count: u64,
}

impl Ends {
    /// What ended since `earlier`; `None` where it was counted from another beginning.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Option<Self> {
        Some(Self {
            since_micros: (self.since_micros == earlier.since_micros).then_some(self.since_micros)?,
            ended: self.ended.checked_sub(earlier.ended)?,
            reset: self.reset.checked_sub(earlier.reset)?,
        })
    }
}

/// How many requests took how long.
#[derive(Clone, Debug, PartialEq)]
pub struct Latency {
    edges: Vec<f64>,
    buckets: Vec<u64>,
}

/// A histogram that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LatencyError {
    /// No edges, or too many.
    #[error("{0} edges: from 1 to {MAX_LATENCY_EDGES} are taken")]
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
}

impl Latency {
    /// A histogram: finite upper edges in seconds, ascending, and one bucket more than edges, not cumulative, the last for
    /// what was slower than all edges.
    ///
    /// # Errors
    /// Where edges and buckets are not so.
    pub fn new(edges: Vec<f64>, buckets: Vec<u64>) -> Result<Self, LatencyError> {
        if edges.is_empty() || edges.len() > MAX_LATENCY_EDGES {
            return Err(LatencyError::Edges(edges.len()));
        }
        let ascends = edges.windows(2).all(|pair| pair[0] < pair[1]);
        if !ascends || edges.iter().any(|edge| !edge.is_finite()) {
            return Err(LatencyError::Order);
        }
        if buckets.len() != edges.len() + 1 {
            return Err(LatencyError::Buckets { edges: edges.len(), buckets: buckets.len() });
        }
        Ok(Self { edges, buckets })
    }

    /// The upper edges, seconds.
    #[must_use]
    pub fn edges(&self) -> &[f64] {
        &self.edges
    }

    /// One more than edges, not cumulative.
    #[must_use]
    pub fn buckets(&self) -> &[u64] {
        &self.buckets
    }

    /// Both together; `None` where the edges are others.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Option<Self> {
        let pairs = self.buckets.iter().zip(&other.buckets);
        let buckets = pairs.map(|(a, b)| a.saturating_add(*b)).collect();
        (self.edges == other.edges).then(|| Self { edges: self.edges.clone(), buckets })
    }

    /// What came since `earlier`; `None` where the edges are others, or a bucket went back.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Option<Self> {
        if self.edges != earlier.edges {
            return None;
        }
        let pairs = self.buckets.iter().zip(&earlier.buckets);
        let buckets = pairs.map(|(now, before)| now.checked_sub(*before)).collect::<Option<_>>()?;
        Some(Self { edges: self.edges.clone(), buckets })
    }
}

impl Traffic {
    /// What came since `earlier`; `None` where a counter went back. A histogram that cannot be compared is left out.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Option<Self> {
        let latency = match (&self.latency, &earlier.latency) {
            (Some(now), Some(before)) => now.since(before),
            (Some(_) | None, _) => None,
        };
        Some(Self {
            requests: self.requests.checked_sub(earlier.requests)?,
            bad: self.bad.checked_sub(earlier.bad)?,
            latency,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traffic(requests: u64, bad: u64, buckets: &[u64]) -> Traffic {
        let edges = (1..buckets.len()).map(|edge| f64::from(u32::try_from(edge).unwrap())).collect();
        Traffic { requests, bad, latency: Some(Latency::new(edges, buckets.to_vec()).unwrap()) }
    }

    #[test]
    fn a_difference_is_what_came_in_between() {
        let (before, now) = (traffic(10, 1, &[5, 3, 2]), traffic(25, 4, &[10, 9, 6]));
        assert_eq!(now.since(&before).unwrap(), traffic(15, 3, &[5, 6, 4]));
    }

    #[test]
    fn ends_of_two_beginnings_are_not_compared() {
        let ends = |since_micros, ended, reset| Ends { since_micros, ended, reset };
        assert_eq!(ends(7, 30, 4).since(&ends(7, 10, 1)), Some(ends(7, 20, 3)));
        assert_eq!(ends(8, 30, 4).since(&ends(7, 10, 1)), None);
        assert_eq!(ends(7, 9, 1).since(&ends(7, 10, 1)), None);
    }

    #[test]
    fn a_counter_that_went_back_gives_none_and_other_edges_no_histogram() {
        assert_eq!(traffic(9, 0, &[9, 0, 0]).since(&traffic(10, 0, &[10, 0, 0])), None);
        let difference = traffic(11, 0, &[11, 0]).since(&traffic(10, 0, &[10, 0, 0])).unwrap();
        assert_eq!((difference.requests, difference.latency), (1, None));
    }

    #[test]
    fn a_histogram_has_ascending_finite_edges_and_one_bucket_more() {
        assert_eq!(Latency::new(vec![], vec![1]), Err(LatencyError::Edges(0)));
        assert_eq!(Latency::new(vec![1.0, 1.0], vec![1, 1, 1]), Err(LatencyError::Order));
        assert_eq!(Latency::new(vec![1.0, f64::INFINITY], vec![1, 1, 1]), Err(LatencyError::Order));
        assert_eq!(Latency::new(vec![1.0], vec![1]), Err(LatencyError::Buckets { edges: 1, buckets: 1 }));
    }
}
