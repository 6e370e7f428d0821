//! Native histograms: exponential buckets, put on edges that are always the same.
//!
//! Each of their buckets goes as a whole to where its geometric middle lies. Spreading a bucket over two of ours would look
//! finer, and would let a bucket of ours go down when a request comes in, once both are rounded to whole requests; whole
//! buckets keep every count going up, so that the difference of two readings is what came in between. A bucket of ours is
//! 26 % wide; those of a service are 9 % wide with the usual schema 3, so that the shift is small, and the same for all
//! instances of one schema. <https://prometheus.io/docs/specs/native_histograms/>

use crate::messages::{BucketSpan, Histogram};
use handover_model::Latency;

/// Ten steps of a decade, as hundredths: the preferred numbers R10 of ISO 3, so that 0.1, 0.25, 0.5 and 1 s are edges.
const STEPS: [f64; 10] = [100.0, 125.0, 160.0, 200.0, 250.0, 315.0, 400.0, 500.0, 630.0, 800.0];
/// What a decade's steps are divided by, from 0.1 ms to 10 s. A quotient is the same on every machine, a power is not.
const DECADES: [f64; 6] = [1e6, 1e5, 1e4, 1e3, 1e2, 1e1];
/// Schemas with exponential buckets: each power of two has 2^schema buckets.
const SCHEMAS: std::ops::RangeInclusive<i32> = -4..=8;
/// The schema of custom buckets, whose edges have no place in the exposition format.
const CUSTOM: i32 = -53;

/// 61 edges from 0.1 ms to 100 s.
fn edges() -> Vec<f64> {
    let below = DECADES.into_iter().flat_map(|decade| STEPS.into_iter().map(move |step| step / decade));
    below.chain([100.0]).collect()
}

/// All native series of one histogram.
#[derive(Debug)]
pub(crate) struct Ladder {
    edges: Vec<f64>,
    buckets: Vec<u64>,
    filled: bool,
}

impl Default for Ladder {
    fn default() -> Self {
        let edges = edges();
        let buckets = vec![0; edges.len() + 1];
        Self { edges, buckets, filled: false }
    }
}

impl Ladder {
    /// One series, whose observations are in units of `unit` seconds.
    pub(crate) fn add(&mut self, histogram: &Histogram, unit: f64) -> Result<(), &'static str> {
        let schema = histogram.schema();
        if schema == CUSTOM {
            return Err("it has custom buckets, and this format does not tell their edges");
        }
        if !SCHEMAS.contains(&schema) {
            return Err("its schema is not known");
        }
        self.filled = true;
        let zero = histogram.zero_count_float();
        let zero = if zero > 0.0 { whole(zero)? } else { histogram.zero_count() };
        self.count(0, zero)?;
        // No request takes less than no time: whatever is meant, it was fast.
        let negative = (&histogram.negative_span, &histogram.negative_delta, &histogram.negative_count);
        for (_, count) in buckets(negative.0, negative.1, negative.2)? {
            self.count(0, count)?;
        }
        let positive = (&histogram.positive_span, &histogram.positive_delta, &histogram.positive_count);
        let width = f64::from(-schema).exp2();
        for (index, count) in buckets(positive.0, positive.1, positive.2)? {
            let middle = ((index as f64 - 0.5) * width).exp2() * unit;
            self.count(self.edges.partition_point(|edge| *edge < middle), count)?;
        }
        Ok(())
    }

    fn count(&mut self, at: usize, count: u64) -> Result<(), &'static str> {
        let bucket = self.buckets.get_mut(at).ok_or("its buckets lie nowhere")?;
        *bucket = bucket.checked_add(count).ok_or("its buckets add up to more than a counter holds")?;
        Ok(())
    }

    /// `None` where there was no native series.
    pub(crate) fn latency(self) -> Option<Latency> {
        Latency::new(self.edges, self.buckets).ok().filter(|_| self.filled)
    }
}

/// The buckets that are there, each with its index: bucket `i` goes up to 2^(i * 2^-schema).
fn buckets(spans: &[BucketSpan], deltas: &[i64], counts: &[f64]) -> Result<Vec<(i64, u64)>, &'static str> {
    let counts: Vec<u64> = if counts.is_empty() {
        let mut count = 0_i64;
        let mut add = |delta: &i64| {
            count = count.checked_add(*delta)?;
            u64::try_from(count).ok()
        };
        deltas.iter().map(&mut add).collect::<Option<_>>().ok_or("a bucket's count is negative")?
    } else {
        counts.iter().map(|count| whole(*count)).collect::<Result<_, _>>()?
    };
    let lengths: u64 = spans.iter().map(|span| u64::from(span.length())).sum();
    if lengths != counts.len() as u64 {
        return Err("its spans and its buckets are not equally many");
    }
    let mut counts = counts.into_iter();
    let (mut index, mut found) = (0_i64, Vec::new());
    for span in spans {
        index += i64::from(span.offset());
        let length = i64::from(span.length());
        found.extend((index..index + length).zip(counts.by_ref()));
        index += length;
    }
    Ok(found)
}

/// A count of a float histogram; what stands behind the comma is dropped.
fn whole(count: f64) -> Result<u64, &'static str> {
    crate::collector::whole(count).ok_or("a bucket's count is no number of requests")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(offset: i32, length: u32) -> BucketSpan {
        BucketSpan { offset: Some(offset), length: Some(length) }
    }

    fn ladder(histogram: &Histogram, unit: f64) -> Result<Latency, &'static str> {
        let mut ladder = Ladder::default();
        ladder.add(histogram, unit)?;
        Ok(ladder.latency().unwrap())
    }

    #[test]
    fn the_edges_are_round_numbers_that_ascend() {
        let edges = edges();
        assert_eq!((edges.len(), edges[0], edges[60]), (61, 0.0001, 100.0));
        assert!(edges.windows(2).all(|pair| pair[0] < pair[1] && pair[1] / pair[0] < 1.29));
        for round in [0.001, 0.01, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0] {
            assert!(edges.contains(&round), "{round}");
        }
    }

    #[test]
    fn a_bucket_goes_where_its_middle_lies() {
        // Schema 0: bucket 0 is (0.5, 1], its middle 0.707; bucket 1 is (1, 2], its middle 1.414.
        let histogram = Histogram {
            schema: Some(0),
            zero_count: Some(2),
            positive_span: vec![span(0, 2)],
            positive_delta: vec![3, 1],
            ..Histogram::default()
        };
        let latency = ladder(&histogram, 1.0).unwrap();
        let at = |edge: f64| latency.edges().iter().position(|found| *found == edge).unwrap();
        let found: Vec<(usize, u64)> =
            latency.buckets().iter().copied().enumerate().filter(|(_, count)| *count > 0).collect();
        assert_eq!(found, [(0, 2), (at(0.8), 3), (at(1.6), 4)]);
        let millis = ladder(&histogram, 1e-3).unwrap();
        assert_eq!(millis.buckets()[at(0.0008)], 3);
    }

    #[test]
    fn gaps_between_spans_and_float_counts_are_read() {
        let spans = [span(-2, 1), span(3, 2)];
        assert_eq!(buckets(&spans, &[5, -3, 0], &[]).unwrap(), [(-2, 5), (2, 2), (3, 2)]);
        assert_eq!(buckets(&spans, &[], &[1.9, 0.0, 7.0]).unwrap(), [(-2, 1), (2, 0), (3, 7)]);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        assert!(buckets(&[span(0, 1)], &[-1], &[]).is_err());
        assert!(buckets(&[span(0, u32::MAX), span(0, u32::MAX)], &[1], &[]).is_err());
        assert!(buckets(&[span(0, 1)], &[], &[f64::NAN]).is_err());
        assert!(buckets(&[span(0, 2)], &[i64::MAX, i64::MAX], &[]).is_err());
        for schema in [9, -5, CUSTOM, i32::MIN] {
            assert!(ladder(&Histogram { schema: Some(schema), ..Histogram::default() }, 1.0).is_err());
        }
        let far = Histogram {
            schema: Some(-4),
            positive_span: vec![span(i32::MAX, 1), span(i32::MIN, 0)],
            positive_delta: vec![4],
            ..Histogram::default()
        };
        assert_eq!(ladder(&far, 1.0).unwrap().buckets()[61], 4, "beyond the last edge");
    }
}
