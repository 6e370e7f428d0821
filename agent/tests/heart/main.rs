//! The real agent against a server that is played: targets go in, reports and the kernel's state come out.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code outside of #[test] functions")]

mod adoption;
mod bundles;
mod confirming;
mod crashes;
mod driver;
mod flips;
mod host;
mod measuring;
mod program;
mod serving;
mod targets;
mod unwritten;
mod verifying;
