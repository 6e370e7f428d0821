//! What is judged, and by which bounds.

use crate::{Rates, decimal};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

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

    fn tests(&self) -> usize {
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

/// Settings that make no sense.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ConfigError {
    /// A number out of its range.
    #[error("{what} is {value}: it must be {range}")]
    Range {
        /// Which number.
        what: String,
        /// What it is.
        value: f64,
        /// What it may be.
        range: &'static str,
    },
    /// The weights of the metrics do not sum to 1.
    #[error("the weights of the metrics sum to {0}: they must sum to 1")]
    Weights(f64),
    /// Too many of something.
    #[error("{count} {what}: at most {most} can be judged")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        most: usize,
    },
    /// Nothing to judge.
    #[error("there is neither a metric nor a limit: nothing is judged")]
    Nothing,
    /// A name that is empty, too long, or there twice.
    #[error("the name {0:?} is empty, longer than {MAX_NAME} bytes, or there twice")]
    Name(String),
}

impl Config {
    /// Whether the settings make sense.
    ///
    /// # Errors
    /// The first setting that does not.
    pub fn check(&self) -> Result<(), ConfigError> {
        open("alpha", self.alpha)?;
        range(
            "the part of alpha for late",
            self.late,
            "at least 0, below 1",
            (0.0..1.0).contains(&self.late),
        )?;
        open("the alpha of promotion", self.alpha_promotion)?;
        range("the length of a block", 0.0, "above 0", self.block_millis > 0)?;
        range("the cap", 0.0, "above 0", self.cap != Some(0))?;
        self.check_numbers()?;
        let mut names = BTreeSet::new();
        for name in self.metrics.iter().map(|m| &m.name).chain(self.limits.iter().map(|l| &l.name)) {
            if name.is_empty() || name.len() > MAX_NAME || !names.insert(name) {
                return Err(ConfigError::Name(name.clone()));
            }
        }
        self.metrics.iter().try_for_each(check_metric)?;
        self.limits.iter().try_for_each(check_limit)?;
        let weights: f64 = self.metrics.iter().map(|metric| metric.weight).sum();
        if !self.metrics.is_empty() && (weights - 1.0).abs() > 1e-9 {
            return Err(ConfigError::Weights(weights));
        }
        Ok(())
    }

    fn check_numbers(&self) -> Result<(), ConfigError> {
        let latencies = self.metrics.iter().filter(|metric| matches!(metric.kind, Kind::Latency { .. }));
        let counts = [
            ("metrics", self.metrics.len(), MAX_METRICS),
            ("latency metrics", latencies.count(), MAX_LATENCIES),
            ("tests (thresholds and shares)", self.metrics.iter().map(Metric::tests).sum(), MAX_TESTS),
            ("limits", self.limits.len(), MAX_LIMITS),
        ];
        for (what, count, most) in counts {
            if count > most {
                return Err(ConfigError::TooMany { what, count, most });
            }
        }
        if self.metrics.is_empty() && self.limits.is_empty() {
            return Err(ConfigError::Nothing);
        }
        Ok(())
    }
}

fn range(what: impl Into<String>, value: f64, range: &'static str, holds: bool) -> Result<(), ConfigError> {
    if holds { Ok(()) } else { Err(ConfigError::Range { what: what.into(), value, range }) }
}

fn open(what: impl Into<String>, value: f64) -> Result<(), ConfigError> {
    range(what, value, "above 0 and below 1", value > 0.0 && value < 1.0)
}

fn check_tolerance(of: &str, tolerance: &Tolerance) -> Result<(), ConfigError> {
    let Tolerance { margin: Margin { ratio: r, difference: d }, d_max } = *tolerance;
    range(format!("r of {of}"), r, "above 0, at most 100", r > 0.0 && r <= 100.0)?;
    range(format!("d of {of}"), d, "at least 0, below 1", (0.0..1.0).contains(&d))?;
    d_max.map_or(Ok(()), |d_max| {
        range(format!("d_max of {of}"), d_max, "above d, below 1", d_max > d && d_max < 1.0)
    })
}

fn check_metric(metric: &Metric) -> Result<(), ConfigError> {
    let Metric { name, weight, kind } = metric;
    range(format!("the weight of {name}"), *weight, "above 0, at most 1", *weight > 0.0 && *weight <= 1.0)?;
    match kind {
        Kind::Share { tolerance, fixed } => {
            check_tolerance(name, tolerance)?;
            let rates = fixed.iter().flat_map(|fixed| [fixed.canary, fixed.baseline]);
            rates.into_iter().try_for_each(|rate| {
                range(format!("an alternative of {name}"), rate, "from 0 to 1", (0.0..=1.0).contains(&rate))
            })
        }
        Kind::Latency { thresholds } => {
            range(format!("the number of thresholds of {name}"), 0.0, "above 0", !thresholds.is_empty())?;
            thresholds.iter().try_for_each(|threshold| {
                open(format!("a quantile of {name}"), threshold.quantile)?;
                check_tolerance(name, &threshold.tolerance)
            })
        }
    }
}

fn check_limit(limit: &Limit) -> Result<(), ConfigError> {
    let Limit { name, metric, slower_than, over, at_least } = limit;
    if metric.is_empty() || metric.len() > MAX_NAME {
        return Err(ConfigError::Name(metric.clone()));
    }
    range(format!("the limit {name}"), *over, "at least 0, below 1", (0.0..1.0).contains(over))?;
    range(format!("the requests of {name}"), 0.0, "above 0", *at_least > 0)?;
    let seconds = slower_than.unwrap_or(1.0);
    range(format!("the latency of {name}"), seconds, "above 0", seconds > 0.0 && seconds.is_finite())
}
