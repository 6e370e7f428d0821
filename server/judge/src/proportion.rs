//! The sequential test of one proportion: the products of block values, and what was learnt for the next block.

use crate::{
    Claim, Comparison, Counts, HostBlock, Margin, Rates, Skip, Tally, Tolerance,
    dispersion::Dispersion,
    evidence::{log_mean, log_value},
    gathered::{Cap, Compared, Gathered, Pair, gather},
    late::Late,
};
use std::array;

/// What is left of a block's weight in the baseline's learnt rate one block later.
pub(crate) const DECAY: f64 = 0.97;
/// The alternatives: so many times the tolerated rate.
const MULTIPLES: [f64; 5] = [1.5, 3.0, 6.0, 12.0, 30.0];
/// No multiple goes beyond this rate.
const MOST: f64 = 0.97;
/// The adaptive alternative is at least so many times the tolerated rate.
const ADAPTIVE_LEAST: f64 = 1.2;
/// For the outlook alone: the canary's rate is taken as if it had had so many requests more at the baseline's.
const PRIOR_REQUESTS: f64 = 10.0;
/// One of the fixed multiples each, then the adaptive one.
pub(crate) const ALTERNATIVES: usize = MULTIPLES.len() + 1;

/// How a test is done; from the configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) tolerance: Tolerance,
    pub(crate) fixed: Option<Rates>,
    pub(crate) comparison: Comparison,
    pub(crate) cap: Option<u32>,
    pub(crate) over_dispersion: bool,
}

/// The state of one test.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Proportion {
    /// The logarithm of each alternative's product. With a fixed alternative all are the same.
    products: [f64; ALTERNATIVES],
    late: Late,
    /// The logarithm of the mirror process.
    promotion: f64,
    /// The baseline's requests and bad ones, decayed.
    baseline: Tally,
    /// The canary's, as compared, from the start on.
    canary: Tally,
    dispersion: Dispersion,
    pace: Pace,
    /// Canary requests, bad ones, baseline requests, bad ones, of the blocks that were judged.
    raw: [u64; 4],
}

/// Sizes of late blocks, decayed: how fast requests come.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Pace {
    blocks: f64,
    canary_requests: f64,
    /// Of these the requests alone.
    compared: Pair,
}

/// How much longer it takes, as the present estimates have it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Distance {
    pub(crate) blocks: f64,
    pub(crate) canary_requests: f64,
}

/// The logarithms at which a canary fails.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Of the products over all blocks.
    pub(crate) whole: f64,
    /// Of the process that may have begun in any block; infinite where it has no part of alpha.
    pub(crate) late: f64,
}

impl Proportion {
    /// A test whose baseline was seen before: `requests` with `bad` bad ones, decayed.
    pub(crate) fn seeded(baseline: Tally) -> Self {
        Self { baseline, ..Self::default() }
    }

    /// Takes in one block. What it is judged by was learnt before it.
    pub(crate) fn observe(&mut self, hosts: &[HostBlock<Counts>], rules: &Rules) -> Result<(), Skip> {
        let gathered = gather(hosts, rules.comparison, self.cap(rules));
        if let Ok(compared) = &gathered.compared {
            self.judge(compared, rules);
        }
        self.learn(&gathered);
        gathered.compared.map(|_| ())
    }

    /// Takes in a block of the baseline alone, before there is a canary.
    pub(crate) fn watch(&mut self, hosts: &[HostBlock<Counts>], rules: &Rules) {
        let mut gathered = gather(hosts, rules.comparison, None);
        gathered.compared = Err(Skip::NoCanary);
        self.learn_baseline(&gathered);
    }

    /// The mirror process begins anew: each step of a deployment has its own.
    pub(crate) fn begin_step(&mut self) {
        self.promotion = 0.0;
    }

    /// ln E.
    pub(crate) fn log_e(&self) -> f64 {
        log_mean(self.products.iter().copied())
    }

    /// ln E of the process that may have begun in any block.
    pub(crate) fn log_late(&self) -> f64 {
        self.late.log_e()
    }

    /// The logarithm of the mirror process.
    pub(crate) const fn log_promotion(&self) -> f64 {
        self.promotion
    }

    /// Canary requests, bad ones, baseline requests, bad ones, of the blocks that were judged.
    pub(crate) const fn raw(&self) -> [u64; 4] {
        self.raw
    }

    pub(crate) fn over_dispersion(&self, rules: &Rules) -> f64 {
        if rules.over_dispersion { self.dispersion.factor() } else { 1.0 }
    }

    fn cap(&self, rules: &Rules) -> Option<Cap> {
        let baseline = self.baseline.share();
        let canary = rules.tolerance.margin.tolerated(baseline);
        rules.cap.map(|bad| Cap { bad: bad.into(), canary, baseline })
    }

    fn alternatives(&self, rules: &Rules) -> [Rates; ALTERNATIVES] {
        if let Some(fixed) = rules.fixed {
            return [fixed; ALTERNATIVES];
        }
        let baseline = self.baseline.share();
        let tolerated = rules.tolerance.margin.tolerated(baseline);
        array::from_fn(|index| {
            let canary = match MULTIPLES.get(index) {
                Some(multiple) => (multiple * tolerated).min(MOST),
                None => self.canary.share().max((ADAPTIVE_LEAST * tolerated).min(MOST)),
            };
            Rates { canary, baseline }
        })
    }

    /// The alternative of the mirror process, with its margin; `None` where nothing is to be promoted.
    fn mirror(&self, rules: &Rules) -> Option<(Rates, Margin)> {
        let baseline = rules.fixed.map_or_else(|| self.baseline.share(), |fixed| fixed.baseline);
        let margin = Margin { difference: rules.tolerance.d_max?, ..rules.tolerance.margin };
        Some((Rates { canary: baseline, baseline }, margin))
    }

    fn judge(&mut self, compared: &Compared, rules: &Rules) {
        // A power of S below 1 keeps its expectation at most 1: dividing all counts of a block is always allowed.
        let weight = 1.0 / self.over_dispersion(rules);
        let Pair { canary, baseline } = compared.against.scaled(weight);
        let alternatives = self.alternatives(rules);
        let margin = rules.tolerance.margin;
        let values =
            alternatives.map(|alternative| log_value(canary, baseline, alternative, margin, Claim::Worse));
        self.products.iter_mut().zip(values).for_each(|(product, value)| *product += value);
        self.late.observe(values);
        if let Some((alternative, margin)) = self.mirror(rules) {
            let Pair { canary, baseline } = compared.for_it.scaled(weight);
            self.promotion += log_value(canary, baseline, alternative, margin, Claim::NotWorse);
        }
        self.raw.iter_mut().zip(compared.raw).for_each(|(sum, more)| *sum = sum.saturating_add(more));
    }

    fn learn(&mut self, gathered: &Gathered) {
        let Pace { blocks, canary_requests, compared } = self.pace;
        let block = gathered.compared.as_ref().map_or_else(|_| Pair::default(), |compared| compared.against);
        let mut sizes = compared.scaled(DECAY);
        sizes.canary.requests += block.canary.requests;
        sizes.baseline.requests += block.baseline.requests;
        let canary_requests = DECAY * canary_requests + gathered.canary_requests;
        self.pace = Pace { blocks: DECAY * blocks + 1.0, canary_requests, compared: sizes };
        self.canary.add(block.canary, 1.0);
        self.learn_baseline(gathered);
    }

    fn learn_baseline(&mut self, gathered: &Gathered) {
        let [a, b] = gathered.halves;
        let mut seen = a;
        seen.add(b, 1.0);
        if let Ok(compared) = &gathered.compared {
            seen = compared.counted.baseline;
        }
        if seen.requests > 0.0 {
            self.baseline = self.baseline.scaled(DECAY);
            self.baseline.add(seen, 1.0);
        }
        self.dispersion.observe(gathered.halves);
    }
}

/// The outlook: nothing of it enters a decision.
impl Proportion {
    /// How far it is until the mean of the products, or the late process, has this logarithm; `None` where they do not
    /// grow at the present rates.
    pub(crate) fn distance_to_fail(&self, bounds: Bounds, rules: &Rules) -> Option<Distance> {
        let expected = self.expected_block(rules)?;
        let margin = rules.tolerance.margin;
        #[expect(clippy::cast_precision_loss, reason = "a handful")]
        let products = if rules.fixed.is_some() { 1.0 } else { ALTERNATIVES as f64 };
        let logs = self.products.iter().zip(self.late.sums());
        let blocks =
            self.alternatives(rules).into_iter().zip(logs).filter_map(|(alternative, (whole, late))| {
                let growth = log_value(expected.canary, expected.baseline, alternative, margin, Claim::Worse);
                let missing = (bounds.whole - whole).min(bounds.late - late);
                blocks(missing + products.ln(), growth)
            });
        self.distance(blocks.reduce(f64::min)?)
    }

    /// How far it is until the mirror process has this logarithm; `None` where it does not grow, or nothing is promoted.
    pub(crate) fn distance_to_pass(&self, bound: f64, rules: &Rules) -> Option<Distance> {
        let expected = self.expected_block(rules)?;
        let (alternative, margin) = self.mirror(rules)?;
        let growth = log_value(expected.canary, expected.baseline, alternative, margin, Claim::NotWorse);
        self.distance(blocks(bound - self.promotion, growth)?)
    }

    /// A mean late block, at the rates as they are estimated; `None` without requests.
    fn expected_block(&self, rules: &Rules) -> Option<Pair> {
        let Pace { blocks, compared: Pair { canary, baseline }, .. } = self.pace;
        if canary.requests <= 0.0 || baseline.requests <= 0.0 {
            return None;
        }
        let of_baseline = self.baseline.share();
        let of_canary =
            (self.canary.bad + PRIOR_REQUESTS * of_baseline) / (self.canary.requests + PRIOR_REQUESTS);
        let tally = |requests: f64, rate: f64| Tally { requests, bad: requests * rate };
        let mean = Pair {
            canary: tally(canary.requests, of_canary),
            baseline: tally(baseline.requests, of_baseline),
        };
        Some(mean.scaled(1.0 / (blocks * self.over_dispersion(rules))))
    }

    fn distance(&self, blocks: f64) -> Option<Distance> {
        let canary_requests = blocks * self.pace.canary_requests / self.pace.blocks;
        canary_requests.is_finite().then_some(Distance { blocks, canary_requests })
    }
}

/// How many blocks of this growth make up what is missing.
fn blocks(missing: f64, growth: f64) -> Option<f64> {
    (growth > 0.0).then(|| missing.max(0.0) / growth)
}

/// Its numbers, for the saved state.
impl Proportion {
    pub(crate) fn numbers(&self) -> Vec<u64> {
        let Self { products, late, promotion, baseline, canary, dispersion, pace, raw } = self;
        let Pace { blocks, canary_requests, compared } = pace;
        let rest = [*promotion, baseline.requests, baseline.bad, canary.requests, canary.bad];
        let paced = [*blocks, *canary_requests, compared.canary.requests, compared.baseline.requests];
        let rest = rest.iter().chain(&paced).copied().chain(dispersion.numbers()).chain([late.blocks()]);
        let floats = products.iter().chain(late.sums()).copied().chain(rest);
        floats.map(f64::to_bits).chain(raw.iter().copied()).collect()
    }

    /// `None` where there are too few or too many, or one is no number.
    pub(crate) fn of_numbers(numbers: &[u64]) -> Option<Self> {
        let (floats, raw) = numbers.split_last_chunk::<4>()?;
        let floats: Vec<f64> = floats.iter().map(|bits| f64::from_bits(*bits)).collect();
        let (products, rest) = floats.split_first_chunk::<ALTERNATIVES>()?;
        let (late, rest) = rest.split_first_chunk::<ALTERNATIVES>()?;
        if products.iter().chain(rest).any(|float| !float.is_finite()) {
            return None;
        }
        let (&[promotion, b_requests, b_bad, c_requests, c_bad], rest) = rest.split_first_chunk::<5>()?;
        let (&[blocks, canary_requests, of_canary, of_baseline], rest) = rest.split_first_chunk::<4>()?;
        let (&late_blocks, dispersion) = rest.split_last()?;
        let tally = |requests, bad| Tally { requests, bad };
        let compared = Pair { canary: tally(of_canary, 0.0), baseline: tally(of_baseline, 0.0) };
        Some(Self {
            products: *products,
            late: Late::of(*late, late_blocks)?,
            promotion,
            baseline: tally(b_requests, b_bad),
            canary: tally(c_requests, c_bad),
            dispersion: Dispersion::of_numbers(dispersion.try_into().ok()?),
            pace: Pace { blocks, canary_requests, compared },
            raw: *raw,
        })
    }
}
