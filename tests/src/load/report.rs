//! What a run found: for a test's assertion, as JSON, and as a table for people.

use super::{
    failure::{Failure, FailureKind},
    latency::Latency,
    tally::{KEPT_FAILURES, Tally, merge_versions, micros},
};
use handover_model::Timestamp;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, net::SocketAddr, time::Duration};

/// How many requests ended how.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Answered whole, with 200-299.
    pub ok: u64,
    /// See [`FailureKind::Refused`].
    pub refused: u64,
    /// See [`FailureKind::Reset`].
    pub reset: u64,
    /// See [`FailureKind::Truncated`].
    pub truncated: u64,
    /// See [`FailureKind::Closed`].
    pub closed: u64,
    /// See [`FailureKind::TimedOut`].
    pub timed_out: u64,
    /// See [`FailureKind::Non2xx`].
    pub non_2xx: u64,
    /// Those of `non_2xx` with 500-599: what the service itself did wrong.
    #[serde(default)]
    pub server_errors: u64,
    /// See [`FailureKind::Malformed`].
    pub malformed: u64,
    /// See [`FailureKind::ConnectError`].
    pub connect_error: u64,
    /// See [`FailureKind::OtherError`].
    pub other_error: u64,
}

impl Counts {
    /// The number of failures of this kind.
    #[must_use]
    pub fn of(&self, kind: FailureKind) -> u64 {
        match kind {
            FailureKind::Refused => self.refused,
            FailureKind::Reset => self.reset,
            FailureKind::Truncated => self.truncated,
            FailureKind::Closed => self.closed,
            FailureKind::TimedOut => self.timed_out,
            FailureKind::Non2xx => self.non_2xx,
            FailureKind::Malformed => self.malformed,
            FailureKind::ConnectError => self.connect_error,
            FailureKind::OtherError => self.other_error,
        }
    }

    fn of_mut(&mut self, kind: FailureKind) -> &mut u64 {
        match kind {
            FailureKind::Refused => &mut self.refused,
            FailureKind::Reset => &mut self.reset,
            FailureKind::Truncated => &mut self.truncated,
            FailureKind::Closed => &mut self.closed,
            FailureKind::TimedOut => &mut self.timed_out,
            FailureKind::Non2xx => &mut self.non_2xx,
            FailureKind::Malformed => &mut self.malformed,
            FailureKind::ConnectError => &mut self.connect_error,
            FailureKind::OtherError => &mut self.other_error,
        }
    }

    /// All failures of all kinds.
    #[must_use]
    pub fn failed(&self) -> u64 {
        FailureKind::ALL.iter().map(|&kind| self.of(kind)).sum()
    }

    /// All requests that ended.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.ok + self.failed()
    }

    pub(crate) fn add_ok(&mut self) {
        self.ok += 1;
    }

    /// `status` is that of an answer.
    pub(crate) fn add_failure(&mut self, kind: FailureKind, status: Option<u16>) {
        *self.of_mut(kind) += 1;
        self.server_errors += u64::from(status.is_some_and(|status| (500..600).contains(&status)));
    }

    /// Adds the other run's or target's counts to these.
    pub fn merge(&mut self, other: &Self) {
        self.ok += other.ok;
        self.server_errors += other.server_errors;
        for kind in FailureKind::ALL {
            *self.of_mut(kind) += other.of(kind);
        }
    }
}

/// How often a version answered, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionSeen {
    /// Whole answers of this version, of any status.
    pub answers: u64,
    /// When its first answer was complete.
    pub first: Timestamp,
    /// When its last answer was complete.
    pub last: Timestamp,
}

impl VersionSeen {
    pub(crate) fn none_yet(at: Timestamp) -> Self {
        Self { answers: 0, first: at, last: at }
    }

    pub(crate) fn see(&mut self, at: Timestamp) {
        self.merge(&Self { answers: 1, first: at, last: at });
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.answers += other.answers;
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
    }
}

/// What one target answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetReport {
    /// How its requests ended.
    pub counts: Counts,
    /// Which versions answered, by the header `x-version`; `(none)` where it was missing.
    pub versions: BTreeMap<String, VersionSeen>,
}

/// What a run found, at its end or so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// How connections were used, in words.
    pub mode: String,
    /// When it began.
    pub began: Timestamp,
    /// Milliseconds from there to the end, or to the snapshot.
    pub elapsed_ms: u64,
    /// How the requests ended, over all targets.
    pub counts: Counts,
    /// Connections that were made.
    pub connections: u64,
    /// The times they took.
    pub latency: Latency,
    /// The most microseconds that a paced request was sent after its time: large where the service or this machine was too slow for the rate.
    pub max_lag_us: u64,
    /// Which versions answered, over all targets.
    pub versions: BTreeMap<String, VersionSeen>,
    /// The same by target.
    pub targets: BTreeMap<SocketAddr, TargetReport>,
    /// The first failures with their details; at most 20.
    pub failures: Vec<Failure>,
}

impl Report {
    pub(crate) fn of(tally: Tally, mode: &str, began: Timestamp, elapsed: Duration) -> Self {
        let mut counts = Counts::default();
        let mut versions = BTreeMap::new();
        for target in tally.targets.values() {
            counts.merge(&target.counts);
            merge_versions(&mut versions, &target.versions);
        }
        Self {
            mode: mode.to_owned(),
            began,
            elapsed_ms: micros(elapsed) / 1000,
            counts,
            connections: tally.connections,
            latency: Latency::of(&tally.latency),
            max_lag_us: micros(tally.max_lag),
            versions,
            targets: tally.targets,
            failures: tally.failures,
        }
    }

    /// All requests that ended.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.counts.requests()
    }

    /// All requests that failed, of all kinds.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.counts.failed()
    }

    /// Requests answered with 200-299 a second.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        self.counts.ok as f64 * 1000.0 / (self.elapsed_ms.max(1) as f64)
    }

    /// Adds another run, at the same time as this one or at another.
    pub fn merge(&mut self, other: &Self) {
        let end = |report: &Self| report.began + Duration::from_millis(report.elapsed_ms);
        let last = end(self).max(end(other));
        if !self.mode.split(" + ").any(|mode| mode == other.mode) {
            self.mode = format!("{} + {}", self.mode, other.mode);
        }
        self.began = self.began.min(other.began);
        self.elapsed_ms = micros(last.since(self.began)) / 1000;
        self.counts.merge(&other.counts);
        self.connections += other.connections;
        self.latency.merge(&other.latency);
        self.max_lag_us = self.max_lag_us.max(other.max_lag_us);
        merge_versions(&mut self.versions, &other.versions);
        for (target, theirs) in &other.targets {
            let ours = self.targets.entry(*target).or_default();
            ours.counts.merge(&theirs.counts);
            merge_versions(&mut ours.versions, &theirs.versions);
        }
        self.failures.extend(other.failures.iter().cloned());
        self.failures.sort_by_key(|failure| failure.at);
        self.failures.truncate(KEPT_FAILURES);
    }

    /// How often this version answered.
    #[must_use]
    pub fn answers_of(&self, version: &str) -> u64 {
        self.versions.get(version).map_or(0, |seen| seen.answers)
    }

    /// Ends a test in which a single request failed, or none was answered, with the whole table.
    ///
    /// # Panics
    /// Then.
    #[track_caller]
    pub fn assert_no_failures(&self) {
        assert!(self.failed() == 0, "{} requests failed\n{self}", self.failed());
        assert!(self.counts.ok > 0, "no request was answered, so nothing was shown\n{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mode, seconds) = (&self.mode, self.elapsed_ms as f64 / 1e3);
        writeln!(
            f,
            "{} requests, {mode}, {seconds:.1} s, {} connections",
            self.requests(),
            self.connections
        )?;
        writeln!(f, "  {:<16}{:>10}   {:.0}/s", "ok", self.counts.ok, self.per_second())?;
        for kind in FailureKind::ALL {
            writeln!(f, "  {kind:<16}{:>10}", self.counts.of(kind))?;
        }
        writeln!(f, "  {:<16}{:>10}   of the non-2xx", "5xx", self.counts.server_errors)?;
        let ms = |us: u64| us as f64 / 1e3;
        let Latency { p50_us, p90_us, p99_us, p999_us, max_us, .. } = self.latency;
        writeln!(
            f,
            "  latency in ms   p50 {:.2}  p90 {:.2}  p99 {:.2}  p99.9 {:.2}  max {:.2}",
            ms(p50_us),
            ms(p90_us),
            ms(p99_us),
            ms(p999_us),
            ms(max_us)
        )?;
        for (version, seen) in &self.versions {
            let (first, last) = (seen.first.since(self.began), seen.last.since(self.began));
            let (first, last) = (first.as_secs_f64(), last.as_secs_f64());
            writeln!(f, "  version {version:<8}{:>10}   from {first:.3} s to {last:.3} s", seen.answers)?;
        }
        if self.targets.len() > 1 {
            for (target, seen) in &self.targets {
                let (ok, failed) = (seen.counts.ok, seen.counts.failed());
                writeln!(f, "  {target:<21}{ok:>10} ok {failed:>8} failed")?;
            }
        }
        for failure in &self.failures {
            let Failure { at, kind, target, source, answered_before, after_us, detail } = failure;
            let source = source.map_or_else(|| "-".to_owned(), |source| source.to_string());
            let at = at.since(self.began).as_secs_f64();
            writeln!(
                f,
                "  {at:.3} s  {kind}  {source} -> {target}, {answered_before} answered before, after {:.2} ms: {detail}",
                ms(*after_us)
            )?;
        }
        Ok(())
    }
}
