//! The linter as who uses it sees it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends")]

mod alone;
mod cases;
mod decisions;
mod each_rule;
mod files;
mod hostile;
mod page;
mod real;
mod reports;
