//! Plain limits: what a canary must not do, whatever the baseline does. No statistics.

use crate::{Counts, Histogram, Limit, Observed, Reading};
use serde::{Deserialize, Serialize};

/// The runs of requests that a limit is looked at on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LimitState {
    requests: u64,
    bad: u64,
    /// What the baseline did in the same blocks, for people.
    #[serde(default)]
    baseline: [u64; 2],
    /// The last run that was long enough.
    #[serde(default)]
    last: Option<Run>,
}

/// Requests of both arms in the same blocks, and the bad ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) canary: [u64; 2],
    pub(crate) baseline: [u64; 2],
}

impl LimitState {
    /// Takes in one block; a run of the canary's requests that is long enough ends here, and the next begins. Tells one that
    /// went over the limit.
    pub(crate) fn observe(&mut self, observed: &Observed<'_>, limit: &Limit) -> Option<Run> {
        let [canary, baseline] = both(observed, limit.slower_than);
        self.requests = self.requests.saturating_add(canary[0]);
        self.bad = self.bad.saturating_add(canary[1]);
        self.baseline = plus(self.baseline, baseline);
        if self.requests < limit.at_least {
            return None;
        }
        let Self { requests, bad, baseline, .. } = std::mem::take(self);
        let run = Run { canary: [requests, bad], baseline };
        self.last = Some(run);
        #[expect(
            clippy::cast_precision_loss,
            reason = "a share; the numbers are at most MAX_REQUESTS times hosts"
        )]
        let over = bad as f64 > limit.over * requests as f64;
        over.then_some(run)
    }

    /// The last run that was long enough; before there was one, the first as far as it is.
    pub(crate) fn shown(&self) -> Run {
        self.last.unwrap_or(Run { canary: [self.requests, self.bad], baseline: self.baseline })
    }
}

fn plus(a: [u64; 2], b: [u64; 2]) -> [u64; 2] {
    [a[0].saturating_add(b[0]), a[1].saturating_add(b[1])]
}

/// Each arm's requests on all hosts, and the bad ones.
fn both(observed: &Observed<'_>, slower_than: Option<f64>) -> [[u64; 2]; 2] {
    let slower = |histogram: &Histogram| {
        let edge = histogram.edges().iter().find(|edge| slower_than.is_some_and(|seconds| **edge >= seconds));
        edge.and_then(|edge| histogram.slower_than(*edge))
    };
    let counts = |counts: Counts| [counts.requests(), counts.bad()];
    let of_counts = |reading: &Reading<Counts>| reading.counted().map(|counted| counts(*counted));
    let of_histogram = |reading: &Reading<Histogram>| reading.counted().and_then(slower).map(counts);
    match (observed, slower_than) {
        (Observed::Counts(hosts), None) => {
            sums(hosts.iter().map(|host| [of_counts(&host.canary), of_counts(&host.baseline)]))
        }
        (Observed::Histograms(hosts), Some(_)) => {
            sums(hosts.iter().map(|host| [of_histogram(&host.canary), of_histogram(&host.baseline)]))
        }
        (Observed::Counts(_), Some(_)) | (Observed::Histograms(_), None) => [[0; 2]; 2],
    }
}

fn sums(hosts: impl Iterator<Item = [Option<[u64; 2]>; 2]>) -> [[u64; 2]; 2] {
    hosts.fold([[0; 2]; 2], |sum, [canary, baseline]| {
        [plus(sum[0], canary.unwrap_or_default()), plus(sum[1], baseline.unwrap_or_default())]
    })
}
