//! The expectation of a block's value, by all of its outcomes.

use super::counted;
use crate::{
    Claim, Comparison, Counts, HostBlock, Margin, Rates, Tally,
    gathered::{Cap, gather},
    late::Late,
    log_value,
};

fn choose(n: u64, k: u64) -> f64 {
    (1..=k).map(|i| (n - k + i) as f64 / i as f64).product()
}

/// The chance of `bad` of `n` at `rate`.
fn chance(n: u64, bad: u64, rate: f64) -> f64 {
    choose(n, bad) * rate.powi(bad as i32) * (1.0 - rate).powi((n - bad) as i32)
}

fn expectation(
    n_c: u64,
    n_b: u64,
    null: (f64, f64),
    alternative: Rates,
    margin: Margin,
    claim: Claim,
) -> f64 {
    let mut sum = 0.0;
    for e_c in 0..=n_c {
        for e_b in 0..=n_b {
            let tally = |requests: u64, bad: u64| Tally { requests: requests as f64, bad: bad as f64 };
            let value = log_value(tally(n_c, e_c), tally(n_b, e_b), alternative, margin, claim).exp();
            sum += chance(n_c, e_c, null.0) * chance(n_b, e_b, null.1) * value;
        }
    }
    sum
}

#[test]
fn no_block_has_an_expectation_above_1_where_the_hypothesis_is_true() {
    let rates = [1e-4, 0.01, 0.1, 0.3, 0.6, 0.9, 0.999];
    let margins = [(1.0, 0.0), (1.25, 0.002), (1.1, 0.02), (0.8, 0.1), (1.25, 0.02)];
    let (mut greatest, mut checked) = (0f64, 0);
    for (n_c, n_b) in [(1, 1), (1, 6), (4, 2), (5, 5)] {
        for margin in margins.map(|(ratio, difference)| Margin { ratio, difference }) {
            for (canary, baseline) in rates.iter().flat_map(|c| rates.map(|b| (*c, b))) {
                let alternative = Rates { canary, baseline };
                for p_b in [0.0, 1e-4, 0.01, 0.1, 0.5, 0.8, 1.0] {
                    let edge = margin.tolerated(p_b);
                    // On the boundary, inside it, far inside it.
                    for (claim, p_c) in [
                        (Claim::Worse, edge),
                        (Claim::Worse, 0.9 * edge),
                        (Claim::Worse, 0.1 * edge),
                        (Claim::NotWorse, edge),
                        (Claim::NotWorse, edge + 0.1 * (1.0 - edge)),
                        (Claim::NotWorse, 1.0),
                    ] {
                        if p_c > 1.0 || claim == Claim::NotWorse && p_c < edge {
                            continue;
                        }
                        let mean = expectation(n_c, n_b, (p_c, p_b), alternative, margin, claim);
                        assert!(
                            mean <= 1.0 + 1e-9,
                            "{n_c} {n_b} {margin:?} {alternative:?} {claim:?} {p_c} {p_b}: {mean}"
                        );
                        greatest = greatest.max(mean);
                        checked += 1;
                    }
                }
            }
        }
    }
    assert!(checked > 20_000 && greatest > 0.999, "the bound is met somewhere: {greatest}, {checked} cases");
}

/// The expectation over two hosts of different rates and ratios, with cap and over-dispersion as a judge uses them.
fn over_two_hosts(
    rates: [(f64, f64); 2],
    cap: Option<Cap>,
    weight: f64,
    claim: Claim,
    margin: Margin,
    alternative: Rates,
) -> f64 {
    const SIZES: [(u64, u64); 2] = [(3, 2), (1, 4)];
    let one = |index: usize| {
        let ((n_c, n_b), (p_c, p_b)) = (SIZES[index], rates[index]);
        let outcomes = (0..=n_c).flat_map(move |e_c| (0..=n_b).map(move |e_b| (e_c, e_b)));
        outcomes.map(move |(e_c, e_b)| {
            let host = HostBlock { canary: counted(n_c, e_c), baseline: counted(n_b, e_b) };
            (chance(n_c, e_c, p_c) * chance(n_b, e_b, p_b), host)
        })
    };
    let mut sum = 0.0;
    for (first_chance, first) in one(0) {
        for (second_chance, second) in one(1) {
            let hosts: [HostBlock<Counts>; 2] = [first.clone(), second];
            let compared = gather(&hosts, Comparison::WithinHosts, cap).compared.unwrap();
            let pair = match claim {
                Claim::Worse => compared.against,
                Claim::NotWorse => compared.for_it,
            };
            let pair = pair.scaled(weight);
            let value = log_value(pair.canary, pair.baseline, alternative, margin, claim).exp();
            sum += first_chance * second_chance * value;
        }
    }
    sum
}

#[test]
fn weights_caps_and_over_dispersion_keep_the_expectation_where_hosts_differ() {
    let margin = Margin { ratio: 1.25, difference: 0.002 };
    let alternative = Rates { canary: 0.4, baseline: 0.1 };
    let cap = Cap { bad: 1.0, canary: 0.127, baseline: 0.1 };
    for (slow, fast) in [(0.6, 0.01), (0.01, 0.6), (0.3, 0.3)] {
        let null = [slow, fast].map(|p_b: f64| (margin.tolerated(p_b), p_b));
        for (cap, weight) in [(None, 1.0), (Some(cap), 1.0), (None, 0.3), (Some(cap), 0.5)] {
            let mean = over_two_hosts(null, cap, weight, Claim::Worse, margin, alternative);
            assert!(mean <= 1.0 + 1e-9, "worse: {slow} {fast} {cap:?} {weight}: {mean}");
            let same = Rates { canary: 0.1, baseline: 0.1 };
            let mean = over_two_hosts(null, cap, weight, Claim::NotWorse, margin, same);
            assert!(mean <= 1.0 + 1e-9, "not worse: {slow} {fast} {cap:?} {weight}: {mean}");
        }
    }
}

/// The expectation of the late process after these blocks, by all of their outcomes, at a point of the boundary.
fn late_after(blocks: u32, late: &Late, canary: Tally) -> f64 {
    if blocks == 0 {
        return late.log_e().exp();
    }
    let (margin, p_b) = (Margin { ratio: 1.25, difference: 0.002 }, 0.2);
    let p_c = margin.tolerated(p_b);
    let mut sum = 0.0;
    for (e_c, e_b) in (0..=2u64).flat_map(|e_c| (0..=2u64).map(move |e_b| (e_c, e_b))) {
        let tally = |bad: u64| Tally { requests: 2.0, bad: bad as f64 };
        // Alternatives that follow the canary, as a judge's do.
        let values = std::array::from_fn(|index| {
            let multiple = (1.3 + index as f64 / 4.0) * p_c;
            let alternative = Rates { canary: canary.share().max(multiple).min(0.97), baseline: 0.15 };
            log_value(tally(e_c), tally(e_b), alternative, margin, Claim::Worse)
        });
        let mut next = late.clone();
        next.observe(values);
        let mut learnt = canary;
        learnt.add(tally(e_c), 1.0);
        sum += chance(2, e_c, p_c) * chance(2, e_b, p_b) * late_after(blocks - 1, &next, learnt);
    }
    sum
}

#[test]
fn the_late_process_has_an_expectation_of_at_most_1_after_any_number_of_blocks() {
    for blocks in 0..=4 {
        let mean = late_after(blocks, &Late::default(), Tally::default());
        assert!(mean <= 1.0 + 1e-9 && mean > 0.5, "{blocks}: {mean}");
    }
}
