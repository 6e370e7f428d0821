//! The server as operators and agents meet it: the real binary, real sockets, real TLS.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test's helpers fail as the test does")]

mod agents;
mod audit;
mod blocks;
mod bounds;
mod deployments;
mod enrolment;
mod fixture;
mod freezes;
mod logs;
mod previews;
mod releases;
mod remote;
mod roles;
