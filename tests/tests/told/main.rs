//! What the programs tell people, word for word: help, errors, status. `INSTA_UPDATE=always` writes the snapshots anew.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends")]

mod errors;
mod help;
mod printed;
mod refusals;
mod status;
