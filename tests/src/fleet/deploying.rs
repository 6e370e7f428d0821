//! A deployment while it goes on, watched by the command line.

use super::Done;
use crate::process::{Running, wait_until};
use serde_json::Value;
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

    /// Waits until one of its snapshots is as wanted, however short it was so. It must not have ended before.
    #[track_caller]
    pub fn until(&self, what: &str, wanted: impl Fn(&Value) -> bool) {
        let shown = || {
            let shown = self.0.stdout();
            // A last line that is not whole yet is read again.
            let whole = shown.lines().filter_map(|line| serde_json::from_str(line).ok());
            whole.collect::<Vec<Value>>()
        };
        wait_until(LONG, what, || {
            let goes_on = self.0.is_running();
            let is_there = shown().iter().any(&wanted);
            assert!(is_there || goes_on, "it ended without {what}: {:?}", shown().last());
            is_there
        });
    }

    /// Waits until a host was in one of these states. What lasts some milliseconds may be shown as what comes after it only.
    #[track_caller]
    pub fn until_a_host_is(&self, states: &[&str]) {
        let is = |host: &Value| host["state"].as_str().is_some_and(|state| states.contains(&state));
        self.until(&format!("a host to be {}", states.join(" or ")), |snapshot| {
            snapshot["hosts"].as_array().is_some_and(|hosts| hosts.iter().any(is))
        });
    }

    /// Waits for its end.
    #[must_use]
    pub fn end(mut self) -> Done {
        let status = self.0.wait(LONG);
        Done { code: status.code().unwrap_or(-1), stdout: self.0.stdout(), stderr: self.0.stderr() }
    }
}
