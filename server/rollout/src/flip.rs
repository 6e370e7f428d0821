//! What hosts say of their flips: whether one stands, and when it was.

use handover_model::{ConfirmationState, Duration};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a report says of the host's flip to what is ordered.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct FlipSeen {
    /// What became of its confirmation; `None` where the order that stands asks for none, or the agent knows of none.
    pub confirmation: Option<ConfirmationState>,
    /// When it was in the kernel, where that can be told.
    pub moment: Option<Moment>,
}

/// A moment that is known to lie between two others. They are on a clock of the driver's, which it reads all moments of
/// one deployment from as long as it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Not before.
    pub earliest: Duration,
    /// Not after.
    pub latest: Duration,
}

/// How far apart the flips of a stage were that were ordered in one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skew {
    /// Of how many hosts.
    pub hosts: u32,
    /// From the first flip to the last one.
    pub first_to_last: Duration,
    /// It may have been so much more, or less.
    pub give_or_take: Duration,
}

impl Moment {
    /// How much of it is not known.
    pub(crate) fn width(self) -> Duration {
        self.latest.saturating_sub(self.earliest)
    }

    fn middle(self) -> Duration {
        self.earliest + self.width() / 2
    }
}

impl Skew {
    /// From each host's moment; `None` for fewer than two.
    #[must_use]
    pub fn of(moments: &[Moment]) -> Option<Self> {
        let middles = || moments.iter().map(|moment| moment.middle());
        let first_to_last = middles().max()?.saturating_sub(middles().min()?);
        // The last flip may have been as late as any may, the first as early; or all as near to each other as they may.
        let (latest, earliest) = (moments.iter().map(|m| m.latest), moments.iter().map(|m| m.earliest));
        let (last, first) = (latest.clone().max()?, earliest.clone().min()?);
        let most = last.saturating_sub(first);
        let least = earliest.max()?.saturating_sub(latest.min()?);
        let give_or_take = most.saturating_sub(first_to_last).max(first_to_last.saturating_sub(least));
        let hosts = u32::try_from(moments.len()).unwrap_or(u32::MAX);
        (hosts > 1).then_some(Self { hosts, first_to_last, give_or_take })
    }
}

impl fmt::Display for Skew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { hosts, first_to_last, give_or_take } = self;
        write!(f, "{hosts} hosts flipped within {} (±{})", told(*first_to_last), told(*give_or_take))
    }
}

fn told(time: Duration) -> String {
    match time.as_secs_f64() {
        seconds if seconds < 1.0 => format!("{:.1} ms", seconds * 1e3),
        seconds => format!("{seconds:.1} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(earliest: u64, latest: u64) -> Moment {
        Moment { earliest: Duration::from_micros(earliest), latest: Duration::from_micros(latest) }
    }

    #[test]
    fn the_skew_is_between_the_middles_and_as_sure_as_the_moments_are() {
        let skew = Skew::of(&[moment(1_000, 1_200), moment(4_100, 4_300), moment(2_000, 2_000)]).unwrap();
        assert_eq!((skew.hosts, skew.first_to_last), (3, Duration::from_micros(3_100)));
        assert_eq!(skew.give_or_take, Duration::from_micros(200));
        assert_eq!(skew.to_string(), "3 hosts flipped within 3.1 ms (±0.2 ms)");
    }

    #[test]
    fn the_true_skew_is_never_outside_of_what_is_said() {
        // Each true moment anywhere in its interval, the corners included.
        let intervals = [(0, 900), (100, 300), (850, 1_000)];
        let moments: Vec<Moment> = intervals.iter().map(|(from, to)| moment(*from, *to)).collect();
        let skew = Skew::of(&moments).unwrap();
        let (least, most) =
            (skew.first_to_last.saturating_sub(skew.give_or_take), skew.first_to_last + skew.give_or_take);
        let steps = |(from, to): (u64, u64)| (0..=5).map(move |step| from + (to - from) * step / 5);
        for a in steps(intervals[0]) {
            for b in steps(intervals[1]) {
                for c in steps(intervals[2]) {
                    let truth = Duration::from_micros(a.max(b).max(c) - a.min(b).min(c));
                    assert!(least <= truth && truth <= most, "{a} {b} {c}: {truth:?} of {skew:?}");
                }
            }
        }
    }

    #[test]
    fn one_flip_has_no_skew() {
        assert_eq!(Skew::of(&[]), None);
        assert_eq!(Skew::of(&[moment(1, 2)]), None);
    }
}
