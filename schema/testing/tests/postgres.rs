//! The runner against a real PostgreSQL.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "tests")]

#[path = "postgres/mod.rs"]
mod cases;
