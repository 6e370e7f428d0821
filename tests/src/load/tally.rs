//! Counting while a run goes on.

use super::{
    failure::{Failure, FailureKind},
    report::{TargetReport, VersionSeen},
};
use handover_model::Timestamp;
use hdrhistogram::Histogram;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// The longest latency that is told apart, in microseconds: 10 minutes.
const LONGEST_US: u64 = 600_000_000;
/// How many failures are kept with their details.
pub(crate) const KEPT_FAILURES: usize = 20;
/// How many versions are told apart; the rest is counted as `(others)`.
const MAX_VERSIONS: usize = 64;

/// The moment of this call.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// What the clients have counted.
#[derive(Debug, Clone)]
pub(crate) struct Tally {
    pub(crate) targets: BTreeMap<SocketAddr, TargetReport>,
    pub(crate) latency: Histogram<u64>,
    pub(crate) failures: Vec<Failure>,
    pub(crate) connections: u64,
    pub(crate) max_lag: Duration,
}

impl Tally {
    pub(crate) fn new(targets: &[SocketAddr]) -> Self {
        Self {
            targets: targets.iter().map(|&target| (target, TargetReport::default())).collect(),
            // Grows with what it is given, so that a copy of it, for a report, is small.
            latency: Histogram::new(3).expect("a precision that hdrhistogram takes"),
            failures: Vec::new(),
            connections: 0,
            max_lag: Duration::ZERO,
        }
    }

    /// A request was answered with 200-299.
    pub(crate) fn ok(&mut self, target: SocketAddr, version: Option<&str>, took: Duration) {
        let at = self.targets.entry(target).or_default();
        at.counts.add_ok();
        see(&mut at.versions, version, now());
        // Cannot fail: it grows.
        let _ = self.latency.record(micros(took).clamp(1, LONGEST_US));
    }

    /// A request failed. An answer with another status still tells which version gave it.
    pub(crate) fn failed(&mut self, failure: Failure, status: Option<u16>, version: Option<&str>) {
        let at = self.targets.entry(failure.target).or_default();
        at.counts.add_failure(failure.kind, status);
        if failure.kind == FailureKind::Non2xx {
            see(&mut at.versions, version, failure.at);
        }
        if self.failures.len() < KEPT_FAILURES {
            self.failures.push(failure);
        }
    }
}

/// Microseconds, for histograms and reports.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn see(versions: &mut BTreeMap<String, VersionSeen>, version: Option<&str>, at: Timestamp) {
    let version = version.unwrap_or("(none)");
    if let Some(seen) = versions.get_mut(version) {
        seen.see(at);
    } else {
        let name = if versions.len() < MAX_VERSIONS { version } else { "(others)" };
        versions.entry(name.to_owned()).or_insert_with(|| VersionSeen::none_yet(at)).see(at);
    }
}

/// Adds the versions that `theirs` has seen to `ours`.
pub(crate) fn merge_versions(
    ours: &mut BTreeMap<String, VersionSeen>,
    theirs: &BTreeMap<String, VersionSeen>,
) {
    for (version, seen) in theirs {
        ours.entry(version.clone()).and_modify(|known| known.merge(seen)).or_insert(*seen);
    }
}
