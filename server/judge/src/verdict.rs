//! What the judge says, and the numbers behind it, in words.

use crate::{Limit, Skipped};
use serde::{Deserialize, Serialize};
use std::fmt;

/// An E value, kept as its natural logarithm: E itself can be beyond what f64 holds.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Evidence {
    ln: f64,
}

impl Evidence {
    /// By its natural logarithm.
    #[must_use]
    pub const fn of_ln(ln: f64) -> Self {
        Self { ln }
    }

    /// Its natural logarithm.
    #[must_use]
    pub const fn ln(self) -> f64 {
        self.ln
    }

    /// Itself; where it is beyond f64, the greatest or least number above 0 that f64 holds.
    #[must_use]
    pub fn value(self) -> f64 {
        self.ln.exp().clamp(f64::MIN_POSITIVE, f64::MAX)
    }
}

impl fmt::Display for Evidence {
    /// With four digits or so: `0.0312`, `226.5`, `23571`, `1.2e57`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (value, log10) = (self.ln.exp(), self.ln / std::f64::consts::LN_10);
        if (1e-3..1e6).contains(&value) {
            let digits = if value >= 1000.0 {
                0
            } else if value >= 100.0 {
                1
            } else if value >= 1.0 {
                2
            } else {
                4
            };
            return write!(f, "{value:.digits$}");
        }
        let exponent = log10.floor();
        let (mantissa, exponent) = match 10f64.powf(log10 - exponent) {
            mantissa if mantissa >= 9.95 => (1.0, exponent + 1.0),
            mantissa => (mantissa, exponent),
        };
        write!(f, "{mantissa:.1}e{exponent}")
    }
}

/// One metric as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricReport {
    /// Its name.
    pub metric: String,
    /// Of a latency: the threshold that the counts are of, seconds; the one with the greatest E.
    pub slower_than: Option<f64>,
    /// The canary's requests in all judged blocks, and the bad ones.
    pub canary: [u64; 2],
    /// The baseline's.
    pub baseline: [u64; 2],
    /// E.
    pub e: Evidence,
    /// The canary fails when E reaches this: 1 / (alpha times the metric's weight, without the part for late ones).
    pub fails_at: Evidence,
    /// E of a canary that turned bad in some block; `None` where it is not looked for.
    pub late: Option<Evidence>,
    /// The canary fails when `late` reaches this; infinite where it is not looked for.
    pub late_fails_at: Evidence,
    /// The promotion process; `None` where the metric is not needed to pass.
    pub promotion: Option<Evidence>,
    /// The canary passes when all metrics' promotion processes have reached this: 1 / alpha of promotion.
    pub passes_at: Evidence,
    /// What counts are divided by.
    pub over_dispersion: f64,
    /// Blocks that were not judged.
    pub skipped: Skipped,
}

impl fmt::Display for MetricReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { metric, canary: [n_c, e_c], baseline: [n_b, e_b], e, fails_at, passes_at, .. } = self;
        write!(f, "{metric}: canary {e_c}/{n_c} ")?;
        match self.slower_than {
            Some(seconds) => write!(f, "slower than {seconds} s")?,
            None => write!(f, "bad")?,
        }
        write!(f, " against baseline {e_b}/{n_b}; E {e}, fails at {fails_at}")?;
        if let Some(late) = self.late.filter(|late| late > e && late.ln() > 0.0) {
            write!(f, "; since a later block {late}, fails at {}", self.late_fails_at)?;
        }
        if let Some(promotion) = self.promotion {
            write!(f, "; promotion {promotion}, passes at {passes_at}")?;
        }
        if self.over_dispersion > 1.0 {
            write!(
                f,
                "; counts divided by {:.1}, as the baseline's bad requests come in bursts",
                self.over_dispersion
            )?;
        }
        match self.skipped.total() {
            0 => Ok(()),
            1 => write!(f, "; 1 block skipped"),
            blocks => write!(f, "; {blocks} blocks skipped"),
        }
    }
}

/// Why a canary failed; it stays failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The metric or limit.
    pub name: String,
    /// The block in which it failed, counted from 1 at the canary's begin.
    pub block: u64,
    /// The numbers, in one line.
    pub line: String,
}

/// What the present estimates let expect. They are estimates: no bound holds for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// No block could be judged yet.
    NoData,
    /// At the present rates neither end is reached: the canary is worse than tolerated and not as bad as intolerable,
    /// or there is nothing by which it could pass.
    Neither,
    /// About so much more is needed.
    Toward {
        /// For what.
        end: End,
        /// Requests to the canary.
        canary_requests: u64,
        /// Milliseconds, at the present rate of requests.
        millis: u64,
    },
}

/// How it may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With a pass.
    Pass,
    /// With a failure.
    Fail,
}

/// Why nothing was found by the deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inconclusive {
    /// A metric that is needed to pass had not one block in this step that could be judged.
    NoTraffic,
    /// There was data, and it was not enough.
    NotEnough,
    /// No metric is there by which the canary could pass.
    NothingToProve,
}

/// What the judge says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every metric that is needed is proven to be better than intolerable.
    Pass,
    /// A metric is worse than tolerated, or a limit was passed.
    Fail(Failure),
    /// Neither yet.
    NeedsMore(Outlook),
    /// Neither by the deadline. What follows is the policy's choice; it is no pass.
    Inconclusive(Inconclusive),
}

impl Verdict {
    /// Its name: `pass`, `fail`, `needs more data`, `inconclusive`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail(_) => "fail",
            Self::NeedsMore(_) => "needs more data",
            Self::Inconclusive(_) => "inconclusive",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Pass => Ok(()),
            Self::Fail(Failure { line, .. }) => write!(f, ": {line}"),
            Self::NeedsMore(outlook) => write!(f, ": {outlook}"),
            Self::Inconclusive(why) => write!(f, ": {why}"),
        }
    }
}

impl fmt::Display for Outlook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoData => f.write_str("no block with requests to both yet"),
            Self::Neither => f.write_str("at the present rates it neither passes nor fails"),
            Self::Toward { end, canary_requests, millis } => {
                let end = match end {
                    End::Pass => "pass",
                    End::Fail => "fail",
                };
                let time = match millis.div_ceil(1000) {
                    seconds @ ..120 => format!("{seconds} s"),
                    seconds @ 120..7200 => format!("{} min", seconds.div_ceil(60)),
                    seconds => format!("{} h", seconds.div_ceil(3600)),
                };
                write!(f, "to {end} about {canary_requests} more canary requests, {time} at the present rate")
            }
        }
    }
}

impl fmt::Display for Inconclusive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoTraffic => "no requests that could be compared by the deadline",
            Self::NotEnough => "not enough requests by the deadline to tell",
            Self::NothingToProve => "no metric is set by which the canary could pass",
        })
    }
}

/// The verdict and the numbers behind it.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// What the judge says.
    pub verdict: Verdict,
    /// Blocks since the canary began, skipped ones too.
    pub blocks: u64,
    /// Each metric, in the order of the settings.
    pub metrics: Vec<MetricReport>,
    /// Each limit, in the order of the settings.
    pub limits: Vec<LimitReport>,
}

/// One plain limit as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct LimitReport {
    /// The limit.
    pub limit: Limit,
    /// The canary's requests of the last run that was long enough, and the bad ones; before there was one, of the first as far as
    /// it is.
    pub canary: [u64; 2],
    /// The baseline's in the same blocks.
    pub baseline: [u64; 2],
}
