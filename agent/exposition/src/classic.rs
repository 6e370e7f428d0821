//! Classic histograms: cumulative buckets with an edge each, added up over series.

use crate::error::{ExpositionError, shown};
use handover_model::{Latency, MAX_LATENCY_EDGES};
use std::collections::BTreeMap;

/// Most different edges that are told apart.
const MAX_EDGES: usize = 4096;

/// The buckets of all series of one classic histogram, added up.
#[derive(Debug, Default)]
pub struct Classic {
    /// By the edge's place in the order of numbers.
    buckets: BTreeMap<u64, Bucket>,
    /// Those of +Inf.
    all: Bucket,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    edge: f64,
    /// Of all series together, cumulative.
    count: u64,
    /// How many series have it.
    series: u64,
}

impl Bucket {
    fn add(&mut self, count: u64) -> Option<()> {
        self.count = self.count.checked_add(count)?;
        self.series += 1;
        Some(())
    }
}

impl Classic {
    /// One bucket of one series: how many were at most `edge`, in the histogram's own unit.
    ///
    /// # Errors
    /// For an edge that is none, too many edges, and a sum that no counter holds.
    pub fn add(&mut self, name: &str, edge: f64, count: u64) -> Result<(), ExpositionError> {
        let overflow = || ExpositionError::Overflow(shown(name));
        if edge == f64::INFINITY {
            return self.all.add(count).ok_or_else(overflow);
        }
        if !edge.is_finite() {
            return Err(ExpositionError::Edge { series: shown(name), edge: edge.to_string() });
        }
        let place = place(edge);
        if self.buckets.len() >= MAX_EDGES && !self.buckets.contains_key(&place) {
            return Err(ExpositionError::TooManyEdges(shown(name)));
        }
        let bucket = self.buckets.entry(place).or_insert(Bucket { edge, ..Bucket::default() });
        bucket.add(count).ok_or_else(overflow)
    }

    /// All series together, in seconds, `unit` being how many of them the histogram's own unit has; `None` where they have
    /// no edge in common.
    ///
    /// # Errors
    /// When it has no bucket +Inf, its buckets descend, or an edge is beyond all numbers.
    pub fn latency(&self, name: &str, unit: f64) -> Result<Option<Latency>, ExpositionError> {
        let series = self.buckets.values().map(|bucket| bucket.series).max().unwrap_or(0);
        if self.all.series < series {
            return Err(ExpositionError::Endless(shown(name)));
        }
        let common: Vec<Bucket> =
            self.buckets.values().filter(|bucket| bucket.series == self.all.series).copied().collect();
        let (mut edges, mut buckets, mut before) = (Vec::new(), Vec::new(), 0);
        for bucket in spread(&common) {
            edges.push(bucket.edge * unit);
            buckets.push(bucket.count.checked_sub(before));
            before = bucket.count;
        }
        if edges.is_empty() {
            return Ok(None);
        }
        buckets.push(self.all.count.checked_sub(before));
        // Also those that were not kept must ascend: all of it is as good as its worst part.
        let ascend = common.windows(2).all(|pair| pair[0].count <= pair[1].count);
        let buckets: Option<Vec<u64>> = buckets.into_iter().collect();
        let buckets = buckets.filter(|_| ascend).ok_or_else(|| ExpositionError::Descends(shown(name)))?;
        Latency::new(edges, buckets)
            .map(Some)
            .map_err(|_| ExpositionError::Edge { series: shown(name), edge: "beyond all numbers".to_owned() })
    }
}

/// All, or where they are too many as many as may be, evenly spread, the first and the last among them.
fn spread(buckets: &[Bucket]) -> Vec<&Bucket> {
    if buckets.len() <= MAX_LATENCY_EDGES {
        return buckets.iter().collect();
    }
    let kept = (0..MAX_LATENCY_EDGES).map(|at| at * (buckets.len() - 1) / (MAX_LATENCY_EDGES - 1));
    kept.filter_map(|at| buckets.get(at)).collect()
}

/// A number that orders as the finite edge does; both zeros are one.
fn place(edge: f64) -> u64 {
    let bits = (edge + 0.0).to_bits();
    if bits >> 63 == 0 { bits | 1 << 63 } else { !bits }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(series: &[&[(f64, u64)]]) -> Result<Option<Latency>, ExpositionError> {
        let mut classic = Classic::default();
        for (edge, count) in series.iter().copied().flatten() {
            classic.add("a", *edge, *count)?;
        }
        classic.latency("a", 1.0)
    }

    const INF: f64 = f64::INFINITY;

    #[test]
    fn series_are_added_up_and_edges_that_not_all_have_are_left_out() {
        let one = [(0.1, 1), (0.5, 2), (1.0, 4), (INF, 5)];
        let two = [(0.1, 10), (1.0, 20), (INF, 20)];
        let latency = of(&[&one, &two]).unwrap().unwrap();
        assert_eq!((latency.edges(), latency.buckets()), (&[0.1, 1.0][..], &[11, 13, 1][..]));
        assert_eq!(of(&[&[(INF, 5)]]), Ok(None));
        assert_eq!(of(&[&[(0.1, 1), (INF, 1)], &[(0.2, 1), (INF, 1)]]), Ok(None));
    }

    #[test]
    fn what_is_no_histogram_is_refused() {
        let descends = Err(ExpositionError::Descends("\"a\"".to_owned()));
        assert_eq!(of(&[&[(0.1, 3), (0.2, 2), (INF, 5)]]), descends);
        assert_eq!(of(&[&[(0.1, 3), (INF, 2)]]), descends);
        assert_eq!(of(&[&[(0.1, 3)]]), Err(ExpositionError::Endless("\"a\"".to_owned())));
        assert!(matches!(of(&[&[(f64::NAN, 1)]]), Err(ExpositionError::Edge { .. })));
        assert!(matches!(of(&[&[(1.0, u64::MAX), (1.0, 1)]]), Err(ExpositionError::Overflow(_))));
    }

    #[test]
    fn of_many_edges_a_spread_out_part_is_kept() {
        let mut many: Vec<(f64, u64)> = (0..200_u32).map(|n| (f64::from(n), u64::from(n))).collect();
        many.push((INF, 200));
        let latency = of(&[&many]).unwrap().unwrap();
        assert_eq!(latency.edges().len(), MAX_LATENCY_EDGES);
        assert_eq!((latency.edges()[0], latency.edges()[63]), (0.0, 199.0));
        assert_eq!(latency.buckets().iter().sum::<u64>(), 200);
        assert!(latency.edges().windows(2).all(|pair| pair[1] - pair[0] < 5.0));
    }

    #[test]
    fn edges_are_bounded_and_ordered_also_below_zero() {
        let many: Vec<(f64, u64)> = (0..5000_u32).map(|n| (f64::from(n), 0)).collect();
        assert_eq!(of(&[&many]), Err(ExpositionError::TooManyEdges("\"a\"".to_owned())));
        assert!(place(-2.0) < place(-1.0) && place(-1.0) < place(0.0) && place(0.0) < place(1e-9));
        assert_eq!(place(-0.0), place(0.0));
    }
}
