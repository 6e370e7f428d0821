//! What a Prometheus server is asked of a service, and what its answer says: requests, errors and latencies of each
//! release on each host.
//!
//! Pure: [`query`] makes the question, [`read`] takes the answer to `/api/v1/query` apart
//! (<https://prometheus.io/docs/prometheus/latest/querying/api/>). Whoever asks has the connection and the clock.
//!
//! One query asks for everything, so that all of it is of one moment: a scrape that comes in between two queries would give
//! the requests of one moment and the errors of another. It sums counters as they stand. `rate()` and `increase()` guess at
//! what lies between samples and beyond them, and a guess is no count.
//!
//! Prometheus answers with the newest sample of the last five minutes, whether it still scrapes or not. So each answer
//! says when the oldest of the samples in it was taken ([`Reading::sampled`], [`Reading::age`]): who stands still can be
//! told from who answers no requests.
//!
//! The answer is a stranger's: at most [`MAX_BYTES`] long with [`MAX_SERIES`] series; nothing panics. A broken answer is
//! refused as a whole. What is wrong with one release on one host (a number that no counter can be, buckets that descend
//! or lack +Inf, a series that is there twice, more errors than requests) refuses that one, with the reason.

mod answer;
mod error;
mod query;
mod sums;

pub use error::AnswerError;
pub use query::query;

use handover_model::{Duration, Timestamp, Traffic, config::PrometheusMetrics};
use std::collections::BTreeMap;

/// Longest answer that is read, in bytes.
pub const MAX_BYTES: usize = 8 << 20;
/// Most series of an answer.
pub const MAX_SERIES: usize = 100_000;

/// By host, without a port, and release, as the labels have them. `Err` is why nothing is known of it, in words for an
/// operator.
pub type Readings = BTreeMap<(String, String), Result<Reading, String>>;

/// What an answer says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// What is known of each release on each host.
    pub readings: Readings,
    /// Series without a host or a release.
    pub nameless: usize,
    /// The first warning of the server's, in quotes.
    pub warning: Option<String>,
}

/// What is known of one release on one host.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// When the oldest of the newest samples of its requests was taken, by Prometheus's clock.
    pub sampled: Timestamp,
    /// How old that was when the query was answered.
    pub age: Duration,
    /// Its counters, as they stood then.
    pub traffic: Traffic,
}

/// Reads the body of an answer, good or bad.
///
/// # Errors
/// When it is no answer, goes beyond a bound, or says that the query failed.
pub fn read(body: &[u8], asked: &PrometheusMetrics) -> Result<Answer, AnswerError> {
    if body.len() > MAX_BYTES {
        return Err(AnswerError::TooLong);
    }
    let (series, warning) = answer::series(body)?;
    let mut sums = sums::Sums::new(asked);
    for one in &series {
        sums.add(one);
    }
    let (readings, nameless) = sums.readings();
    Ok(Answer { readings, nameless, warning })
}

#[cfg(test)]
mod tests;
