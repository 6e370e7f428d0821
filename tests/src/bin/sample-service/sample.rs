//! What the service answers.

use crate::{
    Failed,
    body::Body,
    flags::Flags,
    grpc,
    metrics::{self, Metrics},
};
use handover_tests::service::Drain;
use hyper::{
    Request, Response, StatusCode, Version,
    body::{Bytes, Incoming},
    header::{CONNECTION, HeaderName, HeaderValue},
};
use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};
use tokio::time::sleep;

/// Longest `/sleep`, in milliseconds.
const MAX_SLEEP: u64 = 10 * 60 * 1000;
/// Longest `/bytes`: 1 GiB.
const MAX_BYTES: u64 = 1 << 30;

/// What no client asks for is no request to be judged by.
const OF_OPERATORS: [&str; 5] = ["/metrics", "/ready", "/live", "/stats", grpc::CHECK];

static X_VERSION: HeaderName = HeaderName::from_static("x-version");

/// The service's state, shared by all connections.
#[derive(Debug)]
pub(crate) struct Sample {
    flags: Flags,
    drain: Drain,
    started: Instant,
    version: HeaderValue,
    greeting: Bytes,
    liveness_failed: AtomicBool,
    asked: AtomicU64,
    answered: AtomicU64,
    connections: AtomicU64,
    greetings: AtomicU64,
    resets: AtomicU64,
    metrics: Metrics,
}

impl Sample {
    pub(crate) fn new(flags: Flags, drain: Drain) -> Result<Self, Failed> {
        for (name, part) in [("--error-rate", flags.error_rate), ("--reset-rate", flags.reset_rate)] {
            if !(0.0..=1.0).contains(&part) {
                return Err(format!("{name} is {part}, expected 0 to 1").into());
            }
        }
        let version = HeaderValue::from_str(&flags.version).map_err(|error| format!("--version: {error}"))?;
        let greeting = format!("{} {}\n", flags.version, std::process::id()).into();
        let zero = AtomicU64::default;
        Ok(Self {
            flags,
            drain,
            started: Instant::now(),
            version,
            greeting,
            liveness_failed: AtomicBool::new(false),
            asked: zero(),
            answered: zero(),
            connections: zero(),
            greetings: zero(),
            resets: zero(),
            metrics: Metrics::default(),
        })
    }

    pub(crate) fn flags(&self) -> &Flags {
        &self.flags
    }

    pub(crate) fn drain(&self) -> &Drain {
        &self.drain
    }

    /// Requests answered so far.
    pub(crate) fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    pub(crate) fn connected(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether a connection that begins is one of those that end with a reset.
    pub(crate) fn is_to_be_reset(&self) -> bool {
        is_one_of(&self.resets, self.flags.reset_rate)
    }

    /// Answers one request.
    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let (path, began) = (request.uri().path(), Instant::now());
        let mut response = self.response(path, request.uri().query().unwrap_or_default()).await;
        if !OF_OPERATORS.contains(&path) {
            self.metrics.count(response.status(), began.elapsed());
        }
        let headers = response.headers_mut();
        headers.insert(X_VERSION.clone(), self.version.clone());
        // Asked last, so that an answer that took long knows it too. HTTP/2 has GOAWAY instead.
        if self.drain.is_draining() && request.version() <= Version::HTTP_11 {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        self.answered.fetch_add(1, Ordering::Relaxed);
        response
    }

    async fn response(&self, path: &str, query: &str) -> Response<Body> {
        match path {
            "/" => self.greet().await,
            "/ready" => text(self.readiness(), "readiness\n"),
            "/live" if self.liveness_failed.load(Ordering::Relaxed) => {
                text(StatusCode::INTERNAL_SERVER_ERROR, "not live, as told\n")
            }
            "/live" => text(StatusCode::OK, "live\n"),
            "/fail-live" => {
                self.liveness_failed.store(true, Ordering::Relaxed);
                text(StatusCode::OK, "liveness fails from now on\n")
            }
            "/sleep" => {
                let ms = number(query, "ms").unwrap_or(0).min(MAX_SLEEP);
                sleep(Duration::from_millis(ms)).await;
                text(StatusCode::OK, format!("slept {ms} ms\n"))
            }
            "/bytes" => Response::new(Body::Filling(number(query, "n").unwrap_or(0).min(MAX_BYTES))),
            "/metrics" => self.metrics.answer(self.metrics_kind()).await,
            "/stats" => text(StatusCode::OK, self.stats()),
            "/crash" => std::process::abort(),
            grpc::CHECK if self.flags.grpc_health => grpc::health(self.readiness() == StatusCode::OK),
            _ => text(StatusCode::NOT_FOUND, "no such path\n"),
        }
    }

    async fn greet(&self) -> Response<Body> {
        if !self.flags.latency.is_zero() {
            sleep(self.flags.latency).await;
        }
        if is_one_of(&self.greetings, self.flags.error_rate) {
            return text(StatusCode::INTERNAL_SERVER_ERROR, "one of the errors that were asked for\n");
        }
        Response::new(Body::Whole(self.greeting.clone()))
    }

    fn metrics_kind(&self) -> metrics::Kind {
        let vanished = self.flags.metrics_vanish_after.is_some_and(|after| self.started.elapsed() >= after);
        if vanished { metrics::Kind::None } else { self.flags.metrics }
    }

    fn readiness(&self) -> StatusCode {
        if self.flags.never_ready
            || self.drain.is_draining()
            || self.started.elapsed() < self.flags.ready_after
        {
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        self.flags.ready_status.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or(StatusCode::OK)
    }

    fn stats(&self) -> String {
        let stats = serde_json::json!({
            "version": self.flags.version,
            "pid": std::process::id(),
            "up_ms": u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            "answered": self.answered(),
            // This one too.
            "working": self.asked.load(Ordering::Relaxed).saturating_sub(self.answered()),
            "connections": self.connections.load(Ordering::Relaxed),
            "draining": self.drain.is_draining(),
        });
        format!("{stats}\n")
    }
}

/// Whether the next one is of this part; evenly spread, so that a test's numbers are the same each time.
fn is_one_of(counter: &AtomicU64, part: f64) -> bool {
    let n = counter.fetch_add(1, Ordering::Relaxed) as f64;
    ((n + 1.0) * part).floor() > (n * part).floor()
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::Whole(body.into()));
    *response.status_mut() = status;
    response
}

/// The number of `name` in a query like `ms=100&x=1`.
fn number(query: &str, name: &str) -> Option<u64> {
    let values = query.split('&').filter_map(|pair| pair.split_once('='));
    values.filter(|(key, _)| *key == name).find_map(|(_, value)| value.parse().ok())
}
