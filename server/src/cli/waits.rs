//! Waits in an operator's words.

use super::time::{span, time_of_day};
use handover_proto::v1::Wait;

/// What is waited for and what happens then. The countdown comes first, so that no narrow line loses it.
pub(super) fn in_short(wait: &Wait, now: u64) -> String {
    let time = match wait.until_unix_millis {
        0 => format!("({} already)", span(now.saturating_sub(wait.since_unix_millis))),
        until => format!("{} more", span(until.saturating_sub(now))),
    };
    format!("waits {time} for {}; then {}", wait.what, wait.then)
}

/// What is waited for, since when, until when, and what happens then.
pub(super) fn in_full(wait: &Wait, now: u64) -> String {
    let since = time_of_day(wait.since_unix_millis);
    let until = match wait.until_unix_millis {
        0 => ", without a deadline".to_owned(),
        until => format!(", until {} ({} left)", time_of_day(until), span(until.saturating_sub(now))),
    };
    format!("waits since {since} for {}{until}; then {}", wait.what, wait.then)
}
