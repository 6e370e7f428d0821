//! The agent's clock: the time since the machine's boot, which nobody sets.
//!
//! Deadlines must hold when the wall clock jumps (a day forward would kill every draining instance) and across a
//! restart of the agent. CLOCK_BOOTTIME does both, clock_gettime(2): it also counts while the machine sleeps. Reports
//! go to people, so they carry the time of day.

use handover_model::{Duration, InstanceReport, Timestamp};
use rustix::time::{ClockId, clock_gettime};
use std::time::{SystemTime, UNIX_EPOCH};

/// The time of day is taken anew where it is off by more than that: otherwise each report would differ from the one
/// before by a millisecond.
const TOLERANCE: Duration = Duration::from_secs(1);

/// Now: milliseconds since the boot, as the journal has it. Means nothing in another boot.
#[must_use]
pub fn now() -> Timestamp {
    Timestamp::from_unix_millis(nanos() / 1_000_000)
}

/// Microseconds in which the machine ran, since its boot: what processor time is a part of.
#[must_use]
pub fn running_micros() -> u64 {
    nanos_of(ClockId::Monotonic) / 1000
}

/// Now, in nanoseconds since the boot: to tell how far apart two moments were.
#[must_use]
pub fn nanos() -> u64 {
    nanos_of(ClockId::Boottime)
}

/// As 64 bits they last for 584 years.
fn nanos_of(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

/// The time of day at the boot: what stands between this clock and an operator's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeOfDay(Timestamp);

impl TimeOfDay {
    /// Looks at the wall clock, and follows it where it was set.
    pub fn follow(&mut self) {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let at_boot =
            Timestamp::from_unix_millis(0) + wall.saturating_sub(now().since(Timestamp::from_unix_millis(0)));
        if at_boot.since(self.0).max(self.0.since(at_boot)) > TOLERANCE {
            self.0 = at_boot;
        }
    }

    /// A report with the time of day in it.
    #[must_use]
    pub fn of(self, report: InstanceReport) -> InstanceReport {
        InstanceReport { since: self.at(report.since), until: report.until.map(|at| self.at(at)), ..report }
    }

    /// The time of day at a moment of this clock.
    #[must_use]
    pub fn at(self, moment: Timestamp) -> Timestamp {
        self.0 + Duration::from_millis(moment.unix_millis())
    }
}
