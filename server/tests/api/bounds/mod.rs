//! Limits on what agents, operators and strangers may use, on the real server. What was measured is printed.

mod floods;
mod readers;
mod tokens;
mod unread;
mod uploads;
mod watchers;

use std::time::Duration;

/// The middle one of some times, and the longest.
fn middle_and_most(times: &mut [Duration]) -> (Duration, Duration) {
    times.sort_unstable();
    (times[times.len() / 2], times[times.len() - 1])
}
