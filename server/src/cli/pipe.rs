//! A reader that has seen enough: `handover history | head`.
#![expect(unsafe_code, reason = "signal(2) has no safe interface")]

use nix::sys::signal::{SigHandler, Signal, signal};

/// Lets SIGPIPE end this process, as it ends every command in a pipe, instead of a panic at the next line printed.
///
/// Rust ignores the signal at the start of each program. Sockets do not need that: the standard library and mio send
/// with `MSG_NOSIGNAL`. A deployment that was being watched goes on.
pub(super) fn end_quietly() {
    // SAFETY: the default disposition runs no code of ours, and nothing here relies on the former one.
    let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) };
}
