//! The judge of one deployment.

use crate::{
    Block, Config, ConfigError, Counted, End, Evidence, Failure, Inconclusive, Judgement, LimitReport,
    Metric, MetricReport, Outlook, Verdict,
    limit::{LimitState, Run},
    metric::{Edge, Ground, MetricState},
    proportion::{Bounds, Distance},
};
use serde::{Deserialize, Serialize};

/// Judges a canary over a whole deployment.
///
/// One judge for one deployment: its error bounds hold over all of its blocks and steps, whenever it is looked at.
/// Beginning anew within a deployment would be a look that nobody counted; that is what [`State`](crate::State) is for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judge {
    config: Config,
    metrics: Vec<MetricState>,
    limits: Vec<LimitState>,
    /// Blocks since the canary began.
    blocks: u64,
    /// For each metric, blocks that were judged in this step.
    in_step: Vec<u64>,
    failure: Option<Failure>,
}

impl Judge {
    /// A judge that has seen nothing.
    ///
    /// # Errors
    /// Where the settings make no sense.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Self {
            metrics: config.metrics.iter().map(MetricState::new).collect(),
            limits: vec![LimitState::default(); config.limits.len()],
            blocks: 0,
            in_step: vec![0; config.metrics.len()],
            failure: None,
            config,
        })
    }

    /// The settings.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Takes in a block from before the canary: the baseline's rates are learnt, latency thresholds are taken from it.
    pub fn watch(&mut self, block: &Block<'_>) {
        for (metric, state) in self.config.metrics.iter().zip(&mut self.metrics) {
            state.watch(block.get(metric.name.as_str()), &Ground::of(&self.config, metric));
        }
    }

    /// Takes in a block, with the canary there. Blocks come in the order of time.
    pub fn observe(&mut self, block: &Block<'_>) {
        self.blocks += 1;
        for ((metric, state), in_step) in
            self.config.metrics.iter().zip(&mut self.metrics).zip(&mut self.in_step)
        {
            let skipped = state.skipped().total();
            state.observe(block.get(metric.name.as_str()), &Ground::of(&self.config, metric));
            *in_step += u64::from(state.skipped().total() == skipped);
        }
        let breach = self.breach(block);
        if self.failure.is_none() {
            self.failure = breach.or_else(|| self.worse());
        }
    }

    /// Why the canary failed, where it did.
    #[must_use]
    pub const fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// Whether all that is needed is proven at this moment, and nothing failed.
    #[must_use]
    pub fn passes(&self) -> bool {
        let proven = |(metric, state): (&Metric, &MetricState)| {
            state.log_promotion(metric).is_some_and(|log| log >= self.passes_at())
        };
        self.failure.is_none() && self.needed().next().is_some() && self.needed().all(proven)
    }

    /// The next step of the deployment begins: what is proven of the last one does not count for it. Evidence that the
    /// canary is worse is kept.
    pub fn begin_step(&mut self) {
        self.metrics.iter_mut().for_each(MetricState::begin_step);
        self.in_step.fill(0);
    }

    /// How it stands.
    #[must_use]
    pub fn judgement(&self) -> Judgement {
        let states = self.config.metrics.iter().zip(&self.metrics);
        let metrics = states.map(|(metric, state)| self.report(metric, state)).collect();
        let limits = self.config.limits.iter().zip(&self.limits);
        let limits = limits.map(|(limit, state)| {
            let Run { canary, baseline } = state.shown();
            LimitReport { limit: limit.clone(), canary, baseline }
        });
        Judgement { verdict: self.verdict(), blocks: self.blocks, metrics, limits: limits.collect() }
    }

    /// How it stands at the step's deadline: what needs more data is inconclusive.
    #[must_use]
    pub fn at_deadline(&self) -> Judgement {
        let mut judgement = self.judgement();
        if let Verdict::NeedsMore(_) = judgement.verdict {
            judgement.verdict = Verdict::Inconclusive(self.why_inconclusive());
        }
        judgement
    }

    /// A limit that this block passed.
    fn breach(&mut self, block: &Block<'_>) -> Option<Failure> {
        let mut failure = None;
        for (limit, state) in self.config.limits.iter().zip(&mut self.limits) {
            let breach = block.get(limit.metric.as_str()).and_then(|observed| state.observe(observed, limit));
            if let Some(Run { canary: [n_c, e_c], baseline: [n_b, e_b] }) = breach {
                let what = match (limit.of, limit.slower_than) {
                    (Counted::Connections, _) => "connections reset".to_owned(),
                    (Counted::Requests, None) => "bad".to_owned(),
                    (Counted::Requests, Some(seconds)) => format!("slower than {seconds} s"),
                };
                let (name, over) = (&limit.name, (limit.over * 1e6).round() / 1e4);
                let line = format!(
                    "limit {name}: canary {e_c}/{n_c} {what} against baseline {e_b}/{n_b}, more than {over} %"
                );
                failure.get_or_insert(Failure { name: name.clone(), block: self.blocks, line });
            }
        }
        failure
    }

    /// A metric that is worse than tolerated.
    fn worse(&self) -> Option<Failure> {
        let mut states = self.config.metrics.iter().zip(&self.metrics);
        let worse = states.find(|(metric, state)| {
            let Bounds { whole, late } = self.fails_at(metric);
            state.log_e() >= whole || state.log_late() >= late
        });
        worse.map(|(metric, state)| {
            let line = self.report(metric, state).to_string();
            Failure { name: metric.name.clone(), block: self.blocks, line }
        })
    }

    fn verdict(&self) -> Verdict {
        if let Some(failure) = &self.failure {
            return Verdict::Fail(failure.clone());
        }
        if self.passes() {
            return Verdict::Pass;
        }
        Verdict::NeedsMore(self.outlook())
    }

    /// The metrics that are needed to pass.
    fn needed(&self) -> impl Iterator<Item = (&Metric, &MetricState)> {
        self.config.metrics.iter().zip(&self.metrics).filter(|(metric, _)| metric.promotes())
    }

    /// ln of 1 / (alpha times weight), for each process by its part.
    fn fails_at(&self, metric: &Metric) -> Bounds {
        let Config { alpha, late, .. } = self.config;
        let bound = |part: f64| -(alpha * metric.weight * part).ln();
        Bounds { whole: bound(1.0 - late), late: bound(late) }
    }

    /// ln of 1 / alpha of promotion.
    fn passes_at(&self) -> f64 {
        -self.config.alpha_promotion.ln()
    }

    fn why_inconclusive(&self) -> Inconclusive {
        if self.needed().next().is_none() {
            return Inconclusive::NothingToProve;
        }
        let mut blocks =
            self.config.metrics.iter().zip(&self.in_step).filter(|(metric, _)| metric.promotes());
        if blocks.any(|(_, judged)| *judged == 0) { Inconclusive::NoTraffic } else { Inconclusive::NotEnough }
    }

    fn outlook(&self) -> Outlook {
        if self.in_step.iter().all(|judged| *judged == 0) {
            return Outlook::NoData;
        }
        let nearer = |a: Distance, b: Distance| if b.blocks < a.blocks { b } else { a };
        let fails = self.config.metrics.iter().zip(&self.metrics).filter_map(|(metric, state)| {
            state.distance_to_fail(self.fails_at(metric), &Ground::of(&self.config, metric))
        });
        let fail = fails.reduce(nearer);
        let passes: Option<Vec<Distance>> = self
            .needed()
            .map(|(metric, state)| {
                state.distance_to_pass(self.passes_at(), &Ground::of(&self.config, metric))
            })
            .collect();
        let pass =
            passes.and_then(|all| all.into_iter().reduce(|a, b| if b.blocks > a.blocks { b } else { a }));
        let (end, distance) = match (fail, pass) {
            (Some(fail), Some(pass)) if fail.blocks < pass.blocks => (End::Fail, fail),
            (_, Some(pass)) => (End::Pass, pass),
            (Some(fail), None) => (End::Fail, fail),
            (None, None) => return Outlook::Neither,
        };
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of a block")]
        let millis = distance.blocks.ceil() * self.config.block_millis as f64;
        Outlook::Toward { end, canary_requests: whole(distance.canary_requests), millis: whole(millis) }
    }

    fn report(&self, metric: &Metric, state: &MetricState) -> MetricReport {
        let strongest =
            state.tests().iter().max_by(|a, b| a.proportion.log_e().total_cmp(&b.proportion.log_e()));
        let [n_c, e_c, n_b, e_b] = strongest.map_or([0; 4], |test| test.proportion.raw());
        MetricReport {
            metric: metric.name.clone(),
            slower_than: strongest.and_then(|test| test.edge).map(|Edge(seconds)| seconds),
            canary: [n_c, e_c],
            baseline: [n_b, e_b],
            e: Evidence::of_ln(state.log_e()),
            fails_at: Evidence::of_ln(self.fails_at(metric).whole),
            late: (self.config.late > 0.0).then(|| Evidence::of_ln(state.log_late())),
            late_fails_at: Evidence::of_ln(self.fails_at(metric).late),
            promotion: state.log_promotion(metric).map(Evidence::of_ln),
            passes_at: Evidence::of_ln(self.passes_at()),
            over_dispersion: state.over_dispersion(&Ground::of(&self.config, metric)),
            skipped: state.skipped(),
        }
    }

    /// Whether the parts fit together; a saved state is checked by it.
    pub(crate) fn is_whole(&self) -> bool {
        let Self { config, metrics, limits, in_step, .. } = self;
        let numbers = metrics.len() == config.metrics.len()
            && in_step.len() == config.metrics.len()
            && limits.len() == config.limits.len();
        numbers && config.metrics.iter().zip(metrics).all(|(metric, state)| state.fits(metric))
    }
}

/// The next whole number, within u64.
fn whole(number: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "`as` saturates, as is wanted"
    )]
    let whole = number.ceil() as u64;
    whole
}
