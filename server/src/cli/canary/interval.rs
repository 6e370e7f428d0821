//! The interval in which a rate lies, as counted.

/// The normal distribution's 97.5 % quantile.
const Z: f64 = 1.959_963_985;

/// The 95 % interval of a rate by its counts: Wilson's (E. B. Wilson: Probable inference, the law of succession, and
/// statistical inference. Journal of the American Statistical Association 22 (1927) 209-212), which is sound also where
/// nothing was bad. It holds for one look at it; the judge's verdict is what may be looked at as often as one likes.
/// `None` without requests.
pub(in crate::cli) fn wilson(bad: u64, requests: u64) -> Option<(f64, f64)> {
    if requests == 0 {
        return None;
    }
    let (n, p) = (number(requests), number(bad) / number(requests));
    let middle = p + Z * Z / (2.0 * n);
    let half = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    Some((((middle - half) / scale).max(0.0), ((middle + half) / scale).min(1.0)))
}

/// A count as f64; exact below 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts of requests stay far below 2^53")]
pub(super) const fn number(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_wilsons() {
        // Newcombe (1998), table I: 81 of 263 and 0 of 20.
        let (low, high) = wilson(81, 263).unwrap();
        assert!((low - 0.2553).abs() < 5e-5 && (high - 0.3662).abs() < 5e-5, "{low} {high}");
        let (low, high) = wilson(0, 20).unwrap();
        assert!(low == 0.0 && (high - 0.1611).abs() < 5e-5, "{low} {high}");
        assert_eq!(wilson(0, 0), None);
    }
}
