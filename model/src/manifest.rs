//! placeholder

/// Longest manifest that is read, in bytes.
pub const MAX_MANIFEST_BYTES: usize = 64 * 1024;
