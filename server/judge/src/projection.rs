//! Where the hypothesis comes closest to an alternative.

use crate::Margin;

/// A rate of bad requests for each arm; both in (0, 1).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// The canary's.
    pub canary: f64,
    /// The baseline's.
    pub baseline: f64,
}

/// What evidence is gathered for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The canary is worse than tolerated: evidence against p_c <= r p_b + d.
    Worse,
    /// The canary is not that bad: evidence against p_c >= r p_b + d.
    NotWorse,
}

/// Rates nearer to 0 than this are taken as this.
const LEAST: f64 = 1e-15;
/// Rates nearer to 1 than this are taken as 1 minus this: f64 is coarser there.
const LEAST_GOOD: f64 = 1e-9;
/// Safeguarded Newton steps. Every third one at the latest halves the bracket, so 300 exhaust an f64.
const MOST_STEPS: usize = 300;

impl Rates {
    /// Both rates, kept off 0 and 1.
    pub(crate) fn inside(self) -> Self {
        let inside = |rate: f64| rate.clamp(LEAST, 1.0 - LEAST_GOOD);
        Self { canary: inside(self.canary), baseline: inside(self.baseline) }
    }
}

/// The point of the boundary p_c = r p_b + d that is nearest to `alternative`: with n requests of each arm it has the
/// least n_c KL(alternative.canary || p_c) + n_b KL(alternative.baseline || p_b).
///
/// `None` where the alternative does not lie on the claim's side of the boundary: no evidence can be had from it.
/// Both numbers of requests must be above 0.
#[must_use]
pub fn boundary_point(
    canary_requests: f64,
    baseline_requests: f64,
    alternative: Rates,
    margin: Margin,
    claim: Claim,
) -> Option<Rates> {
    let Rates { canary: pc1, baseline: pb1 } = alternative.inside();
    let Margin { ratio: r, difference: d } = margin;
    let tolerated = margin.tolerated(pb1);
    let claimed = match claim {
        Claim::Worse => pc1 > tolerated,
        Claim::NotWorse => pc1 < tolerated,
    };
    if !claimed {
        return None;
    }
    let end = ((1.0 - d) / r).min(1.0);
    // At pb1 the baseline's term of the slope is 0, at `other` the canary's: the root lies between them.
    let other = ((pc1 - d) / r).clamp(0.0, end);
    let (low, high) = (pb1.min(end).min(other), pb1.min(end).max(other));
    let share = canary_requests / (canary_requests + baseline_requests);
    let slope = Slope { share, pc1, pb1, r, d };
    let baseline = slope.root(low, high, share * other + (1.0 - share) * pb1.min(end));
    let canary = margin.tolerated(baseline);
    (baseline > 0.0 && baseline < 1.0 && canary > 0.0 && canary < 1.0).then_some(Rates { canary, baseline })
}

/// The slope of the divergence along the boundary, times p (1 - p) c (1 - c): a cubic with the same root and no poles.
struct Slope {
    /// n_c / (n_c + n_b)
    share: f64,
    pc1: f64,
    pb1: f64,
    r: f64,
    d: f64,
}

impl Slope {
    /// The value and the derivative at `p`.
    fn at(&self, p: f64) -> (f64, f64) {
        let Self { share, pc1, pb1, r, d } = *self;
        let c = r * p + d;
        let (vp, vc) = (p * (1.0 - p), c * (1.0 - c));
        let (wc, wb) = (share * r, 1.0 - share);
        let value = wc * (c - pc1) * vp + wb * (p - pb1) * vc;
        let derivative =
            wc * (r * vp + (c - pc1) * (1.0 - 2.0 * p)) + wb * (vc + (p - pb1) * r * (1.0 - 2.0 * c));
        (value, derivative)
    }

    /// The root in a bracket: Newton's steps while they shrink it, bisection where they do not.
    fn root(&self, mut low: f64, mut high: f64, guess: f64) -> f64 {
        let mut p = guess.clamp(low, high);
        let mut width = high - low;
        for step in 1..=MOST_STEPS {
            let (value, derivative) = self.at(p);
            if value > 0.0 {
                high = p;
            } else if value < 0.0 {
                low = p;
            } else {
                return p;
            }
            let newton = p - value / derivative;
            let shrinks = step % 3 != 0 || high - low <= width / 2.0;
            if step % 3 == 0 {
                width = high - low;
            }
            let next =
                if shrinks && newton > low && newton < high { newton } else { low + (high - low) / 2.0 };
            if (next - p).abs() <= 2.0 * f64::EPSILON * p || next <= low && next >= high {
                return next;
            }
            p = next;
        }
        p
    }
}
