//! The value of one block: how much likelier the counts are under an alternative than at the boundary.

use crate::{Claim, Margin, Rates, Tally, projection::boundary_point};

/// The natural logarithm of a block's value S for one alternative; 0 (S = 1) where an arm has no requests or the
/// alternative claims nothing.
///
/// S has expectation at most 1 wherever the hypothesis is true (`docs/judge.md` has the proof), also where counts
/// are scaled down by a factor that does not depend on which requests were bad.
#[must_use]
pub fn log_value(canary: Tally, baseline: Tally, alternative: Rates, margin: Margin, claim: Claim) -> f64 {
    if canary.requests <= 0.0 || baseline.requests <= 0.0 {
        return 0.0;
    }
    let alternative = alternative.inside();
    let Some(null) = boundary_point(canary.requests, baseline.requests, alternative, margin, claim) else {
        return 0.0;
    };
    log_likelihood_ratio(canary, alternative.canary, null.canary)
        + log_likelihood_ratio(baseline, alternative.baseline, null.baseline)
}

/// ln of (p1/p0)^bad ((1-p1)/(1-p0))^good; all rates in (0, 1).
pub(crate) fn log_likelihood_ratio(tally: Tally, p1: f64, p0: f64) -> f64 {
    let good = (tally.requests - tally.bad).max(0.0);
    tally.bad * ln_quotient(p1, p0, p1 - p0) + good * ln_quotient(1.0 - p1, 1.0 - p0, p0 - p1)
}

/// ln(a / b), with `difference` = a - b as exactly as it is known: near a = b that is what the logarithm rests on.
fn ln_quotient(a: f64, b: f64, difference: f64) -> f64 {
    let relative = difference / b;
    if relative.abs() < 0.5 { relative.ln_1p() } else { (a / b).ln() }
}

/// ln of the mean of numbers that are given by their logarithms; negative infinity for none.
pub(crate) fn log_mean(logs: impl Iterator<Item = f64> + Clone) -> f64 {
    let most = logs.clone().fold(f64::NEG_INFINITY, f64::max);
    if most == f64::NEG_INFINITY {
        return most;
    }
    let (sum, count) = logs.fold((0.0, 0.0), |(sum, count), log| (sum + (log - most).exp(), count + 1.0));
    most + f64::ln(sum / count)
}

/// ln(a + b) of numbers that are given by their logarithms.
pub(crate) fn log_sum(a: f64, b: f64) -> f64 {
    let (least, most) = (a.min(b), a.max(b));
    if least == f64::NEG_INFINITY { most } else { most + (least - most).exp().ln_1p() }
}
