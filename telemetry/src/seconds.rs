//! Durations as metrics have them.

/// Bounds of a histogram of durations from `least` seconds on: each twice the one before, `count` of them.
pub fn buckets(least: f64, count: u16) -> impl Iterator<Item = f64> {
    prometheus_client::metrics::histogram::exponential_buckets(least, 2.0, count)
}
