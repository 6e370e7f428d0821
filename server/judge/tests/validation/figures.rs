//! The figures of the specification: how soon bad canaries fail and good ones pass.

use crate::simulation::{Arms, Canary, Until, quantile, share};
use handover_judge::{Config, Kind, Metric, Tolerance};

const SEED: u64 = 20_262;
const DEPLOYMENTS: u64 = 1_000;

fn canary(tolerance: Tolerance) -> Canary {
    let mut metric = Metric::errors("errors", 1.0);
    metric.kind = Kind::Share { tolerance, fixed: None };
    let usual = Canary::usual();
    Canary { config: Config { metrics: vec![metric], over_dispersion: false, ..usual.config }, ..usual }
}

/// The share that failed and the median of the canary's requests until then.
fn detection(n_c: u64, rate: f64) -> (f64, u64) {
    let arms = Arms::new((n_c, rate), (100 - n_c, 0.01));
    let ends = canary(Tolerance::of_errors()).steady(Until::Failed, SEED, DEPLOYMENTS, &arms);
    let failed: Vec<_> = ends.iter().copied().filter(Option::is_some).collect();
    let median = quantile(&failed, 0.5).unwrap_or(0) * n_c;
    println!(
        "{n_c} a block, {} % bad: {:.1} % failed, median {median} requests (seed {SEED})",
        rate * 100.0,
        share(&ends) * 100.0
    );
    (share(&ends), median)
}

#[test]
fn a_bad_canary_of_5_requests_a_block_is_found_as_soon_as_specified() {
    for (rate, caught, requests) in
        [(1.0, 1.0, 5..=5), (0.3, 1.0, 10..=20), (0.1, 1.0, 45..=65), (0.05, 0.98, 195..=255)]
    {
        let (share, median) = detection(5, rate);
        assert!(share >= caught && requests.contains(&median), "{rate}: {share} {median}");
    }
}

#[test]
fn a_bad_canary_of_one_request_a_block_is_found_as_soon_as_specified() {
    for (rate, caught, requests) in [
        (1.0, 1.0..=1.0, 2..=2),
        (0.3, 1.0..=1.0, 7..=11),
        (0.1, 0.96..=1.0, 40..=54),
        (0.05, 0.38..=0.49, 1..=180),
    ] {
        let (share, median) = detection(1, rate);
        assert!(caught.contains(&share) && requests.contains(&median), "{rate}: {share} {median}");
    }
}

/// The median and the mean of the canary's requests until it passes.
fn promotion(ratio: f64, d_max: f64) -> (u64, f64) {
    let arms = Arms::new((5, 0.01), (95, 0.01));
    let mut canary = canary(Tolerance::new(ratio, 0.002, Some(d_max)));
    canary.blocks = 1_000;
    let ends = canary.steady(Until::Passed, SEED, DEPLOYMENTS, &arms);
    assert!(share(&ends) >= 0.99, "nearly all pass within 5,000 requests");
    let median = quantile(&ends, 0.5).unwrap() * 5;
    let passed: Vec<u64> = ends.iter().flatten().copied().collect();
    let mean = passed.iter().sum::<u64>() as f64 / passed.len() as f64 * 5.0;
    println!("promotion, r {ratio}, d_max {d_max}: median {median} requests, mean {mean:.0} (seed {SEED})");
    (median, mean)
}

#[test]
fn a_good_canary_passes_as_soon_as_specified() {
    // The specification's 770, 270 and 70 are those of r = 1.
    for (d_max, requests) in [(0.01, 690..=810), (0.02, 240..=290), (0.05, 60..=75)] {
        let (median, _) = promotion(1.0, d_max);
        assert!(requests.contains(&median), "{d_max}: {median}");
    }
}

#[test]
fn a_wider_margin_lets_a_good_canary_pass_sooner() {
    for (d_max, requests) in [(0.01, 500..=620), (0.02, 205..=255), (0.05, 50..=70)] {
        let (median, _) = promotion(1.25, d_max);
        assert!(requests.contains(&median), "{d_max}: {median}");
    }
}

#[test]
fn an_intolerable_canary_passes_in_less_than_alpha_of_promotion() {
    let arms = Arms::new((5, 1.25 * 0.01 + 0.02), (95, 0.01));
    let passed = share(&canary(Tolerance::of_errors()).steady(Until::Passed, SEED, 3_000, &arms));
    println!("an intolerable canary: {:.2} % passed (seed {SEED})", passed * 100.0);
    assert!((0.001..=0.05).contains(&passed));
}
