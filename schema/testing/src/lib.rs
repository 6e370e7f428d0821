//! Real databases for tests: each with files and a socket of its own in a temporary folder, on no network unless it is asked to,
//! and ended with the value that stands for it, or with the test's process.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "what fails here fails a test")]

mod files;
mod mariadb;
mod postgres;
mod process;
mod questions;

use std::future::Future;
use std::time::{Duration, Instant};

pub use files::Release;
pub use mariadb::MariaDb;
pub use postgres::{Postgres, Setup};
pub use questions::{execute, value};

/// Waits until something holds.
///
/// # Panics
/// When it does not within the time.
pub async fn eventually<T, F: Future<Output = Option<T>>>(
    deadline: Duration,
    what: &str,
    mut condition: impl FnMut() -> F,
) -> T {
    let until = Instant::now() + deadline;
    loop {
        if let Some(found) = condition().await {
            return found;
        }
        assert!(Instant::now() < until, "not within {deadline:?}: {what}");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}
