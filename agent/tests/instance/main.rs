//! Starting, watching and ending real programs through the real launcher.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

mod adoption;
mod containment;
mod journald;
mod launch;
mod notify;
mod probes;
mod roles;
mod support;
