//! Lines on their way.

use handover_model::{HostName, InstanceId, Version};

/// One line that an instance wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Which instance, where that is known.
    pub instance: Option<InstanceId>,
    /// Unix microseconds; `None` where nobody wrote the time down.
    pub micros: Option<u64>,
    /// Whether the time is when the agent saw it.
    pub seen: bool,
    /// What was written, without the line's end.
    pub text: Vec<u8>,
    /// Whether it was longer.
    pub cut: bool,
}

/// What an agent sends at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// In the order of their times, as far as they have some.
    pub lines: Vec<Line>,
    /// What was there already has been sent.
    pub caught_up: bool,
    /// Why nothing more comes.
    pub failed: Option<String>,
    /// What a reader must know.
    pub note: Option<String>,
}

/// A host of which nothing more comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Which.
    pub host: HostName,
    /// Why it could not be read, or not to its end.
    pub failed: Option<String>,
    /// What a reader must know.
    pub notes: Vec<String>,
}

/// What a reader gets at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// With their hosts and releases, in the order of time.
    pub lines: Vec<(HostName, Option<Version>, Line)>,
    /// Lines before these that the reader was too slow for.
    pub left_out: u64,
    /// Hosts that came to their end.
    pub ended: Vec<Ended>,
}

impl Lines {
    /// Whether there is nothing to tell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.left_out == 0 && self.ended.is_empty()
    }
}
