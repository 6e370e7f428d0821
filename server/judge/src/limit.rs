//! Plain limits: what a canary must not do, whatever the baseline does. No statistics.

use crate::{Histogram, HostBlock, Limit, Observed};
use serde::{Deserialize, Serialize};

/// The run of requests that a limit is being looked at on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LimitState {
    requests: u64,
    bad: u64,
}

/// A run that went over its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Breach {
    pub(crate) requests: u64,
    pub(crate) bad: u64,
}

impl LimitState {
    /// Takes in the canary's requests of one block; a run that is long enough ends here, and the next begins.
    pub(crate) fn observe(&mut self, observed: &Observed<'_>, limit: &Limit) -> Option<Breach> {
        let (requests, bad) = canary(observed, limit.slower_than);
        self.requests = self.requests.saturating_add(requests);
        self.bad = self.bad.saturating_add(bad);
        if self.requests < limit.at_least {
            return None;
        }
        let Self { requests, bad } = std::mem::take(self);
        #[expect(
            clippy::cast_precision_loss,
            reason = "a share; the numbers are at most MAX_REQUESTS times hosts"
        )]
        let over = bad as f64 > limit.over * requests as f64;
        over.then_some(Breach { requests, bad })
    }
}

/// The canary's requests on all hosts, and the bad ones.
fn canary(observed: &Observed<'_>, slower_than: Option<f64>) -> (u64, u64) {
    let add = |(requests, bad): (u64, u64), (more, more_bad): (u64, u64)| {
        (requests.saturating_add(more), bad.saturating_add(more_bad))
    };
    let slower = |histogram: &Histogram| {
        let edge = histogram.edges().iter().find(|edge| slower_than.is_some_and(|seconds| **edge >= seconds));
        edge.and_then(|edge| histogram.slower_than(*edge))
    };
    let counts = |counts: crate::Counts| (counts.requests(), counts.bad());
    match (observed, slower_than) {
        (Observed::Counts(hosts), None) => {
            let counted = hosts.iter().filter_map(|host| host.canary.counted());
            counted.map(|counted| counts(*counted)).fold((0, 0), add)
        }
        (Observed::Histograms(hosts), Some(_)) => {
            let counted = hosts.iter().filter_map(|host: &HostBlock<Histogram>| host.canary.counted());
            counted.filter_map(slower).map(counts).fold((0, 0), add)
        }
        (Observed::Counts(_), Some(_)) | (Observed::Histograms(_), None) => (0, 0),
    }
}
