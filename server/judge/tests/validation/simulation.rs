//! Simulated canaries: bad requests are drawn, the judge looks after every block. The power example runs them as well.

use handover_judge::{Block, Config, Counts, HostBlock, Judge, Observed, Reading};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

/// How many of n requests are bad, each with chance p: drawn from the table of its distribution.
#[derive(Debug)]
pub struct Binomial {
    requests: u64,
    least: u64,
    cumulative: Vec<f64>,
}

impl Binomial {
    /// The table of `requests` and `rate`, without what has a chance below 1e-18 of the likeliest.
    pub fn new(requests: u64, rate: f64) -> Self {
        let n = requests as f64;
        if rate <= 0.0 || rate >= 1.0 || requests == 0 {
            return Self { requests, least: if rate >= 1.0 { requests } else { 0 }, cumulative: vec![1.0] };
        }
        let odds = rate / (1.0 - rate);
        let mode = ((n + 1.0) * rate).floor().min(n) as u64;
        let steps = |from: u64, next: fn(u64) -> Option<u64>, factor: &dyn Fn(f64) -> f64| {
            let (mut at, mut weight, mut weights) = (from, 1.0, Vec::new());
            while weight > 1e-18 && at <= requests {
                weights.push(weight);
                weight *= factor(at as f64);
                let Some(next) = next(at) else { break };
                at = next;
            }
            weights
        };
        let up = steps(mode, |at| at.checked_add(1), &|at| odds * (n - at) / (at + 1.0));
        let mut weights = steps(mode, |at| at.checked_sub(1), &|at| at / (odds * (n - at + 1.0)));
        let least = mode + 1 - weights.len() as u64;
        weights.reverse();
        weights.extend(&up[1..]);
        let total: f64 = weights.iter().sum();
        let mut sum = 0.0;
        let cumulative = weights.iter().map(|weight| {
            sum += weight / total;
            sum
        });
        Self { requests, least, cumulative: cumulative.collect() }
    }

    /// Draws once.
    pub fn draw(&self, random: &mut SmallRng) -> Counts {
        let drawn: f64 = random.random();
        let at = self.cumulative.partition_point(|sum| *sum <= drawn).min(self.cumulative.len() - 1);
        Counts::new(self.requests, self.least + at as u64).unwrap()
    }
}

/// Both arms' distributions in one block.
#[derive(Debug)]
pub struct Arms {
    canary: Binomial,
    baseline: Binomial,
}

impl Arms {
    /// `n_c` requests of the canary at rate `p_c`, `n_b` of the baseline at `p_b`.
    pub fn new((n_c, p_c): (u64, f64), (n_b, p_b): (u64, f64)) -> Self {
        Self { canary: Binomial::new(n_c, p_c), baseline: Binomial::new(n_b, p_b) }
    }

    /// Draws a block.
    pub fn draw(&self, random: &mut SmallRng) -> HostBlock<Counts> {
        let canary = Reading::Counted(self.canary.draw(random));
        HostBlock { canary, baseline: Reading::Counted(self.baseline.draw(random)) }
    }
}

/// The generator of one deployment of one experiment.
pub fn generator(seed: u64, deployment: u64) -> SmallRng {
    SmallRng::seed_from_u64(seed.wrapping_mul(1_000_003).wrapping_add(deployment))
}

/// What a deployment is watched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    Failed,
    Passed,
}

/// A canary of one host: `watched` blocks of the baseline alone, then at most `blocks` with the canary.
#[derive(Clone, Debug)]
pub struct Canary {
    pub config: Config,
    pub watched: u64,
    pub blocks: u64,
}

impl Canary {
    /// With the usual settings, 5 minutes watched, 30 minutes judged.
    pub fn usual() -> Self {
        Self { config: Config::default(), watched: 30, blocks: 180 }
    }

    /// In which block, counted from 1, it failed or passed; `None` where it did not.
    pub fn run(
        &self,
        until: Until,
        random: &mut SmallRng,
        before: &Arms,
        mut block: impl FnMut(u64, &mut SmallRng) -> HostBlock<Counts>,
    ) -> Option<u64> {
        let mut judge = Judge::new(self.config.clone()).unwrap();
        for _ in 0..self.watched {
            let hosts = [HostBlock { canary: Reading::Absent, ..before.draw(random) }];
            judge.watch(&Block::from([("errors", Observed::Counts(&hosts))]));
        }
        (1..=self.blocks).find(|number| {
            let hosts = [block(*number, random)];
            judge.observe(&Block::from([("errors", Observed::Counts(&hosts))]));
            match until {
                Until::Failed => judge.failure().is_some(),
                Until::Passed => judge.passes(),
            }
        })
    }

    /// When each of `deployments` at steady rates failed or passed.
    pub fn steady(&self, until: Until, seed: u64, deployments: u64, arms: &Arms) -> Vec<Option<u64>> {
        let one = |deployment| {
            let mut random = generator(seed, deployment);
            self.run(until, &mut random, arms, |_, random| arms.draw(random))
        };
        (0..deployments).map(one).collect()
    }
}

/// The share of deployments that ended.
pub fn share(ends: &[Option<u64>]) -> f64 {
    ends.iter().flatten().count() as f64 / ends.len() as f64
}

/// The block by which this part of all deployments has ended; `None` where fewer have.
pub fn quantile(ends: &[Option<u64>], part: f64) -> Option<u64> {
    let mut ended: Vec<u64> = ends.iter().flatten().copied().collect();
    ended.sort_unstable();
    let at = (part * ends.len() as f64).ceil() as usize;
    ended.get(at.max(1) - 1).copied()
}
