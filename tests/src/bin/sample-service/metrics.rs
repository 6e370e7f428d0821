//! What the service counts of its requests, told for Prometheus; and how it tells nonsense, where that was asked for.

use crate::body::Body;
use clap::ValueEnum;
use hyper::{
    Response, StatusCode,
    body::Bytes,
    header::{CONTENT_TYPE, HeaderValue, LOCATION},
};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::sleep;

/// Edges of the latencies' histogram, seconds.
const EDGES: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Longer than anybody waits.
const FOR_EVER: Duration = Duration::from_secs(3600);
/// Bytes of the answer that is too large: more than any reader should take.
const HUGE: u64 = 1 << 30;

/// What `/metrics` answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// What was counted.
    Text,
    /// 404.
    None,
    /// Good lines without end.
    Endless,
    /// No metrics at all.
    Garbage,
    /// Nothing, for an hour.
    Slow,
    /// A byte now and then.
    Drip,
    /// One gigabyte.
    Huge,
    /// Somewhere else.
    Redirect,
}

/// Requests by status, and how long they took.
#[derive(Debug, Default)]
pub(crate) struct Metrics(Mutex<Counted>);

#[derive(Debug)]
struct Counted {
    codes: BTreeMap<u16, u64>,
    /// One more than edges, not cumulative.
    buckets: [u64; EDGES.len() + 1],
    seconds: f64,
}

impl Default for Counted {
    fn default() -> Self {
        // Both are there from the beginning, as a client library's user is told to do.
        Self { codes: [(200, 0), (500, 0)].into(), buckets: [0; EDGES.len() + 1], seconds: 0.0 }
    }
}

impl Metrics {
    /// Counts a request that was answered.
    pub(crate) fn count(&self, status: StatusCode, took: Duration) {
        let seconds = took.as_secs_f64();
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counted.codes.entry(status.as_u16()).or_default() += 1;
        counted.buckets[EDGES.partition_point(|edge| *edge < seconds)] += 1;
        counted.seconds += seconds;
    }

    /// Everything, in the text format 0.0.4.
    fn text(&self) -> String {
        let counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = "# TYPE http_requests_total counter\n".to_owned();
        for (code, number) in &counted.codes {
            // Writing to a text cannot fail.
            let _ = writeln!(text, "http_requests_total{{code=\"{code}\"}} {number}");
        }
        let name = "http_request_duration_seconds";
        let _ = writeln!(text, "# TYPE {name} histogram");
        let mut cumulative = 0;
        let edges = EDGES.iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
        for (edge, number) in edges.zip(counted.buckets) {
            cumulative += number;
            let _ = writeln!(text, "{name}_bucket{{le=\"{edge}\"}} {cumulative}");
        }
        let _ = writeln!(text, "{name}_sum {}\n{name}_count {cumulative}", counted.seconds);
        text
    }

    /// The answer to `/metrics`.
    pub(crate) async fn answer(&self, kind: Kind) -> Response<Body> {
        let body = match kind {
            Kind::Text => Body::Whole(self.text().into()),
            Kind::Endless => Body::Endless(Bytes::from(self.text().repeat(16))),
            Kind::Garbage => Body::Whole(Bytes::from_static(b"\x00\xff<html>no metrics</html>\n")),
            Kind::Drip => Body::drip(),
            Kind::Huge => Body::Filling(HUGE),
            Kind::Slow => {
                sleep(FOR_EVER).await;
                Body::Filling(0)
            }
            Kind::None | Kind::Redirect => Body::Whole(Bytes::from_static(b"no metrics here\n")),
        };
        let mut response = Response::new(body);
        match kind {
            Kind::None => *response.status_mut() = StatusCode::NOT_FOUND,
            Kind::Redirect => {
                *response.status_mut() = StatusCode::FOUND;
                response.headers_mut().insert(LOCATION, HeaderValue::from_static("/elsewhere"));
            }
            Kind::Text | Kind::Endless | Kind::Garbage | Kind::Slow | Kind::Drip | Kind::Huge => {
                let text = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
                response.headers_mut().insert(CONTENT_TYPE, text);
            }
        }
        response
    }
}
