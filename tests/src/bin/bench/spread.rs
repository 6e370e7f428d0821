//! Many measurements of one thing.

/// The least, the middle and the most of some figures, and where the true middle lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) runs: usize,
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
    /// An interval that holds the true median in at least 95 of 100 such runs, whatever the figures' distribution: from
    /// one of the ordered figures to another, by the sign test. Of fewer than six figures the least and the most, which
    /// hold it less often.
    pub(crate) interval: (f64, f64),
}

impl Spread {
    /// Of at least one figure; none of none. Of an even number the median is the mean of the middle two.
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut figures: Vec<f64> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        let (min, max) = (*figures.first()?, *figures.last()?);
        let runs = figures.len();
        let median = f64::midpoint(figures[(runs - 1) / 2], figures[runs / 2]);
        let beyond = beyond(runs);
        let interval = (figures[beyond], figures[runs - 1 - beyond]);
        Some(Self { runs, min, median, max, interval })
    }
}

/// How many of so many ordered figures lie outside the interval on each side: the most for which fewer than 1 in 40 runs have
/// that few figures on that side of the true median (a binomial distribution with even chances).
fn beyond(runs: usize) -> usize {
    let (mut chance, mut sum, mut beyond) = (0.5_f64.powi(i32::try_from(runs).unwrap_or(i32::MAX)), 0.0, 0);
    for k in 0..runs / 2 {
        sum += chance;
        if sum > 0.025 {
            break;
        }
        beyond = k;
        chance *= (runs - k) as f64 / (k + 1) as f64;
    }
    beyond
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_in_the_middle_of_any_order() {
        let spread = Spread::of([5.0, 1.0, 3.0]).unwrap();
        assert_eq!(spread, Spread { runs: 3, min: 1.0, median: 3.0, max: 5.0, interval: (1.0, 5.0) });
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 9.0]).unwrap().median, 3.0);
        assert_eq!(Spread::of([]), None);
    }

    /// The ranks of the usual tables of the sign test: of 20 figures the 6th to the 15th, of 16 the 4th to the 13th.
    #[test]
    fn an_interval_has_the_ranks_of_the_sign_test() {
        for (runs, from, to) in
            [(1, 1, 1), (5, 1, 5), (6, 1, 6), (9, 2, 8), (12, 3, 10), (16, 4, 13), (20, 6, 15)]
        {
            let spread = Spread::of((1..=runs).map(f64::from)).unwrap();
            assert_eq!(spread.interval, (f64::from(from), f64::from(to)), "of {runs}");
        }
    }
}
