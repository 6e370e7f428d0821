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

    /// Waits until it has shown so many snapshots. It must not have ended by then.
    #[track_caller]
    pub fn until_snapshots(&self, count: usize) {
        wait_until(LONG, &format!("{count} snapshots"), || {
            let shown = self.0.stdout().lines().count();
            assert!(
                shown >= count || self.0.is_running(),
                "it ended after {shown} snapshots, before the {count}th"
            );
            shown >= count
        });
        let over = |line: &str| {
            ["succeeded", "rolled back"].iter().any(|end| line.contains(&format!("\"state\":\"{end}\"")))
        };
        let shown = self.0.stdout();
        assert!(!shown.lines().take(count).any(over), "the deployment had ended by the {count}th snapshot");
    }

    /// Waits for its end.
    #[must_use]
    pub fn end(mut self) -> Done {
        let status = self.0.wait(LONG);
        Done { code: status.code().unwrap_or(-1), stdout: self.0.stdout(), stderr: self.0.stderr() }
    }
}
