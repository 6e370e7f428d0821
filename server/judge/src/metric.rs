//! The state of one metric: its tests, and why blocks were skipped.

use crate::{
    Comparison, Config, Counts, Histogram, HostBlock, Kind, Metric, Observed, Skip, Tolerance, decimal,
    evidence::log_mean,
    packed::{self, Packed},
    proportion::{Bounds, Distance, Proportion, Rules},
    watched::Watched,
};
use serde::{Deserialize, Serialize};

/// Blocks of a metric that were not judged, by their reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// The canary had no request that could be compared.
    pub no_canary: u64,
    /// The baseline had none.
    pub no_baseline: u64,
    /// A counter was reset.
    pub reset: u64,
    /// Latency thresholds were not fixed yet.
    pub no_thresholds: u64,
}

impl Skipped {
    /// All of them.
    #[must_use]
    pub const fn total(self) -> u64 {
        self.no_canary + self.no_baseline + self.reset + self.no_thresholds
    }

    const fn count(&mut self, skip: Skip) {
        let number = match skip {
            Skip::NoCanary => &mut self.no_canary,
            Skip::NoBaseline => &mut self.no_baseline,
            Skip::Reset => &mut self.reset,
            Skip::NoThresholds => &mut self.no_thresholds,
        };
        *number += 1;
    }
}

/// One test of a metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Test {
    /// Of a latency: what is slower, seconds, is bad.
    pub(crate) edge: Option<Edge>,
    /// Which of the metric's tolerances is its own.
    threshold: usize,
    #[serde(with = "packed")]
    pub(crate) proportion: Proportion,
}

/// An upper edge of a histogram, seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Edge(#[serde(with = "decimal")] pub(crate) f64);

impl Packed for Proportion {
    fn pack(&self) -> Vec<u64> {
        self.numbers()
    }

    fn unpack(numbers: &[u64]) -> Option<Self> {
        Self::of_numbers(numbers)
    }
}

impl Packed for Watched {
    fn pack(&self) -> Vec<u64> {
        self.numbers()
    }

    fn unpack(numbers: &[u64]) -> Option<Self> {
        Self::of_numbers(numbers)
    }
}

/// The tests of a metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Phase {
    /// Of a latency, until its thresholds are fixed.
    Watching(#[serde(with = "packed")] Watched),
    Testing(Vec<Test>),
}

/// The state of one metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct MetricState {
    phase: Phase,
    skipped: Skipped,
}

/// What all tests of one metric are done by.
pub(crate) struct Ground<'a> {
    metric: &'a Metric,
    comparison: Comparison,
    cap: Option<u32>,
    over_dispersion: bool,
}

impl<'a> Ground<'a> {
    pub(crate) const fn of(config: &Config, metric: &'a Metric) -> Self {
        let Config { comparison, cap, over_dispersion, .. } = *config;
        Self { metric, comparison, cap, over_dispersion }
    }

    fn rules(&self, threshold: usize) -> Rules {
        let tolerance = self.metric.tolerance(threshold);
        let fixed = match &self.metric.kind {
            Kind::Share { fixed, .. } => fixed.map(Into::into),
            Kind::Latency { .. } => None,
        };
        let Self { comparison, cap, over_dispersion, .. } = *self;
        Rules { tolerance, fixed, comparison, cap, over_dispersion }
    }
}

impl MetricState {
    pub(crate) fn new(metric: &Metric) -> Self {
        let phase = match &metric.kind {
            Kind::Share { .. } => {
                Phase::Testing(vec![Test { edge: None, threshold: 0, proportion: Proportion::default() }])
            }
            Kind::Latency { .. } => Phase::Watching(Watched::default()),
        };
        Self { phase, skipped: Skipped::default() }
    }

    /// Whether it can be a state of this metric.
    pub(crate) fn fits(&self, metric: &Metric) -> bool {
        match (&self.phase, &metric.kind) {
            (Phase::Testing(tests), Kind::Share { .. }) => {
                tests.len() == 1 && tests.iter().all(|test| test.edge.is_none() && test.threshold == 0)
            }
            (Phase::Testing(tests), Kind::Latency { thresholds }) => {
                let edges = tests.iter().all(|test| test.edge.is_some() && test.threshold < thresholds.len());
                edges && !tests.is_empty() && tests.len() <= thresholds.len()
            }
            (Phase::Watching(_), kind) => matches!(kind, Kind::Latency { .. }),
        }
    }

    /// Takes in a block of the baseline alone.
    pub(crate) fn watch(&mut self, observed: Option<&Observed<'_>>, ground: &Ground<'_>) {
        match (&mut self.phase, observed) {
            (Phase::Testing(tests), Some(observed)) => {
                for Test { edge, threshold, proportion } in tests {
                    proportion.watch(&counts(observed, *edge), &ground.rules(*threshold));
                }
            }
            (Phase::Watching(watched), Some(Observed::Histograms(hosts))) => {
                watched.observe(hosts.iter().filter_map(|host| host.baseline.counted()));
            }
            (Phase::Watching(_), Some(Observed::Counts(_))) | (_, None) => {}
        }
    }

    /// Takes in a block with a canary.
    pub(crate) fn observe(&mut self, observed: Option<&Observed<'_>>, ground: &Ground<'_>) {
        self.fix(ground);
        let Phase::Testing(tests) = &mut self.phase else {
            self.watch(observed, ground);
            return self.skipped.count(Skip::NoThresholds);
        };
        let mut outcomes = Vec::with_capacity(tests.len());
        for Test { edge, threshold, proportion } in tests {
            let hosts = observed.map_or_else(Vec::new, |observed| counts(observed, *edge));
            outcomes.push(proportion.observe(&hosts, &ground.rules(*threshold)));
        }
        if let Some(skip) = outcomes.into_iter().find_map(Result::err) {
            self.skipped.count(skip);
        }
    }

    /// Fixes the thresholds of a latency at what was seen before.
    fn fix(&mut self, ground: &Ground<'_>) {
        if let (Phase::Watching(watched), Kind::Latency { thresholds }) = (&self.phase, &ground.metric.kind)
            && let Some(fixed) = watched.thresholds(thresholds)
        {
            let tests = fixed.into_iter().map(|(edge, threshold, seen)| Test {
                edge: Some(Edge(edge)),
                threshold,
                proportion: Proportion::seeded(seen),
            });
            self.phase = Phase::Testing(tests.collect());
        }
    }

    pub(crate) fn begin_step(&mut self) {
        self.tests_mut().iter_mut().for_each(|test| test.proportion.begin_step());
    }

    pub(crate) fn tests(&self) -> &[Test] {
        match &self.phase {
            Phase::Testing(tests) => tests,
            Phase::Watching(_) => &[],
        }
    }

    fn tests_mut(&mut self) -> &mut [Test] {
        match &mut self.phase {
            Phase::Testing(tests) => tests,
            Phase::Watching(_) => &mut [],
        }
    }

    pub(crate) const fn skipped(&self) -> Skipped {
        self.skipped
    }

    /// ln E: of the mean over the tests; 0 before there are any.
    pub(crate) fn log_e(&self) -> f64 {
        let logs = self.tests().iter().map(|test| test.proportion.log_e());
        if self.tests().is_empty() { 0.0 } else { log_mean(logs) }
    }

    /// ln E of the late process: of the mean over the tests; 0 before there are any.
    pub(crate) fn log_late(&self) -> f64 {
        let logs = self.tests().iter().map(|test| test.proportion.log_late());
        if self.tests().is_empty() { 0.0 } else { log_mean(logs) }
    }

    /// The least of what its tests have for promotion; `None` where the metric is not needed to pass, 0 before it is tested.
    pub(crate) fn log_promotion(&self, metric: &Metric) -> Option<f64> {
        if !metric.promotes() {
            return None;
        }
        let needed = self.tests().iter().filter(|test| metric.tolerance(test.threshold).d_max.is_some());
        Some(needed.map(|test| test.proportion.log_promotion()).reduce(f64::min).unwrap_or(0.0))
    }

    /// How far it is until it fails.
    pub(crate) fn distance_to_fail(&self, bounds: Bounds, ground: &Ground<'_>) -> Option<Distance> {
        #[expect(clippy::cast_precision_loss, reason = "at most MAX_TESTS")]
        let more = (self.tests().len() as f64).ln();
        let bounds = Bounds { whole: bounds.whole + more, late: bounds.late + more };
        let distances = self
            .tests()
            .iter()
            .filter_map(|test| test.proportion.distance_to_fail(bounds, &ground.rules(test.threshold)));
        distances.reduce(|a, b| if b.blocks < a.blocks { b } else { a })
    }

    /// How far it is until all that is needed of it is proven; `None` where it is not to be expected.
    pub(crate) fn distance_to_pass(&self, bound: f64, ground: &Ground<'_>) -> Option<Distance> {
        let mut farthest: Option<Distance> = None;
        let needed =
            self.tests().iter().filter(|test| ground.metric.tolerance(test.threshold).d_max.is_some());
        for Test { threshold, proportion, .. } in needed {
            let distance = proportion.distance_to_pass(bound, &ground.rules(*threshold))?;
            if farthest.is_none_or(|far| far.blocks < distance.blocks) {
                farthest = Some(distance);
            }
        }
        farthest
    }

    pub(crate) fn over_dispersion(&self, ground: &Ground<'_>) -> f64 {
        let factors = self.tests().iter().map(|t| t.proportion.over_dispersion(&ground.rules(t.threshold)));
        factors.fold(1.0, f64::max)
    }
}

impl Metric {
    /// The tolerance of one of its tests. Beyond them there is none that is wider: what does not fit fails to load.
    fn tolerance(&self, threshold: usize) -> Tolerance {
        match &self.kind {
            Kind::Share { tolerance, .. } => *tolerance,
            Kind::Latency { thresholds } => {
                thresholds.get(threshold).map_or_else(Tolerance::of_errors, |threshold| threshold.tolerance)
            }
        }
    }

    /// Whether a canary needs it to pass.
    pub(crate) fn promotes(&self) -> bool {
        match &self.kind {
            Kind::Share { tolerance, .. } => tolerance.d_max.is_some(),
            Kind::Latency { thresholds } => thresholds.iter().any(|t| t.tolerance.d_max.is_some()),
        }
    }
}

/// The counts of each host for one test.
fn counts(observed: &Observed<'_>, edge: Option<Edge>) -> Vec<HostBlock<Counts>> {
    let slower = |histogram: &Histogram| edge.and_then(|Edge(edge)| histogram.slower_than(edge));
    let histograms = |host: &HostBlock<Histogram>| HostBlock {
        canary: host.canary.and_then(slower),
        baseline: host.baseline.and_then(slower),
    };
    match (observed, edge) {
        (Observed::Counts(hosts), None) => hosts.to_vec(),
        (Observed::Histograms(hosts), Some(_)) => hosts.iter().map(histograms).collect(),
        (Observed::Counts(_), Some(_)) | (Observed::Histograms(_), None) => Vec::new(),
    }
}
