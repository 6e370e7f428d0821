//! A deployment while it goes on, watched by the command line.

use super::Done;
use crate::process::{Running, wait_until};
use std::time::Duration;

/// Longest deployment of a test.
const LONG: Duration = Duration::from_secs(120);

/// `handover deploy` that runs.
#[derive(Debug)]
pub struct Deploying(Running);

impl Deploying {
    pub(super) fn of(running: Running) -> Self {
        Self(running)
    }

    /// Waits until it has shown so many snapshots, or has ended.
    pub fn until_snapshots(&self, count: usize) {
        wait_until(LONG, &format!("{count} snapshots"), || {
            self.0.stdout().lines().count() >= count || !self.0.is_running()
        });
    }

    /// Waits for its end.
    #[must_use]
    pub fn end(mut self) -> Done {
        let status = self.0.wait(LONG);
        Done { code: status.code().unwrap_or(-1), stdout: self.0.stdout(), stderr: self.0.stderr() }
    }
}
