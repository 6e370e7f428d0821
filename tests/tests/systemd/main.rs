//! What systemd sees of the daemons: what they tell it, and whether it understands what is installed for it.
//!
//! `tests/systemd/try.sh` (`make systemd`) does the rest on a host with a systemd of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends")]

mod files;
mod told;
