//! Simulated canaries of a release against itself: its own blocks, in another order, each request given to one of the arms.
//! Pure: the same seed gives the same.

use super::split::{Clumps, split};
use crate::fleet::{Arms, LEARNT, halves, judge_settings};
use handover_judge::{Comparison, Config, ConfigError, Judge, Reading};
use handover_model::{
    Traffic,
    config::{Inconclusive, JudgeConfig},
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};

/// So many blocks in a row are taken from one place: what lasts some blocks does so in a simulation, too.
const PIECE: usize = 10;
/// No simulated deployment has more blocks.
const MOST_BLOCKS: u64 = 2_000;

/// A step of a canary, in blocks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Step {
    /// The canary's part of the requests on its groups, above 0.
    pub(super) share: f64,
    /// On so much of the hosts, above 0.
    pub(super) hosts: f64,
    pub(super) bake: u64,
    /// So much longer the judge may take.
    pub(super) within: u64,
}

/// What is simulated.
#[derive(Debug)]
pub(super) struct Simulation<'a> {
    /// Of each block what the groups of hosts did; not empty.
    pub(super) blocks: &'a [Vec<Traffic>],
    pub(super) judge: JudgeConfig,
    pub(super) steps: Vec<Step>,
}

/// How one ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It was taken for worse than it is, in this step, by this metric or limit.
    Alarm { step: usize, by: String },
    /// Every step passed.
    Passed { blocks: u64 },
    /// A step came to no verdict in time.
    NoVerdict { step: usize },
}

impl Simulation<'_> {
    fn config(&self) -> Config {
        let latency = self.blocks.iter().flatten().any(|traffic| traffic.latency.is_some());
        let alone = self.steps.iter().any(|step| step.share >= 1.0);
        let comparison = if alone { Comparison::AcrossHosts } else { Comparison::WithinHosts };
        judge_settings(&self.judge, comparison, latency)
    }

    /// How much more the release's bad requests, and its slow ones, vary than independent ones would: at least 1.
    ///
    /// # Errors
    /// Where the settings make no judge.
    pub(super) fn over_dispersion(&self) -> Result<[f64; 2], ConfigError> {
        let mut judge = Judge::new(self.config())?;
        let of = |judge: &Judge, first: bool| {
            let metrics = judge.judgement().metrics;
            let chosen = metrics.iter().enumerate().filter(|(place, _)| (*place == 0) == first);
            chosen.map(|(_, metric)| metric.over_dispersion).fold(1.0, f64::max)
        };
        self.watch(&mut judge, self.blocks.iter());
        let bad = of(&judge, true);
        // A latency's thresholds are fixed by its first block with a canary; from then on its slow requests are counted.
        judge.observe(&Arms::default().block());
        self.watch(&mut judge, self.blocks.iter());
        Ok([bad, of(&judge, false)])
    }

    fn watch<'b>(&self, judge: &mut Judge, blocks: impl Iterator<Item = &'b Vec<Traffic>>) {
        for groups in blocks {
            let mut arms = Arms::default();
            for half in halves(groups) {
                arms.push(&Reading::Absent, &half.map_or(Reading::Absent, Reading::Counted));
            }
            judge.watch(&arms.block());
        }
    }

    /// One deployment; its number and the seed say which.
    ///
    /// # Errors
    /// Where the settings make no judge.
    pub(super) fn run(&self, clumps: Clumps, seed: u64, number: u64) -> Result<End, ConfigError> {
        let mut random = StdRng::seed_from_u64(seed.wrapping_mul(1_000_003).wrapping_add(number));
        let mut judge = Judge::new(self.config())?;
        let mut tape = Tape { blocks: self.blocks, at: 0, left: 0 };
        let learnt: Vec<_> = (0..LEARNT.min(self.blocks.len())).map(|_| tape.next(&mut random)).collect();
        self.watch(&mut judge, learnt.into_iter());
        let groups = self.blocks.iter().map(Vec::len).max().unwrap_or(0);
        let mut order: Vec<usize> = (0..groups).collect();
        order.shuffle(&mut random);
        let mut blocks = 0;
        for (number, step) in self.steps.iter().enumerate() {
            judge.begin_step();
            let mut passed = false;
            for block in 1..=step.bake.max(1).saturating_add(step.within) {
                blocks += 1;
                if blocks > MOST_BLOCKS {
                    return Ok(End::NoVerdict { step: number });
                }
                let mut arms = Arms::default();
                for (group, traffic) in tape.next(&mut random).iter().enumerate() {
                    let place = order.iter().position(|of| *of == group).unwrap_or(0);
                    match place < step.of(groups) {
                        true => {
                            let [canary, baseline] = split(traffic, step.share, clumps, &mut random);
                            arms.push(&canary, &baseline);
                        }
                        false => arms.push(&Reading::Absent, &Reading::Counted(traffic.clone())),
                    }
                }
                judge.observe(&arms.block());
                if let Some(failure) = judge.failure() {
                    return Ok(End::Alarm { step: number, by: failure.name.clone() });
                }
                passed = block >= step.bake && judge.passes();
                if passed {
                    break;
                }
            }
            if !passed && self.judge.inconclusive != Inconclusive::GoOn {
                return Ok(End::NoVerdict { step: number });
            }
        }
        Ok(End::Passed { blocks })
    }
}

impl Step {
    /// How many of so many groups of hosts, rounded up.
    fn of(&self, groups: usize) -> usize {
        #[expect(clippy::cast_precision_loss, reason = "a handful of groups")]
        let part = self.hosts * groups as f64;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most the groups")]
        let chosen = part.ceil() as usize;
        chosen.clamp(1, groups.max(1))
    }
}

/// The recorded blocks in pieces from random places, for as long as one likes.
struct Tape<'a> {
    blocks: &'a [Vec<Traffic>],
    at: usize,
    left: usize,
}

impl<'a> Tape<'a> {
    fn next(&mut self, random: &mut StdRng) -> &'a Vec<Traffic> {
        if self.left == 0 {
            self.at = random.random_range(0..self.blocks.len());
            self.left = PIECE;
        }
        let block = &self.blocks[self.at % self.blocks.len()];
        (self.at, self.left) = (self.at + 1, self.left - 1);
        block
    }
}

#[cfg(test)]
mod tests {
    use super::super::split::binomial;
    use super::*;
    use handover_model::config::Manifest;

    /// Blocks of two groups with so many requests each, of which this part is bad, in bursts of so many.
    fn blocks(requests: u64, part: f64, burst: u64) -> Vec<Vec<Traffic>> {
        let mut random = StdRng::seed_from_u64(3);
        let group = |random: &mut StdRng| {
            let bad = binomial(requests / burst, part, random) * burst;
            Traffic { requests, bad, latency: None }
        };
        (0..120).map(|_| vec![group(&mut random), group(&mut random)]).collect()
    }

    fn simulation<'a>(blocks: &'a [Vec<Traffic>], judge: &str) -> Simulation<'a> {
        let text = format!("service = \"web\"\ncommand = [\"web\"]\n[judge]\n{judge}\n");
        let judge = Manifest::parse(&text).unwrap().judge;
        let step = |share| Step { share, hosts: 1.0, bake: 6, within: 60 };
        Simulation { blocks, judge, steps: [0.05, 0.25, 0.5].map(step).to_vec() }
    }

    fn ends(simulation: &Simulation<'_>, clumps: Clumps) -> (usize, usize, usize) {
        let ends: Vec<End> = (0..300).map(|run| simulation.run(clumps, 1, run).unwrap()).collect();
        let count = |wanted: fn(&End) -> bool| ends.iter().filter(|end| wanted(end)).count();
        (
            count(|end| matches!(end, End::Alarm { .. })),
            count(|end| matches!(end, End::Passed { .. })),
            count(|end| matches!(end, End::NoVerdict { .. })),
        )
    }

    #[test]
    fn a_release_passes_against_itself_and_the_same_seed_gives_the_same() {
        let blocks = blocks(500, 0.01, 1);
        let simulation = simulation(&blocks, "");
        let (alarms, passed, _) = ends(&simulation, Clumps::NONE);
        assert!(alarms <= 3 && passed > 280, "{alarms} alarms, {passed} passed");
        let once = |number| simulation.run(Clumps::NONE, 9, number).unwrap();
        assert_eq!((0..20).map(once).collect::<Vec<_>>(), (0..20).map(once).collect::<Vec<_>>());
    }

    #[test]
    fn with_no_traffic_there_is_no_verdict_and_with_little_some() {
        let nothing = blocks(0, 0.0, 1);
        assert_eq!(ends(&simulation(&nothing, ""), Clumps::NONE), (0, 0, 300));
        let on = simulation(&nothing, "inconclusive = \"go-on\"");
        assert_eq!(ends(&on, Clumps::NONE), (0, 300, 0), "the policy lets it go on");
    }

    #[test]
    fn a_limit_near_the_true_rate_fails_good_releases_and_is_seen_to() {
        let blocks = blocks(500, 0.01, 1);
        let tight = simulation(&blocks, "max_errors = \"1%\"");
        let by = |number| match tight.run(Clumps::NONE, 1, number).unwrap() {
            End::Alarm { by, .. } => by,
            other => format!("{other:?}"),
        };
        let alarms = (0..50).filter(|number| by(*number) == "max_errors").count();
        assert!(alarms > 40, "{alarms} of 50");
    }

    #[test]
    fn bursts_that_go_to_one_arm_raise_the_alarms_and_a_cap_lowers_them() {
        // Some ten bad requests every three minutes, as one client that tries again makes them.
        let blocks = blocks(100, 1.0 / 360.0, 10);
        let clumps = Clumps { bad: 10, slow: 1 };
        let alarms = |judge: &str, clumps| {
            let mut simulation = simulation(&blocks, judge);
            simulation.steps.iter_mut().for_each(|step| step.bake = 60);
            ends(&simulation, clumps).0
        };
        let (apart, together) = (alarms("", Clumps::NONE), alarms("", clumps));
        let capped = alarms("cap = 1", clumps);
        println!("alarms of 300: apart {apart}, together {together}, with a cap {capped}");
        assert!(together > apart + 5 && capped * 2 < together, "{apart}, {together}, {capped}");
    }

    #[test]
    fn bursts_are_seen_in_the_blocks_and_independent_errors_are_not_taken_for_some() {
        let bursts = blocks(500, 0.01, 10);
        let [bad, _] = simulation(&bursts, "").over_dispersion().unwrap();
        assert!((5.0..20.0).contains(&bad), "bursts of ten make a factor of {bad}");
        let apart = blocks(500, 0.02, 1);
        assert_eq!(simulation(&apart, "").over_dispersion().unwrap(), [1.0, 1.0]);
    }

    #[test]
    fn a_step_by_hosts_has_a_canary_on_some_groups_alone() {
        let blocks = blocks(500, 0.01, 1);
        let mut by_hosts = simulation(&blocks, "");
        by_hosts.steps = vec![Step { share: 1.0, hosts: 0.3, bake: 6, within: 60 }];
        assert_eq!(by_hosts.config().comparison, Comparison::AcrossHosts);
        let (alarms, passed, _) = ends(&by_hosts, Clumps::NONE);
        assert!(alarms <= 3 && passed > 280, "{alarms} alarms, {passed} passed");
    }
}
