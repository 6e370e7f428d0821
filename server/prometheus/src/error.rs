//! Why an answer says nothing, in words for an operator.

use crate::{MAX_BYTES, MAX_SERIES};

/// Why an answer says nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// Too many bytes.
    #[error("the answer is longer than {} MiB", MAX_BYTES >> 20)]
    TooLong,
    /// Too many series.
    #[error("the answer has more than {MAX_SERIES} series: do the selectors name one service's only?")]
    TooMany,
    /// Something else.
    #[error("the answer is none of Prometheus's query API: {0}")]
    Garbage(String),
    /// Another kind of result.
    #[error("the answer is a {0}, expected a vector")]
    NoVector(String),
    /// The query failed.
    #[error("the query failed: {kind}: {words}")]
    Failed {
        /// Prometheus's kind of error, in quotes.
        kind: String,
        /// Its words, in quotes.
        words: String,
    },
}
