//! Why a body says nothing, in words for an operator.

use crate::{MAX_BYTES, MAX_LABELS, MAX_LINE_BYTES, MAX_SAMPLES};

/// Most characters of a stranger's text that are shown.
const MAX_SHOWN: usize = 80;

/// Why a body says nothing of a service's requests.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpositionError {
    /// Another kind of answer.
    #[error("it is {0}, and no format of Prometheus's")]
    Format(String),
    /// Too many bytes.
    #[error("it is longer than {} MiB", MAX_BYTES >> 20)]
    TooLong,
    /// Too many numbers.
    #[error("it has more than {MAX_SAMPLES} samples")]
    TooMany,
    /// No text.
    #[error("it is no UTF-8 text at byte {0}")]
    NotText(usize),
    /// A line that breaks the format.
    #[error("line {number}: {problem}")]
    Line {
        /// Counted from 1.
        number: usize,
        /// What is wrong with it.
        problem: LineError,
    },
    /// Its end is missing.
    #[error("it was cut: {0} is missing")]
    Cut(&'static str),
    /// A message that breaks the format.
    #[error("message {number}: {problem}")]
    Message {
        /// Counted from 1.
        number: usize,
        /// What is wrong with it.
        problem: MessageError,
    },
    /// A number that no counter has.
    #[error("{series} is {value}, which no counter can be")]
    Value {
        /// Which.
        series: String,
        /// The number.
        value: String,
    },
    /// One series in two places.
    #[error("{0} is there twice")]
    Twice(String),
    /// A bucket without or with a wrong edge.
    #[error("{series} has the edge {edge}, which is none")]
    Edge {
        /// Which.
        series: String,
        /// What stands there.
        edge: String,
    },
    /// Buckets that are not cumulative.
    #[error("the buckets of {0} descend")]
    Descends(String),
    /// A histogram without its last bucket.
    #[error("{0} has a series without its bucket +Inf")]
    Endless(String),
    /// Too many edges.
    #[error("{0} has too many different edges")]
    TooManyEdges(String),
    /// A native histogram that makes no sense.
    #[error("the native histogram {name}: {problem}")]
    Native {
        /// Which.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A sum that does not fit.
    #[error("the series of {0} add up to more than a counter holds")]
    Overflow(String),
    /// Nothing counts requests.
    #[error(
        "it has no {0}: no request was answered yet, or [metrics] requests names another counter than it has"
    )]
    NoRequests(String),
    /// Nothing of the usual names is there.
    #[error("it has none of the usual counters of requests: name yours in [metrics], requests = \"NAME\"")]
    NothingUsual,
    /// Nobody says which requests failed.
    #[error(
        "no label of {0} tells a status: say which requests failed in [metrics], errors = \"NAME{{LABEL=...}}\""
    )]
    NoStatus(String),
    /// What counts errors counts something else.
    #[error(
        "{bad} errors of {requests} requests: [metrics] errors must count a part of what requests counts"
    )]
    MoreErrors {
        /// Errors.
        bad: u64,
        /// Requests.
        requests: u64,
    },
}

/// What is wrong with a line of text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// Too many bytes.
    #[error("it is longer than {} KiB", MAX_LINE_BYTES >> 10)]
    TooLong,
    /// Too many labels.
    #[error("it has more than {MAX_LABELS} labels")]
    TooManyLabels,
    /// Something else should stand there.
    #[error("expected {expected}, found {found}")]
    Expected {
        /// What.
        expected: &'static str,
        /// What stands there instead.
        found: String,
    },
    /// Something behind the end.
    #[error("something stands behind \"# EOF\"")]
    BehindEnd,
}

/// What is wrong with a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Too many bytes.
    #[error("one of its series is longer than {} KiB", MAX_LINE_BYTES >> 10)]
    TooLong,
    /// Too many labels.
    #[error("one of its series has more than {MAX_LABELS} labels")]
    TooManyLabels,
    /// Not protobuf, or another message.
    #[error("it is no MetricFamily")]
    Garbage,
}

/// A stranger's text: in quotes, with what a terminal would obey escaped, cut where it is long.
#[must_use]
pub fn shown(text: &str) -> String {
    let start: String = text.chars().take(MAX_SHOWN).collect();
    let dots = if start.len() < text.len() { "..." } else { "" };
    format!("{:?}", start + dots)
}
