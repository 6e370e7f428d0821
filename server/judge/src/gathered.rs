//! Many hosts' readings of one block as one pair of counts.
//!
//! Arms are compared within hosts: a host's counts are scaled down so that every host has the same ratio of baseline to
//! canary requests, and then summed. Both sums then have the same mixture of hosts, and a slow host that happens to
//! carry more of one arm does not look like a slow release. Where the ratios are equal this is the plain sum.

use crate::{Comparison, Counts, HostBlock, Tally};

/// A host may bring at least this many times its expected bad requests, whatever the cap is.
const CAP_FACTOR: f64 = 4.0;

/// How many bad requests of one host and block count at most: the greater of the cap and
/// [`CAP_FACTOR`] times what is expected at `canary` and `baseline`, the tolerated rates of the arms.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cap {
    pub(crate) bad: f64,
    pub(crate) canary: f64,
    pub(crate) baseline: f64,
}

/// The two arms of one block.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Pair {
    pub(crate) canary: Tally,
    pub(crate) baseline: Tally,
}

impl Pair {
    pub(crate) fn scaled(self, factor: f64) -> Self {
        Self { canary: self.canary.scaled(factor), baseline: self.baseline.scaled(factor) }
    }
}

/// Why a block of a metric is not judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skip {
    /// The canary had no request that could be compared.
    NoCanary,
    /// The baseline had none.
    NoBaseline,
    /// A counter was reset, and no other host had both arms.
    Reset,
    /// Latency thresholds are not fixed yet: the baseline was seen in too few requests.
    NoThresholds,
}

/// What a block comes to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gathered {
    /// What is compared, or why nothing is.
    pub(crate) compared: Result<Compared, Skip>,
    /// All of the baseline, in two halves of the hosts; the second is empty where there is one host.
    pub(crate) halves: [Tally; 2],
    /// All requests of the canary, compared or not.
    pub(crate) canary_requests: f64,
}

/// A block that is judged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Compared {
    /// As counted.
    pub(crate) counted: Pair,
    /// With the canary's bad requests capped: evidence that it is worse cannot come from a burst. The baseline's are
    /// not capped here: a cap would make it look better than it is.
    pub(crate) against: Pair,
    /// With the baseline's bad requests capped: the same for evidence that the canary is not worse.
    pub(crate) for_it: Pair,
    /// As counted, without weights: canary requests and bad ones, baseline requests and bad ones.
    pub(crate) raw: [u64; 4],
}

/// One host with both arms, or for [`Comparison::AcrossHosts`] whichever it has.
#[derive(Clone, Copy)]
struct Host {
    canary: Counts,
    baseline: Counts,
}

pub(crate) fn gather(hosts: &[HostBlock<Counts>], comparison: Comparison, cap: Option<Cap>) -> Gathered {
    let mut halves = [Tally::default(); 2];
    let mut canary_requests = 0.0;
    let mut used = Vec::with_capacity(hosts.len());
    let mut sums = (0, 0);
    for (index, host) in hosts.iter().enumerate() {
        let canary = host.canary.counted().copied().unwrap_or_default();
        let baseline = host.baseline.counted().copied().unwrap_or_default();
        halves[index % 2].add(baseline.into(), 1.0);
        canary_requests += Tally::from(canary).requests;
        sums = (sums.0 + canary.requests(), sums.1 + baseline.requests());
        let both = canary.requests() > 0 && baseline.requests() > 0;
        if both || comparison == Comparison::AcrossHosts {
            used.push(Host { canary, baseline });
        }
    }
    let reset = hosts.iter().any(|host| host.canary.is_reset() || host.baseline.is_reset());
    let comparable = sums.0 > 0 && sums.1 > 0 && !used.is_empty();
    let compared = if comparable {
        let weights = match comparison {
            Comparison::WithinHosts => matching(&used),
            Comparison::AcrossHosts => vec![(1.0, 1.0); used.len()],
        };
        Ok(sum(&used, &weights, cap))
    } else if reset {
        Err(Skip::Reset)
    } else if sums.0 == 0 || sums.1 > 0 {
        Err(Skip::NoCanary)
    } else {
        Err(Skip::NoBaseline)
    };
    Gathered { compared, halves, canary_requests }
}

fn sum(hosts: &[Host], weights: &[(f64, f64)], cap: Option<Cap>) -> Compared {
    let capped = |counts: Counts, rate: fn(&Cap) -> f64| {
        let tally = Tally::from(counts);
        let most = cap.map_or(f64::INFINITY, |cap| cap.bad.max(CAP_FACTOR * rate(&cap) * tally.requests));
        Tally { bad: tally.bad.min(most), ..tally }
    };
    let mut counted = Pair::default();
    let (mut against, mut for_it) = (counted, counted);
    let mut raw = [0u64; 4];
    for (Host { canary, baseline }, &(of_canary, of_baseline)) in hosts.iter().zip(weights) {
        counted.canary.add((*canary).into(), of_canary);
        counted.baseline.add((*baseline).into(), of_baseline);
        against.canary.add(capped(*canary, |cap| cap.canary), of_canary);
        for_it.baseline.add(capped(*baseline, |cap| cap.baseline), of_baseline);
        let numbers = [canary.requests(), canary.bad(), baseline.requests(), baseline.bad()];
        raw.iter_mut().zip(numbers).for_each(|(sum, number)| *sum = sum.saturating_add(number));
    }
    against.baseline = counted.baseline;
    for_it.canary = counted.canary;
    Compared { counted, against, for_it, raw }
}

/// The weights (canary, baseline) of each host that give all of them one ratio k of baseline to canary requests, with
/// the k that leaves the most information, 1 / (1/n_c + 1/n_b) = (sum of min(k n_ch, n_bh)) / (1 + k). Its greatest
/// value is at one of the hosts' own ratios: between two of them it is (A k + B) / (1 + k), which is monotone.
fn matching(hosts: &[Host]) -> Vec<(f64, f64)> {
    let size = |host: &Host| (Tally::from(host.canary).requests, Tally::from(host.baseline).requests);
    let mut sorted: Vec<(f64, f64)> = hosts.iter().map(size).collect();
    sorted.sort_by(|a, b| (b.1 / b.0).total_cmp(&(a.1 / a.0)));
    let (mut canary, mut baseline) = (0.0, sorted.iter().map(|host| host.1).sum::<f64>());
    let mut best = (0.0, 1.0);
    for (n_c, n_b) in sorted {
        canary += n_c;
        baseline -= n_b;
        let ratio = n_b / n_c;
        let information = (ratio * canary + baseline) / (1.0 + ratio);
        if information > best.0 {
            best = (information, ratio);
        }
    }
    let weights = hosts.iter().map(size).map(|(n_c, n_b)| {
        let relative = best.1 / (n_b / n_c);
        if relative <= 1.0 { (1.0, relative) } else { (1.0 / relative, 1.0) }
    });
    weights.collect()
}
