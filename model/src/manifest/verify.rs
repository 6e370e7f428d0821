//! What a candidate must pass before it counts as ready: commands on its host that reach it while it is hidden.

use super::MAX_VERIFY_COMMANDS;
use std::time::Duration;

/// Added to each command's time: for starting it, and for ending what it left behind.
const AROUND: Duration = Duration::from_secs(15);

/// Commands that all have to end with code 0, once, before an instance that never had a share counts as ready. `T` is
/// the text of commands: with placeholders in a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verify<T = String> {
    /// Each is a program and its arguments; 1 to [`MAX_VERIFY_COMMANDS`] of them, in the order in which they run.
    pub commands: Vec<Vec<T>>,
    /// After this long one is ended and has failed, 10 ms to 1 h.
    pub timeout: Duration,
}

impl<T> Verify<T> {
    /// From the instance's readiness until all commands have ended or were ended.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        let commands = u32::try_from(self.commands.len().min(MAX_VERIFY_COMMANDS)).unwrap_or(u32::MAX);
        (self.timeout + AROUND).saturating_mul(commands)
    }

    /// The same with the words of each command turned into something else.
    pub(super) fn map<U>(&self, command: impl FnMut(&Vec<T>) -> Vec<U>) -> Verify<U> {
        Verify { commands: self.commands.iter().map(command).collect(), timeout: self.timeout }
    }
}
