//! How a command ends: the exit codes that scripts rest on.

use std::process::{ExitCode, Termination};

/// An exit code with its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit(u8);

/// Done.
pub const DONE: Exit = Exit(0);
/// Failed: nothing was changed, or what was is reported.
pub const FAILED: Exit = Exit(1);
/// The command line makes no sense.
pub const USAGE: Exit = Exit(2);
/// Rolled back: the fleet is healthy on the old release.
pub const ROLLED_BACK: Exit = Exit(3);
/// Waits for a person, or is paused.
pub const WAITS: Exit = Exit(4);
/// The server cannot be reached.
pub const UNREACHABLE: Exit = Exit(5);
/// Refused by policy or role: also by another operator's lock, by a deployment of the same service, and by what reads a schema.
pub const REFUSED: Exit = Exit(6);
/// A rollback failed too: a person is needed.
pub const NEEDS_PERSON: Exit = Exit(7);
/// Interrupted; the deployment goes on.
pub const INTERRUPTED: Exit = Exit(130);

impl Exit {
    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        self.0
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(self.0)
    }
}

/// The exit code of a `handover` process; one that a signal ended has failed.
pub(super) fn of_process(status: std::process::ExitStatus) -> Exit {
    status.code().and_then(|code| u8::try_from(code).ok()).map_or(FAILED, Exit)
}
