//! What is judged, and by which bounds.

use crate::{Rates, decimal};
use serde::{Deserialize, Serialize};

/// The most metrics of one judge.
pub const MAX_METRICS: usize = 6;
/// The most tests of one judge: a share has one, a latency one for each threshold. It bounds the saved state.
pub const MAX_TESTS: usize = 12;
/// The most latency metrics of one judge; they keep a histogram each until the canary begins.
pub const MAX_LATENCIES: usize = 2;
/// The most plain limits of one judge.
pub const MAX_LIMITS: usize = 4;
/// The longest name of a metric or limit, bytes.
pub const MAX_NAME: usize = 32;

/// The settings of one deployment's judge; they do not change while it lasts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// The chance of ever failing a canary that is as good as tolerated, over the whole deployment and all metrics.
    #[serde(with = "decimal")]
    pub alpha: f64,
    /// The part of `alpha` for canaries that turn bad after their first blocks; from 0 (not looked for), below 1.
    #[serde(with = "decimal")]
    pub late: f64,
    /// The chance of passing, in one step, a canary of which a metric is intolerable (`d_max`).
    #[serde(with = "decimal")]
    pub alpha_promotion: f64,
    /// The length of a block, milliseconds; only for saying how long something takes.
    pub block_millis: u64,
    /// Between which instances arms are compared.
    pub comparison: Comparison,
    /// At most so many bad requests of one host and block count as evidence (or four times what is expected of it,
    /// where that is more). `None`: all of them.
    pub cap: Option<u32>,
    /// Whether counts are divided by the over-dispersion seen in the baseline.
    pub over_dispersion: bool,
    /// What is compared; their weights sum to 1. May be empty where there are limits.
    pub metrics: Vec<Metric>,
    /// What must not be, whatever the baseline does.
    pub limits: Vec<Limit>,
}

/// Between which instances arms are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    /// Old and new on the same host, then all hosts together: a canary by connections.
    WithinHosts,
    /// All hosts' canaries with all hosts' baselines: a canary by hosts. A difference between the hosts themselves
    /// looks like one between the releases.
    AcrossHosts,
}

/// A metric that is compared with the baseline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// Its name, by which blocks have it.
    pub name: String,
    /// Its part of `alpha`; above 0.
    #[serde(with = "decimal")]
    pub weight: f64,
    /// What it counts.
    pub kind: Kind,
}

/// What a metric counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The share of bad requests.
    Share {
        /// How much worse the canary may be.
        tolerance: Tolerance,
        /// One alternative instead of the six; for checking the computation against figures.
        fixed: Option<Alternative>,
    },
    /// The shares of requests that are slower than thresholds at quantiles of the baseline's latency.
    Latency {
        /// Its thresholds: E is the mean of theirs.
        thresholds: Vec<Threshold>,
    },
}

/// An alternative that is fixed beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alternative {
    /// The canary's rate of bad requests.
    #[serde(with = "decimal")]
    pub canary: f64,
    /// The baseline's.
    #[serde(with = "decimal")]
    pub baseline: f64,
}

impl From<Alternative> for Rates {
    fn from(Alternative { canary, baseline }: Alternative) -> Self {
        Self { canary, baseline }
    }
}

/// A threshold of a latency metric.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    /// The quantile of the baseline's latency, in (0, 1); its bucket's upper edge is the threshold.
    #[serde(with = "decimal")]
    pub quantile: f64,
    /// How many more requests of the canary may be slower.
    pub tolerance: Tolerance,
}

/// The boundary p_c = r p_b + d between what is tolerated and what is not.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Margin {
    /// r: above 0, at most 100.
    #[serde(rename = "r", with = "decimal")]
    pub ratio: f64,
    /// d: at least 0, below 1.
    #[serde(rename = "d", with = "decimal")]
    pub difference: f64,
}

impl Margin {
    /// The canary's rate at the boundary.
    #[must_use]
    pub fn tolerated(self, baseline: f64) -> f64 {
        self.ratio * baseline + self.difference
    }
}

/// How much worse than the baseline a canary may be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tolerance {
    /// Beyond it the canary fails.
    pub margin: Margin,
    /// A canary passes when it is proven to be better than r p_b + `d_max`; above d, below 1. `None`: not needed to pass.
    #[serde(with = "decimal")]
    pub d_max: Option<f64>,
}

impl Tolerance {
    /// A tolerance by its three numbers.
    #[must_use]
    pub const fn new(ratio: f64, difference: f64, d_max: Option<f64>) -> Self {
        Self { margin: Margin { ratio, difference }, d_max }
    }

    /// Of errors: r = 1.25, d = 0.002, `d_max` = 0.02.
    #[must_use]
    pub const fn of_errors() -> Self {
        Self::new(1.25, 0.002, Some(0.02))
    }
}

/// A plain limit on the canary alone. No statistics: it is judged on successive runs of at least `at_least` requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// Its name, for the verdict.
    pub name: String,
    /// The metric's name in blocks; it need not be one that is compared.
    pub metric: String,
    /// Of a latency: requests slower than the first edge at or above so many seconds are bad. Of a share: `None`.
    #[serde(with = "decimal")]
    pub slower_than: Option<f64>,
    /// The canary fails where a greater share of a run is bad; from 0, below 1.
    #[serde(with = "decimal")]
    pub over: f64,
    /// How many requests a run has at least; above 0.
    pub at_least: u64,
    /// What is counted.
    #[serde(default)]
    pub of: Counted,
}

/// What a plain limit counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Counted {
    /// Requests, of which some are bad or slow.
    #[default]
    Requests,
    /// Connections that ended, of which some were reset; they are the requests of this metric, and the bad ones.
    Connections,
}

impl Metric {
    /// Errors with the usual tolerance.
    #[must_use]
    pub fn errors(name: &str, weight: f64) -> Self {
        let kind = Kind::Share { tolerance: Tolerance::of_errors(), fixed: None };
        Self { name: name.to_owned(), weight, kind }
    }

    /// Latency at the baseline's p50, p90 and p99.
    #[must_use]
    pub fn latency(name: &str, weight: f64) -> Self {
        let thresholds = [(0.5, 0.02, 0.1), (0.9, 0.01, 0.05), (0.99, 0.005, 0.02)];
        let thresholds = thresholds.map(|(quantile, difference, d_max)| Threshold {
            quantile,
            tolerance: Tolerance::new(1.1, difference, Some(d_max)),
        });
        Self { name: name.to_owned(), weight, kind: Kind::Latency { thresholds: thresholds.into() } }
    }

    /// The whole histogram: eight quantiles from p10 to p99.9. It can fail a canary, and is not needed to pass.
    #[must_use]
    pub fn histogram(name: &str, weight: f64) -> Self {
        let thresholds = [
            (0.1, 0.02),
            (0.25, 0.02),
            (0.5, 0.02),
            (0.75, 0.02),
            (0.9, 0.01),
            (0.95, 0.01),
            (0.99, 0.005),
            (0.999, 0.002),
        ];
        let thresholds = thresholds.map(|(quantile, difference)| Threshold {
            quantile,
            tolerance: Tolerance::new(1.1, difference, None),
        });
        Self { name: name.to_owned(), weight, kind: Kind::Latency { thresholds: thresholds.into() } }
    }

    pub(crate) fn tests(&self) -> usize {
        match &self.kind {
            Kind::Share { .. } => 1,
            Kind::Latency { thresholds } => thresholds.len(),
        }
    }
}

impl Default for Config {
    /// alpha 0.01, a twentieth of it for canaries that turn bad late, promotion at 0.05, blocks of 10 s, within hosts, no cap, over-dispersion estimated, errors alone.
    fn default() -> Self {
        Self {
            alpha: 0.01,
            late: 0.05,
            alpha_promotion: 0.05,
            block_millis: 10_000,
            comparison: Comparison::WithinHosts,
            cap: None,
            over_dispersion: true,
            metrics: vec![Metric::errors("errors", 1.0)],
            limits: Vec::new(),
        }
    }
}
