//! Giving each of a release's requests to one of two arms, at random.

use handover_judge::Reading;
use handover_model::{Latency, Traffic};
use rand::{Rng, rngs::StdRng};

/// How requests are given to the arms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clumps {
    /// So many bad requests stay together, as those of one client would.
    pub(super) bad: u64,
    /// So many requests of one bucket of the histogram do.
    pub(super) slow: u64,
}

impl Clumps {
    /// Each request by itself.
    pub(super) const NONE: Self = Self { bad: 1, slow: 1 };
}

/// What both arms of a split release did: the canary's, then the baseline's.
pub(super) fn split(
    traffic: &Traffic,
    share: f64,
    clumps: Clumps,
    random: &mut StdRng,
) -> [Reading<Traffic>; 2] {
    if share >= 1.0 {
        return [Reading::Counted(traffic.clone()), Reading::Absent];
    }
    let bad = clumped(traffic.bad, clumps.bad, share, random);
    let good = binomial(traffic.requests.saturating_sub(traffic.bad), share, random);
    let canary = Traffic {
        requests: good + bad,
        bad,
        latency: traffic.latency.as_ref().and_then(|latency| {
            let buckets = latency.buckets().iter().map(|count| clumped(*count, clumps.slow, share, random));
            Latency::new(latency.edges().to_vec(), buckets.collect()).ok()
        }),
    };
    let baseline = traffic.since(&canary).map_or(Reading::Absent, Reading::Counted);
    [Reading::Counted(canary), baseline]
}

/// How many of `count` fall to an arm of this share, where so many stay together.
fn clumped(count: u64, together: u64, share: f64, random: &mut StdRng) -> u64 {
    let together = together.max(1);
    let rest = count % together;
    let whole = binomial(count / together, share, random) * together;
    whole + if rest > 0 && random.random_bool(share) { rest } else { 0 }
}

/// How many of `count` happen, each with this chance from 0 to 1, drawn from the exact distribution: outward from its
/// likeliest value, so that a draw takes some standard deviations of steps.
pub(super) fn binomial(count: u64, chance: f64, random: &mut StdRng) -> u64 {
    if count == 0 || chance <= 0.0 {
        return 0;
    }
    if chance >= 1.0 {
        return count;
    }
    let n = float(count);
    let odds = chance / (1.0 - chance);
    let mode = ((n + 1.0) * chance).floor().min(n);
    let up = |at: f64, weight: f64| weight * odds * (n - at) / (at + 1.0);
    let down = |at: f64, weight: f64| weight * at / (odds * (n - at + 1.0));
    let start = probability(n, mode, chance);
    let (mut above, mut below) = ((mode, start), (mode, start));
    let mut left = random.random::<f64>() - start;
    // All of the distribution, or what floating-point numbers can tell of it.
    while left > 0.0 && (above.1 > f64::MIN_POSITIVE || below.1 > f64::MIN_POSITIVE) {
        above = (above.0 + 1.0, up(above.0, above.1));
        left -= above.1;
        if left <= 0.0 {
            return whole(above.0);
        }
        below = (below.0 - 1.0, down(below.0, below.1));
        left -= below.1;
        if left <= 0.0 {
            return whole(below.0);
        }
    }
    whole(mode)
}

/// The chance of `k` of `n`.
fn probability(n: f64, k: f64, chance: f64) -> f64 {
    let ways = ln_factorial(n) - ln_factorial(k) - ln_factorial(n - k);
    (ways + k * chance.ln() + (n - k) * (-chance).ln_1p()).exp()
}

/// ln n!: summed where n is small, by Stirling's series elsewhere.
fn ln_factorial(n: f64) -> f64 {
    if n < 32.0 {
        return (2..=whole(n)).map(|factor| float(factor).ln()).sum();
    }
    let inverse = 1.0 / n;
    let series = inverse * (1.0 / 12.0 - inverse * inverse * (1.0 / 360.0 - inverse * inverse / 1260.0));
    (n + 0.5) * n.ln() - n + 0.5 * std::f64::consts::TAU.ln() + series
}

#[expect(clippy::cast_precision_loss, reason = "counts of requests stay far below 2^53")]
const fn float(count: u64) -> f64 {
    count as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number from 0")]
const fn whole(number: f64) -> u64 {
    number as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;

    fn random() -> StdRng {
        StdRng::seed_from_u64(7)
    }

    #[test]
    fn chances_are_those_of_the_binomial_distribution() {
        let exact = |n: u64, k: u64, p: f64| {
            let ways: f64 = (0..k).map(|i| float(n - i) / float(k - i)).product();
            ways * p.powf(float(k)) * (1.0 - p).powf(float(n - k))
        };
        for (n, k, p) in [(10, 3, 0.3), (100, 5, 0.05), (40, 40, 0.9), (60, 0, 0.01), (200, 90, 0.5)] {
            let (chance, exact) = (probability(float(n), float(k), p), exact(n, k, p));
            assert!((chance / exact - 1.0).abs() < 1e-9, "{k} of {n}: {chance}, not {exact}");
        }
    }

    #[test]
    fn draws_have_the_mean_and_the_spread_of_the_distribution_and_stay_within_it() {
        let mut random = random();
        for (count, chance) in [(1, 0.5), (20, 0.05), (1_000, 0.05), (500, 0.97), (100_000, 0.25)] {
            let draws: Vec<f64> = (0..4_000).map(|_| float(binomial(count, chance, &mut random))).collect();
            assert!(draws.iter().all(|draw| *draw <= float(count)));
            let mean = draws.iter().sum::<f64>() / 4_000.0;
            let spread = draws.iter().map(|draw| (draw - mean).powi(2)).sum::<f64>() / 3_999.0;
            let (expected, variance) = (float(count) * chance, float(count) * chance * (1.0 - chance));
            // Five standard errors of each.
            assert!(
                (mean - expected).abs() < 5.0 * (variance / 4_000.0).sqrt(),
                "{count} at {chance}: {mean}"
            );
            let kurtosis = 2.0 + 1.0 / variance;
            let error = 5.0 * variance * (kurtosis / 4_000.0).sqrt();
            assert!((spread - variance).abs() < error, "{count} at {chance}: {spread}, not {variance}");
        }
        assert_eq!((binomial(9, 0.0, &mut random), binomial(9, 1.0, &mut random)), (0, 9));
    }

    #[test]
    fn nothing_is_lost_and_nothing_is_added() {
        let latency = Latency::new(vec![0.1, 1.0], vec![800, 190, 10]).ok();
        let traffic = Traffic { requests: 1_000, bad: 37, latency };
        let mut random = random();
        for clumps in [Clumps::NONE, Clumps { bad: 5, slow: 3 }] {
            let [Reading::Counted(canary), Reading::Counted(baseline)] =
                split(&traffic, 0.25, clumps, &mut random)
            else {
                panic!("an arm is missing")
            };
            assert_eq!(traffic.since(&canary), Some(baseline));
            let rest = canary.bad % clumps.bad;
            assert!(
                rest == 0 || rest == 37 % clumps.bad,
                "{} bad ones in clumps of {}",
                canary.bad,
                clumps.bad
            );
        }
        let [canary, baseline] = split(&traffic, 1.0, Clumps::NONE, &mut random);
        assert_eq!((canary, baseline), (Reading::Counted(traffic), Reading::Absent));
    }
}
