//! A canary: how much of the traffic a new release gets step by step, and how it is judged meanwhile.

use super::{Approve, Batch};
use crate::Share;
use std::time::Duration;

/// Most steps of a canary.
pub const MAX_STEPS: usize = 16;

/// A step of a canary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepConfig {
    /// The new release's part of the new connections, on each host of the step.
    pub share: Share,
    /// On so many hosts; never fewer than in the step before.
    pub hosts: Batch,
    /// How long the step must stay healthy; `None`: as long as the rollout's `bake`.
    pub bake: Option<Duration>,
    /// How long the judge may take after that; `None`: as long as the judge's `within`.
    pub within: Option<Duration>,
    /// Whether a person has to promote the release after it.
    pub approve: Approve,
}

impl StepConfig {
    /// That part of the connections on every host.
    #[must_use]
    pub const fn of(share: Share) -> Self {
        Self { share, hosts: Batch::Percent(100), bake: None, within: None, approve: Approve::Auto }
    }
}

/// A share of requests, in millionths: 1 % is 10,000. Whole, so that nothing is lost where it is written and read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Millionths(u32);

impl Millionths {
    /// So many millionths, at most 100 millions (a hundredfold).
    #[must_use]
    pub const fn new(millionths: u32) -> Self {
        Self(millionths)
    }

    /// As a part of 1.
    #[must_use]
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / 1e6
    }
}

/// How a canary is judged. docs/judge.md says what the bounds mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JudgeConfig {
    /// So much of time is counted together and looked at, 1 s to 5 min.
    pub block: Duration,
    /// How long it may take after a step's bake to come to a verdict, 0 to 24 h.
    pub within: Duration,
    /// What happens if it does not.
    pub inconclusive: Inconclusive,
    /// The chance of failing a canary that is as good as tolerated, over the whole deployment.
    pub alpha: Millionths,
    /// The chance of passing a step with a canary that is intolerable.
    pub alpha_promotion: Millionths,
    /// Tolerated is this many times the baseline's share of errors, and `difference` more.
    pub ratio: Millionths,
    /// See [`Self::ratio`].
    pub difference: Millionths,
    /// Intolerable is `ratio` times the baseline's share of errors, and so much more.
    pub intolerable: Millionths,
    /// At most so many errors of a host and a block count, or four times what is expected; 0: all of them.
    pub cap: u32,
    /// Whether latencies are compared where the service has a histogram of them.
    pub latency: bool,
    /// The canary fails where more of its requests are errors, whatever the baseline's are.
    pub max_errors: Option<Millionths>,
    /// The canary fails where more of its requests are slow, whatever the baseline's are.
    pub max_slow: Option<MaxSlow>,
    /// The canary fails where more of its connections were reset, of those that ended, whatever the baseline's are.
    pub max_resets: Option<Millionths>,
    /// The canary fails where an instance of it turns away more connections a minute for some blocks.
    pub max_refused: Option<u32>,
    /// The canary fails where an instance of it has more bytes of memory for some blocks.
    pub max_memory: Option<u64>,
    /// The canary fails where an instance of it takes more of a processor for some blocks, in percent of one.
    pub max_cpu: Option<u32>,
}

/// How many requests may be how slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxSlow {
    /// What takes longer is slow, 1 ms to 1 h.
    pub over: Duration,
    /// So much of the requests may be slow.
    pub share: Millionths,
}

/// What happens where the judge came to no verdict in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inconclusive {
    /// A person decides.
    Hold,
    /// Every touched host goes back.
    Rollback,
    /// The deployment goes on.
    GoOn,
}

impl Default for JudgeConfig {
    fn default() -> Self {
        Self {
            block: Duration::from_secs(10),
            within: Duration::from_secs(600),
            inconclusive: Inconclusive::Hold,
            alpha: Millionths(10_000),
            alpha_promotion: Millionths(50_000),
            ratio: Millionths(1_250_000),
            difference: Millionths(2_000),
            intolerable: Millionths(20_000),
            cap: 0,
            latency: true,
            max_errors: None,
            max_slow: None,
            max_resets: None,
            max_refused: None,
            max_memory: None,
            max_cpu: None,
        }
    }
}
