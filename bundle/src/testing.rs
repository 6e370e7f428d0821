//! Bundles as an attacker, or a broken program, would make them: for tests of whatever receives bundles.
//!
//! Each comes with a descriptor that is true wherever the kind of hostility does not lie in the descriptor itself:
//! the digests are right, so nothing but the check of the contents stands between it and the disk.

mod hostile;
mod tarball;

pub use hostile::{Hostile, HostileBundle};
pub use tarball::Tarball;
