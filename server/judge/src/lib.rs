//! The canary judge: whether a new release is worse than the old one, by their counts.
//!
//! [`Judge`] takes one [`Block`] of wall time after the other and says `pass`, `fail` or `needs more data`. It promises:
//!
//! * Pure: no clock, no I/O, no runtime. A block is whatever the caller says it is.
//! * It may be looked at after every block. The chance that a canary which is as good as tolerated ever fails, over the
//!   whole deployment and all metrics, is at most `alpha`: each metric is a test by betting (an e-process), which fails
//!   at 1 / (alpha times weight). Passing is a proof too, in the other direction.
//! * Both arms are compared in the same blocks, on the same hosts where they are: what hits both does not count.
//! * [`State`] continues exactly where the judge was: over a crash no sum begins anew.
//!
//! What it rests on: requests of one block are independent, given the rates of that block. Where they are not, `cap` and
//! the estimated over-dispersion of [`Config`] bound the harm. Whoever reads the metrics counts at most one bad request per
//! key (client, session) and block, where a key is known.
//!
//! Beside it stand [`Ceilings`]: what no instance of the canary may use of its host. No statistics, and no part of `alpha`.
//!
//! Not its business: exits, failed liveness checks and out-of-memory kills of a canary, which end it without statistics;
//! deadlines, which are the caller's ([`Judge::at_deadline`] is asked then); where counts come from.
//!
//! `docs/judge.md` has the method with its proofs, sources, error bounds and what it cannot see.

mod ceiling;
mod check;
mod config;
mod counts;
mod decimal;
mod dispersion;
mod evidence;
mod gathered;
mod histogram;
mod judge;
mod late;
mod limit;
mod metric;
mod packed;
mod projection;
mod proportion;
mod reading;
mod state;
mod verdict;
mod watched;

#[cfg(test)]
mod tests;

pub use ceiling::{Amount, Ceiling, CeilingReport, Ceilings, HostUses, MAX_CEILINGS, Resource, Used, Uses};
pub use check::ConfigError;
pub use config::{
    Alternative, Comparison, Config, Counted, Kind, Limit, MAX_LATENCIES, MAX_LIMITS, MAX_METRICS, MAX_NAME,
    MAX_TESTS, Margin, Metric, Threshold, Tolerance,
};
pub use counts::{Counts, CountsError, MAX_REQUESTS, Tally};
pub use evidence::log_value;
pub use gathered::Skip;
pub use histogram::{Histogram, HistogramError, MAX_EDGES};
pub use judge::Judge;
pub use metric::Skipped;
pub use projection::{Claim, Rates, boundary_point};
pub use reading::{Block, HostBlock, Observed, Reading};
pub use state::{State, StateError};
pub use verdict::{
    End, Evidence, Failure, Inconclusive, Judgement, LimitReport, MetricReport, Outlook, Verdict,
};
