//! What the agent counts of itself. Labels are services, of which a host has few, and phases; never instances.

use handover_model::{Disk, Duration, HostReport, InstancePhase, ServiceName, Timestamp};
use handover_telemetry::seconds;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Registry, Unit},
};
use std::{collections::BTreeMap, fmt};

/// The shortest flip that is asked about, in seconds; 16 doublings reach half a second.
const SHORTEST_FLIP: f64 = 0.000_008;
const FLIP_BUCKETS: u16 = 17;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ServiceLabel {
    service: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PhaseLabels {
    service: String,
    phase: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CutLabels {
    service: String,
    how: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FolderLabel {
    folder: String,
}

/// What is looked up when somebody asks.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What runs.
    pub report: HostReport,
    /// Whether there is a session with the server.
    pub connected: bool,
    /// When this host's certificate ends; `None` where it cannot be read.
    pub certificate_expires: Option<Timestamp>,
    /// The file systems of the agent's folders.
    pub disks: Vec<Disk>,
    /// Whether the agent cannot write down what it does.
    pub unwritten: bool,
}

/// Everything that the agent counts.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    instances: Family<PhaseLabels, Gauge>,
    flips: Family<ServiceLabel, Counter>,
    flip: Histogram,
    restarts: Family<ServiceLabel, Counter>,
    cut: Family<CutLabels, Counter>,
    connected: Gauge,
    sessions: Counter,
    certificate: Gauge,
    disk_free: Family<FolderLabel, Gauge>,
    disk_size: Family<FolderLabel, Gauge>,
    unwritten: Gauge,
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
        let mut registry = Registry::with_prefix("handover_agent");
        let metrics = Self {
            registry: Registry::default(),
            instances: Family::default(),
            flips: Family::default(),
            flip: Histogram::new(seconds::buckets(SHORTEST_FLIP, FLIP_BUCKETS)),
            restarts: Family::default(),
            cut: Family::default(),
            connected: Gauge::default(),
            sessions: Counter::default(),
            certificate: Gauge::default(),
            disk_free: Family::default(),
            disk_size: Family::default(),
            unwritten: Gauge::default(),
        };
        registry.register(
            "build",
            "The agent's version",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        registry.register("instances", "Instances by service and phase", metrics.instances.clone());
        registry.register("flips", "Changes of shares, by service", metrics.flips.clone());
        registry.register_with_unit(
            "flip_duration",
            "From the decision until the kernel has the new program",
            Unit::Seconds,
            metrics.flip.clone(),
        );
        registry.register(
            "restarts",
            "Lives of instances that failed and were, or would have been, tried again",
            metrics.restarts.clone(),
        );
        registry.register(
            "drain_connections_cut",
            "Connections that were cut when instances were taken out",
            metrics.cut.clone(),
        );
        registry.register(
            "session_connected",
            "1 while there is a session with the server",
            metrics.connected.clone(),
        );
        registry.register("sessions", "Sessions with the server that were begun", metrics.sessions.clone());
        registry.register_with_unit(
            "certificate_expiry_timestamp",
            "When this host's certificate ends, in Unix time; 0 where it cannot be read",
            Unit::Seconds,
            metrics.certificate.clone(),
        );
        registry.register_with_unit(
            "disk_free",
            "What the agent may still use of the file system of its folder",
            Unit::Bytes,
            metrics.disk_free.clone(),
        );
        registry.register_with_unit(
            "disk_size",
            "The file system of the agent's folder",
            Unit::Bytes,
            metrics.disk_size.clone(),
        );
        registry.register(
            "journal_unwritten",
            "1 while the agent cannot write down what it does: nothing new is begun",
            metrics.unwritten.clone(),
        );
        Self { registry, ..metrics }
    }

    /// The shares of a service were changed.
    pub(crate) fn flipped(&self, service: &ServiceName, took: Duration) {
        self.flips.get_or_create(&ServiceLabel { service: service.to_string() }).inc();
        self.flip.observe(took.as_secs_f64());
    }

    /// A life of an instance failed.
    pub(crate) fn failed(&self, service: &ServiceName) {
        self.restarts.get_or_create(&ServiceLabel { service: service.to_string() }).inc();
    }

    /// An instance is gone, and so many of its connections were cut.
    pub(crate) fn cut(&self, service: &ServiceName, force_closed: u64, reset: u64) {
        for (how, count) in [("force_closed", force_closed), ("reset", reset)] {
            // Also where it is none: a measured zero.
            self.cut.get_or_create(&CutLabels { service: service.to_string(), how }).inc_by(count);
        }
    }

    /// A session was begun.
    pub(crate) fn session(&self) {
        self.sessions.inc();
    }

    /// Everything, as OpenMetrics text.
    ///
    /// # Errors
    /// Never, as far as is known: the text goes to memory.
    pub fn encode(&self, seen: &Seen) -> Result<String, fmt::Error> {
        let mut counts: BTreeMap<(&str, &'static str), i64> = BTreeMap::new();
        for instance in seen.report.instances.values() {
            *counts.entry((instance.service.as_str(), phase(instance.phase))).or_default() += 1;
        }
        // A service that this host has no more must not stay in the list.
        self.instances.clear();
        for ((service, phase), count) in counts {
            self.instances.get_or_create(&PhaseLabels { service: service.to_owned(), phase }).set(count);
        }
        for disk in &seen.disks {
            for folder in &disk.folders {
                let label = FolderLabel { folder: folder.clone() };
                self.disk_free.get_or_create(&label).set(gauge(disk.free));
                self.disk_size.get_or_create(&label).set(gauge(disk.total));
            }
        }
        self.unwritten.set(i64::from(seen.unwritten));
        self.connected.set(i64::from(seen.connected));
        let expires = seen.certificate_expires.map_or(0, |at| at.unix_millis() / 1000);
        self.certificate.set(gauge(expires));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

const fn phase(phase: InstancePhase) -> &'static str {
    match phase {
        InstancePhase::Fetching => "fetching",
        InstancePhase::Starting => "starting",
        InstancePhase::Ready => "ready",
        InstancePhase::Unhealthy => "unhealthy",
        InstancePhase::BackingOff => "backing_off",
        InstancePhase::GaveUp => "gave_up",
        InstancePhase::Draining => "draining",
        InstancePhase::Stopping => "stopping",
        InstancePhase::Exited => "exited",
    }
}
