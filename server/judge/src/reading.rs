//! What a block brings: per host and arm a reading, or why there is none.

use std::collections::BTreeMap;

use crate::{Counts, Histogram};

/// What was read of one arm on one host over one block: the difference of a counter's two ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading<T> {
    /// This much.
    Counted(T),
    /// Nothing: no such instance here, no metrics, too late, or cut at a bound.
    Absent,
    /// A counter went back: the instance started anew in the middle of the block.
    Reset,
}

impl<T> Reading<T> {
    /// The reading in another form; `Absent` where it has none.
    pub(crate) fn and_then<U>(&self, form: impl FnOnce(&T) -> Option<U>) -> Reading<U> {
        match self {
            Self::Counted(value) => form(value).map_or(Reading::Absent, Reading::Counted),
            Self::Absent => Reading::Absent,
            Self::Reset => Reading::Reset,
        }
    }

    pub(crate) const fn counted(&self) -> Option<&T> {
        match self {
            Self::Counted(value) => Some(value),
            Self::Absent | Self::Reset => None,
        }
    }

    pub(crate) const fn is_reset(&self) -> bool {
        matches!(self, Self::Reset)
    }
}

/// Both arms on one host in one block.
#[derive(Clone, Debug, PartialEq)]
pub struct HostBlock<T> {
    /// The new release.
    pub canary: Reading<T>,
    /// The old one.
    pub baseline: Reading<T>,
}

/// A metric's readings of one block, one for each host, in the same order of hosts in every block.
#[derive(Clone, Copy, Debug)]
pub enum Observed<'a> {
    /// For metrics of the kind [`Share`](crate::Kind::Share).
    Counts(&'a [HostBlock<Counts>]),
    /// For metrics of the kind [`Latency`](crate::Kind::Latency).
    Histograms(&'a [HostBlock<Histogram>]),
}

/// One block of wall time: the readings of each metric by its name. A metric that is not in it has no data.
pub type Block<'a> = BTreeMap<&'a str, Observed<'a>>;
