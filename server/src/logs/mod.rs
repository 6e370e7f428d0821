//! What instances wrote, from their hosts to an operator.
//!
//! An operator's call asks the hosts through their sessions; each agent answers with a call of its own, so that a
//! session never carries lines. Lines are merged in the order of time and never kept: what nobody reads is not read.
//!
//! Bounds: [`LOG_READERS`](crate::limits::LOG_READERS) at once, [`MAX_HOSTS`] in each, [`QUEUED_BATCHES`] of each host waiting, a line of
//! [`MAX_LINE_BYTES`], and a follower who does not read misses lines and is told how many.

mod line;
mod merge;
mod reading;
mod requests;

pub use line::{Batch, Ended, Line, Lines};
pub use merge::{Merge, WINDOW};
pub use reading::{Reading, Source};
pub use requests::{LogRequests, OpenRequest};

/// Hosts in one request.
pub const MAX_HOSTS: usize = 100;
/// Lines of one host without a wish.
pub const DEFAULT_LINES: u32 = 200;
/// Lines of one host at most.
pub const MAX_LINES: u32 = 10_000;
/// Longest line, in bytes; the agent cuts what is longer.
pub const MAX_LINE_BYTES: usize = 16 * 1024;
/// Lines in one message of an agent's.
pub const MAX_BATCH_LINES: usize = 512;
/// Messages of one host that wait to be merged.
pub const QUEUED_BATCHES: usize = 2;
