//! Projection and block values against figures and against a plainer way to compute them.

use crate::{Claim, Margin, Rates, Tally, boundary_point, evidence::log_mean, log_value};
use proptest::prelude::*;

fn tally(requests: f64, bad: f64) -> Tally {
    Tally { requests, bad }
}

fn near(value: f64, figure: f64) -> bool {
    (value / figure - 1.0).abs() < 1e-10
}

#[test]
fn the_test_vectors_are_met_to_ten_digits() {
    let plain = Margin { ratio: 1.0, difference: 0.0 };
    let usual = Margin { ratio: 1.25, difference: 0.002 };
    let vectors = [
        ((10.0, 2.0, 100.0, 1.0), (0.1, 0.01), plain, None, 18.862_006_230_8),
        (
            (10.0, 2.0, 100.0, 1.0),
            (0.1, 0.01),
            usual,
            Some((0.023_319_221_1, 0.017_055_376_9)),
            11.379_881_197_0,
        ),
        (
            (1.0, 1.0, 99.0, 0.0),
            (0.3, 0.01),
            usual,
            Some((0.017_677_909_3, 0.012_542_327_5)),
            21.889_923_516_2,
        ),
    ];
    for ((n_c, e_c, n_b, e_b), (canary, baseline), margin, point, value) in vectors {
        let alternative = Rates { canary, baseline };
        let found = log_value(tally(n_c, e_c), tally(n_b, e_b), alternative, margin, Claim::Worse).exp();
        assert!(near(found, value), "{found} is not {value}");
        let found = boundary_point(n_c, n_b, alternative, margin, Claim::Worse).unwrap();
        let (p_c0, p_b0) =
            point.unwrap_or(((n_c * 0.1 + n_b * 0.01) / (n_c + n_b), (n_c * 0.1 + n_b * 0.01) / (n_c + n_b)));
        // The figures have ten decimals.
        assert!((found.canary - p_c0).abs() < 6e-11 && (found.baseline - p_b0).abs() < 6e-11, "{found:?}");
    }
}

/// Bisection as the specification has it.
fn bisected(n_c: f64, n_b: f64, alternative: Rates, margin: Margin) -> f64 {
    let Margin { ratio: r, difference: d } = margin;
    let slope = |p: f64| {
        let c = r * p + d;
        n_c * r * (c - alternative.canary) / (c * (1.0 - c))
            + n_b * (p - alternative.baseline) / (p * (1.0 - p))
    };
    let (mut low, mut high) = (0.0, ((1.0 - d) / r).min(1.0));
    for _ in 0..1200 {
        let middle = low + (high - low) / 2.0;
        if slope(middle) > 0.0 { high = middle } else { low = middle }
    }
    low
}

proptest! {
    #[test]
    fn the_projection_is_what_plain_bisection_finds(
        n_c in 1.0..1e6f64, n_b in 1.0..1e6f64, canary in 1e-6..0.999f64, baseline in 1e-6..0.999f64,
        ratio in 0.5..3.0f64, difference in 0.0..0.2f64,
    ) {
        let (alternative, margin) = (Rates { canary, baseline }, Margin { ratio, difference });
        let claim = if canary > margin.tolerated(baseline) { Claim::Worse } else { Claim::NotWorse };
        let point = boundary_point(n_c, n_b, alternative, margin, claim).unwrap();
        let plain = bisected(n_c, n_b, alternative, margin);
        prop_assert!((point.baseline / plain - 1.0).abs() < 1e-9, "{point:?} {plain}");
        prop_assert!((point.canary - margin.tolerated(point.baseline)).abs() < 1e-15);
        let other = if claim == Claim::Worse { Claim::NotWorse } else { Claim::Worse };
        prop_assert!(boundary_point(n_c, n_b, alternative, margin, other).is_none());
    }

    #[test]
    fn more_bad_requests_of_the_canary_are_more_evidence_that_it_is_worse_and_less_that_it_is_not(
        n_c in 1..200u32, n_b in 1..2000u32, at in 0.0..1.0f64, bad in 0.0..1.0f64,
        canary in 0.0..1.0f64, baseline in 0.0..1.0f64, ratio in 0.8..2.0f64, difference in 0.0..0.1f64,
    ) {
        let (alternative, margin) = (Rates { canary, baseline }, Margin { ratio, difference });
        let e_c = (at * f64::from(n_c)).floor().min(f64::from(n_c) - 1.0);
        let e_b = (bad * f64::from(n_b)).floor();
        let value = |e_c: f64, claim| {
            log_value(tally(n_c.into(), e_c), tally(n_b.into(), e_b), alternative, margin, claim)
        };
        prop_assert!(value(e_c + 1.0, Claim::Worse) >= value(e_c, Claim::Worse));
        prop_assert!(value(e_c + 1.0, Claim::NotWorse) <= value(e_c, Claim::NotWorse));
    }

    #[test]
    fn no_counts_and_no_rates_give_anything_but_a_number(
        n_c in prop::sample::select(vec![0.0, 1e-3, 1.0, 7.0, 1e9, 1e12]),
        n_b in prop::sample::select(vec![0.0, 1e-3, 1.0, 7.0, 1e9, 1e12]),
        c in prop::sample::select(vec![0.0, 1e-9, 0.5, 1.0]), b in prop::sample::select(vec![0.0, 1e-9, 0.5, 1.0]),
        canary in prop::sample::select(vec![0.0, 1e-300, 1e-12, 0.5, 1.0 - 1e-12, 1.0]),
        baseline in prop::sample::select(vec![0.0, 1e-300, 1e-12, 0.5, 1.0 - 1e-12, 1.0]),
        ratio in prop::sample::select(vec![0.01, 1.0, 1.25, 100.0]),
        difference in prop::sample::select(vec![0.0, 0.002, 0.999]),
    ) {
        let (alternative, margin) = (Rates { canary, baseline }, Margin { ratio, difference });
        for claim in [Claim::Worse, Claim::NotWorse] {
            let value = log_value(tally(n_c, c * n_c), tally(n_b, b * n_b), alternative, margin, claim);
            prop_assert!(value.is_finite(), "{value}");
            if n_c <= 0.0 || n_b <= 0.0 {
                prop_assert_eq!(value, 0.0);
            }
        }
    }
}

#[test]
fn the_mean_of_values_beyond_f64_is_found_by_their_logarithms() {
    let mean = log_mean([10_000.0, 10_000.0, f64::NEG_INFINITY, -5_000.0].into_iter());
    assert!((mean - (10_000.0 - 2f64.ln())).abs() < 1e-9, "{mean}");
    assert_eq!(log_mean([0.0, 0.0].into_iter()), 0.0);
}
