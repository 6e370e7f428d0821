//! The store's promises: one suite for both implementations, and what only a disk can show. The engine is opened once
//! for each process, so a test that needs it runs itself again as a child, and reopening means another child.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test says by a panic that it failed")]

#[path = "store/child.rs"]
mod child;
#[path = "store/conformance.rs"]
mod conformance;
#[path = "store/crash.rs"]
mod crash;
#[path = "store/refusals.rs"]
mod refusals;
