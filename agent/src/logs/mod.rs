//! What instances wrote, read where it is and sent to the server when it asks.
//!
//! Two places: files, whose lines carry no time (the programs write them, and nobody stands in between), and journald,
//! which writes a time to each line. Bounds: [`MAX_REQUESTS`] at once, [`MAX_LINE_BYTES`] of a line,
//! [`MAX_BYTES`] of what was there already; of what is written now nothing is read before the server took what was
//! read before.

mod answering;
mod files;
mod journald;
mod line;
mod request;

pub use answering::{LogRequests, read};
pub use line::{Line, Piece};
pub use request::LogRequest;

/// Requests at once; one more is answered with a refusal.
pub const MAX_REQUESTS: usize = 4;
/// Longest line that is sent, in bytes; what is longer is cut and marked.
pub const MAX_LINE_BYTES: usize = 16 * 1024;
/// Bytes of what was there already, for each request.
pub const MAX_BYTES: usize = 4 * 1024 * 1024;
