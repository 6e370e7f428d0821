//! What Handover's tests and benchmarks stand on: a load generator that counts each failure by its kind, processes
//! that end with the test that started them, and a fleet made of both.
//!
//! The programs `sample-service`, `shop`, `load` and `crowd` are binaries of this crate; `record` is what writes the recorded
//! session of the quick start.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a fixture that cannot do its work ends the test; the messages are for the reader of a failed test"
)]

pub mod clock;
pub mod duration;
pub mod exposition;
pub mod fleet;
pub mod hanging_disk;
pub mod help;
pub mod http;
pub mod journald;
pub mod load;
pub mod manager;
pub mod markdown;
pub mod network;
pub mod process;
pub mod reboot;
pub mod relay;
pub mod repository;
pub mod service;
pub mod session;
pub mod shell;
pub mod small_disk;
