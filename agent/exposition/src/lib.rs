//! What a service exposes for Prometheus, read as requests, errors and latencies.
//!
//! Three formats, from their specifications: the Prometheus text format 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>), OpenMetrics 1.0 text
//! (<https://prometheus.io/docs/specs/om/open_metrics_spec/>), and delimited `io.prometheus.client.MetricFamily` messages
//! (`metrics.proto` of <https://github.com/prometheus/client_model>), the only one of them with native histograms.
//!
//! Pure: bytes go in, [`Traffic`] or the reason why there is none comes out. The bytes are a stranger's: a body is at
//! most [`MAX_BYTES`] long, its lines [`MAX_LINE_BYTES`], its samples [`MAX_SAMPLES`], a series' labels [`MAX_LABELS`];
//! nothing panics, and no more is kept than a small multiple of the body. What breaks the format refuses the whole, since
//! half of the counters are worse than none:
//!
//! - A body that ends in the middle of a line, or OpenMetrics without `# EOF`, was cut and is refused.
//! - Of the series that are asked for, none may be there twice, and each must have a number from 0 to 2^63. What stands
//!   behind the comma is dropped. Numbers of other series are not looked at.
//! - Series that match are added up. A histogram's edges that not all of its series have are left out, and of more than
//!   64 edges a spread-out part is kept.
//! - A histogram whose buckets descend is refused.

mod classic;
mod collector;
mod error;
mod messages;
mod native;
mod protobuf;
mod status;
mod text;
mod usual;

pub use classic::Classic;
pub use collector::whole;
pub use error::{ExpositionError, shown};
pub use usual::unit;

use collector::Collector;
use handover_model::{Selector, Traffic, config::EndpointMetrics};

/// Longest body that is read, in bytes.
pub const MAX_BYTES: usize = 8 << 20;
/// Longest line of a text, and longest message of one series, in bytes.
pub const MAX_LINE_BYTES: usize = 128 << 10;
/// Most numbers of a body.
pub const MAX_SAMPLES: usize = 200_000;
/// Most labels of a series.
pub const MAX_LABELS: usize = 128;

/// Which series mean what. Where one is left out, the usual names are looked for: see `usual.rs`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selectors {
    /// The counter of requests; the count of `latency` or the first usual counter where there is none.
    pub requests: Option<Selector>,
    /// The counter of errors; the requests whose status says so where there is none.
    pub errors: Option<Selector>,
    /// The histogram of latencies, with or without `_bucket`; the first usual one where there is none.
    pub latency: Option<Selector>,
}

impl From<&EndpointMetrics> for Selectors {
    fn from(endpoint: &EndpointMetrics) -> Self {
        Self {
            requests: endpoint.requests.clone(),
            errors: endpoint.errors.clone(),
            latency: endpoint.latency.clone(),
        }
    }
}

impl Selectors {
    /// What to ask for, as the header `Accept`.
    ///
    /// Protobuf comes first, since native histograms stand in nothing else, unless the histogram is named with `_bucket`,
    /// which only classic ones have. Then comes the text format, before OpenMetrics: where a client library names a
    /// series in two ways, its text is what an operator sees who asks with curl, and protobuf has the same names.
    #[must_use]
    pub fn accept(&self) -> &'static str {
        let classic = self.latency.as_ref().is_some_and(|latency| latency.name().ends_with("_bucket"));
        if classic {
            "text/plain;version=0.0.4;q=0.9,application/openmetrics-text;version=1.0.0;q=0.8,*/*;q=0.1"
        } else {
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,text/plain;version=0.0.4;q=0.9,application/openmetrics-text;version=1.0.0;q=0.8,*/*;q=0.1"
        }
    }
}

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text 0.0.4.
    Text,
    /// OpenMetrics 1.0 text.
    OpenMetrics,
    /// Delimited `io.prometheus.client.MetricFamily` messages.
    Protobuf,
}

impl Format {
    /// What the header `Content-Type` says. Where there is none it is text.
    ///
    /// # Errors
    /// For what is no format of these.
    pub fn of(content_type: Option<&str>) -> Result<Self, ExpositionError> {
        let Some(text) = content_type else { return Ok(Self::Text) };
        let mut parts = text.split(';').map(|part| part.trim().to_ascii_lowercase());
        let kind = parts.next().unwrap_or_default();
        let delimited = || {
            let mut encoding = parts.filter_map(|part| part.strip_prefix("encoding=").map(str::to_owned));
            encoding.next().is_none_or(|encoding| encoding.trim_matches('"') == "delimited")
        };
        match kind.as_str() {
            "" | "text/plain" => Ok(Self::Text),
            "application/openmetrics-text" => Ok(Self::OpenMetrics),
            "application/vnd.google.protobuf" if delimited() => Ok(Self::Protobuf),
            _ => Err(ExpositionError::Format(error::shown(text))),
        }
    }
}

/// Reads a body.
///
/// # Errors
/// When it breaks its format or a bound, when nothing in it counts requests, or when what counts them cannot be.
pub fn read(format: Format, body: &[u8], selectors: &Selectors) -> Result<Traffic, ExpositionError> {
    if body.len() > MAX_BYTES {
        return Err(ExpositionError::TooLong);
    }
    let mut collector = Collector::new(selectors);
    match format {
        Format::Text => text::read(body, false, &mut collector)?,
        Format::OpenMetrics => text::read(body, true, &mut collector)?,
        Format::Protobuf => protobuf::read(body, &mut collector)?,
    }
    collector.traffic()
}

#[cfg(test)]
mod tests;
