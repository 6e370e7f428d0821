//! The command line without a server, as the real program.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends")]

mod check;
mod contexts;
mod init;
mod judge;
mod migrate;
mod program;
mod schema;
mod settings;
