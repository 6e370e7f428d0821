//! Whether settings make sense.

use crate::{
    Config, Kind, Limit, MAX_LATENCIES, MAX_LIMITS, MAX_METRICS, MAX_NAME, MAX_TESTS, Margin, Metric,
    Tolerance,
};
use std::collections::BTreeSet;

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
    let Limit { name, metric, slower_than, over, at_least, of: _ } = limit;
    if metric.is_empty() || metric.len() > MAX_NAME {
        return Err(ConfigError::Name(metric.clone()));
    }
    range(format!("the limit {name}"), *over, "at least 0, below 1", (0.0..1.0).contains(over))?;
    range(format!("the requests of {name}"), 0.0, "above 0", *at_least > 0)?;
    let seconds = slower_than.unwrap_or(1.0);
    range(format!("the latency of {name}"), seconds, "above 0", seconds > 0.0 && seconds.is_finite())
}
