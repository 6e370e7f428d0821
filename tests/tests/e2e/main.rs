//! End to end: the real server, agents, command line and service, under load. A single failed request fails a test.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends")]

mod blue_green;
mod bounds;
mod bundles;
mod canary;
mod control;
mod crashes;
mod demo;
mod deployments;
mod documents;
mod drains;
mod events;
mod examples;
mod failures;
mod full_disk;
mod health;
mod host_changes;
mod host_disk;
mod hosts;
mod journald;
mod judge;
mod kills;
mod limits;
mod logs;
mod pages;
mod preview;
mod refusals;
mod rehearsals;
mod roles;
mod stories;
mod verify;
mod vitals;
mod workers;
