//! What the documents name is there: commands and their flags, targets, files, tests, headings.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends")]

mod claims;
mod commands;
mod exit_codes;
mod manual;
mod names;
mod ran;
mod session;
mod skips;

/// Fails with all mistakes at once.
#[track_caller]
fn none_of(mistakes: &[String]) {
    assert!(mistakes.is_empty(), "{} mistakes in documents:\n{}", mistakes.len(), mistakes.join("\n"));
}
