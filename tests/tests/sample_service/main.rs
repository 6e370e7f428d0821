//! The sample service behaves, and misbehaves, as its flags say: every other test rests on that.
#![expect(clippy::unwrap_used, reason = "a fixture that cannot do its work ends the test")]

mod draining;
mod faults;
mod protocols;
mod service;
