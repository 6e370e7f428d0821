//! What the server counts of itself. Labels are bounded: calls of the protocol, codes, states, reasons; never a host
//! or an instance, of which a fleet has thousands.

use crate::api::Rule;
use handover_identity::AcceptCounters;
use handover_telemetry::seconds;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _},
    metrics::{
        MetricType,
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::Gauge,
        histogram::Histogram,
        info::Info,
    },
    registry::{Registry, Unit},
};
use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tonic::Code;

/// The shortest time that a commit is asked about, in seconds; 15 doublings reach 16 s.
const SHORTEST_COMMIT: f64 = 0.000_5;
const COMMIT_BUCKETS: u16 = 16;

/// A call and how it ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    method: &'static str,
    code: &'static str,
}

/// Why something ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

/// Where something is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

/// How a deployment ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

/// How many there are of what the fleet has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Hosts that are enrolled.
    pub hosts: usize,
    /// Those of them that have a session.
    pub connected: usize,
    /// Deployments that go on.
    pub running: usize,
    /// Deployments that wait for a person.
    pub paused: usize,
    /// Deployments that are taken back.
    pub rolling_back: usize,
}

/// Everything that the server counts.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    calls: Family<CallLabels, Counter>,
    sessions_opened: Counter,
    sessions_ended: Family<ReasonLabel, Counter>,
    deployments_ended: Family<OutcomeLabel, Counter>,
    deployments: Family<StateLabel, Gauge>,
    hosts: Gauge,
    connected: Gauge,
    answering: Gauge,
    commit: Histogram,
    watchers: Gauge,
    log_readers: Gauge,
    accepted: Connections,
    /// When the commit that is under way began: microseconds since `epoch`, plus one; 0 where none is.
    committing: AtomicU64,
    epoch: Instant,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Everything at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("handover");
        let metrics = Self {
            calls: Family::default(),
            sessions_opened: Counter::default(),
            sessions_ended: Family::default(),
            deployments_ended: Family::default(),
            deployments: Family::default(),
            hosts: Gauge::default(),
            connected: Gauge::default(),
            answering: Gauge::default(),
            commit: Histogram::new(seconds::buckets(SHORTEST_COMMIT, COMMIT_BUCKETS)),
            watchers: Gauge::default(),
            log_readers: Gauge::default(),
            accepted: Connections::default(),
            committing: AtomicU64::new(0),
            epoch: Instant::now(),
            registry: Registry::default(),
        };
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("server_build", "The server's version", build);
        registry.register(
            "grpc_requests",
            "Calls by method and code, when they ended",
            metrics.calls.clone(),
        );
        registry.register("sessions_opened", "Agents' sessions begun", metrics.sessions_opened.clone());
        registry.register("sessions_ended", "Agents' sessions ended", metrics.sessions_ended.clone());
        registry.register("deployments_ended", "Deployments ended", metrics.deployments_ended.clone());
        registry.register("deployments", "Deployments that go on", metrics.deployments.clone());
        registry.register("hosts", "Hosts that are enrolled", metrics.hosts.clone());
        registry.register("agents_connected", "Agents that have a session", metrics.connected.clone());
        registry.register(
            "fleet_answering",
            "1 where the task that owns the fleet answered this scrape; 0: what is counted of hosts and deployments is old",
            metrics.answering.clone(),
        );
        registry.register_with_unit(
            "store_commit_duration",
            "From a decision until it is durable",
            Unit::Seconds,
            metrics.commit.clone(),
        );
        registry.register("watchers", "Watches of operators that are open", metrics.watchers.clone());
        registry.register("log_readers", "Requests for logs that are open", metrics.log_readers.clone());
        registry.register_collector(Box::new(metrics.accepted.clone()));
        Self { registry, ..metrics }
    }

    /// A call has ended. A path that is no call of the protocol counts as `unknown`.
    pub fn call(&self, path: &str, code: Code) {
        let known = Rule::of(path);
        let method = known.map_or("unknown", |rule| rule.path.trim_start_matches("/handover.v1."));
        self.calls.get_or_create(&CallLabels { method, code: code_name(code) }).inc();
    }

    /// A session has begun.
    pub fn session_opened(&self) {
        self.sessions_opened.inc();
    }

    /// A session is over.
    pub fn session_ended(&self, reason: &'static str) {
        self.sessions_ended.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// A deployment is over.
    pub fn deployment_ended(&self, outcome: &'static str) {
        self.deployments_ended.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// A commit begins.
    pub fn commit_begins(&self) -> Commit<'_> {
        let since = u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.committing.store(since.saturating_add(1), Relaxed);
        Commit { metrics: self, began: Instant::now() }
    }

    /// For how long the commit that is under way has been waiting for the disk.
    #[must_use]
    pub fn committing(&self) -> Option<Duration> {
        let since = self.committing.load(Relaxed).checked_sub(1)?;
        Some(self.epoch.elapsed().saturating_sub(Duration::from_micros(since)))
    }

    /// A watch is open until the returned value is dropped.
    #[must_use]
    pub fn watcher(&self) -> Open {
        Open::of(&self.watchers)
    }

    /// A request for logs is open until the returned value is dropped.
    #[must_use]
    pub fn log_reader(&self) -> Open {
        Open::of(&self.log_readers)
    }

    /// Whose connections are counted: of the listener `listener`.
    pub fn count_connections(&self, listener: &'static str, counters: Arc<AcceptCounters>) {
        self.accepted.0.lock().unwrap_or_else(PoisonError::into_inner).push((listener, counters));
    }

    /// Everything, as OpenMetrics text. `counts`: what the fleet says now, or `None` where it did not answer.
    ///
    /// # Errors
    /// Never, as far as is known: the text goes to memory.
    pub fn encode(&self, counts: Option<Counts>) -> Result<String, fmt::Error> {
        self.answering.set(i64::from(counts.is_some()));
        if let Some(counts) = counts {
            let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
            self.hosts.set(number(counts.hosts));
            self.connected.set(number(counts.connected));
            let states = [
                ("running", counts.running),
                ("paused", counts.paused),
                ("rolling_back", counts.rolling_back),
            ];
            for (state, count) in states {
                self.deployments.get_or_create(&StateLabel { state }).set(number(count));
            }
        }
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// A commit that is under way.
#[derive(Debug)]
pub struct Commit<'a> {
    metrics: &'a Metrics,
    began: Instant,
}

impl Drop for Commit<'_> {
    fn drop(&mut self) {
        self.metrics.committing.store(0, Relaxed);
        self.metrics.commit.observe(self.began.elapsed().as_secs_f64());
    }
}

/// Something that is open, counted while it is.
#[derive(Debug)]
pub struct Open(Gauge);

impl Open {
    fn of(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A listener's name and what its acceptor counts.
type Listener = (&'static str, Arc<AcceptCounters>);

/// What the acceptors count, read when it is asked for.
#[derive(Clone, Debug, Default)]
struct Connections(Arc<Mutex<Vec<Listener>>>);

type Read = fn(&AcceptCounters) -> u64;

impl Collector for Connections {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let listeners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut family = |name: &str, help: &str, rows: &[(Option<&'static str>, Read)]| {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (listener, counters) in listeners.iter() {
                for (reason, read) in rows {
                    let mut labels = vec![("listener", *listener)];
                    labels.extend(reason.map(|reason| ("reason", reason)));
                    ConstCounter::new(read(counters)).encode(metric.encode_family(&labels)?)?;
                }
            }
            Ok(())
        };
        family("connections_accepted", "Connections accepted", &[(None, AcceptCounters::accepted_total)])?;
        family(
            "connections_rejected",
            "Connections that were closed before a call, by reason",
            &[
                (Some("handshake_failed"), AcceptCounters::handshakes_failed_total),
                (Some("handshake_late"), AcceptCounters::handshakes_late_total),
                (Some("handshake_displaced"), AcceptCounters::handshakes_displaced_total),
                (Some("full"), AcceptCounters::refused_full_total),
                (Some("anonymous_late"), AcceptCounters::anonymous_late_total),
            ],
        )?;
        family(
            "accept_pauses",
            "Pauses because no connection could be accepted, mostly for lack of descriptors",
            &[(None, AcceptCounters::pauses_total)],
        )
    }
}

/// gRPC's name of a code.
const fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "ok",
        Code::Cancelled => "cancelled",
        Code::Unknown => "unknown",
        Code::InvalidArgument => "invalid_argument",
        Code::DeadlineExceeded => "deadline_exceeded",
        Code::NotFound => "not_found",
        Code::AlreadyExists => "already_exists",
        Code::PermissionDenied => "permission_denied",
        Code::ResourceExhausted => "resource_exhausted",
        Code::FailedPrecondition => "failed_precondition",
        Code::Aborted => "aborted",
        Code::OutOfRange => "out_of_range",
        Code::Unimplemented => "unimplemented",
        Code::Internal => "internal",
        Code::Unavailable => "unavailable",
        Code::DataLoss => "data_loss",
        Code::Unauthenticated => "unauthenticated",
    }
}
