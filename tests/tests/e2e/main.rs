//! End to end: the real server, agents, command line and service, under load. A single failed request fails a test.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends")]

mod bundles;
mod crashes;
mod deployments;
mod drains;
mod examples;
mod failures;
mod refusals;
mod roles;
mod workers;
