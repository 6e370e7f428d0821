//! The audit: who did what, when, from where, to what, and what came of it.
//!
//! Entries are only ever added, each with the hash of the one before it. A change of the fleet and its entry are one
//! commit. Reads are no entries. Nothing is pruned: an entry takes some 600 bytes.
//!
//! The chain finds what was changed, removed or swapped in the store by somebody who cannot compute it anew; against
//! somebody who can, an operator notes the head elsewhere and has it looked for later.

mod chain;
mod check;
mod entry;
mod log;
mod refusals;
#[cfg(test)]
mod tests;
mod verify;

pub use chain::{HEAD_KEY, Head, audit_key};
pub use check::ChainCheck;
pub use entry::{Deed, Entry, OK, Sealed};
pub use log::{AuditLog, Listed, Query};
pub(crate) use refusals::Refusals;
pub use verify::{Break, Walk};
