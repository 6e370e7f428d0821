//! A release's files as a bundle: a reproducible archive, addressed by its digest.
//!
//! A bundle is a tar stream in one zstd frame. The tar stream is canonical: for a tree of files there is exactly one.
//! Entries are sorted by the bytes of their path, owned by 0, dated 0, without names of owners; directories and
//! executables have mode 0755, other files 0644, links 0777; names over 100 bytes are written as GNU tar writes
//! them; two zero blocks end it. So [`pack`] gives the same bytes wherever and whenever it runs, [`verify`] has to
//! take nothing but what [`pack`] writes, and an unpacked directory is checked by packing it again ([`verify_tree`]).
//!
//! Nothing that a bundle says is trusted: what it is, is fixed by the digests of its [`BundleDescriptor`], and how
//! much it may be, by [`Limits`]. This crate is synchronous; call it from a thread that may block.
//!
//! Not kept: owners, times, extended attributes (file capabilities too), which names were hard links to each other.

mod beneath;
mod digesting;
mod entry;
mod error;
mod files;
mod limits;
mod pack;
mod path;
mod scan;
mod shape;
mod staging;
mod unpack;
mod walk;

#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use error::{BundleError, PackError, Refusal};
pub use files::{FilesLimits, Found, FoundFile, Other, OtherKind, read_files};
pub use handover_model::BundleDescriptor;
pub use limits::Limits;
pub use pack::{Size, measure, pack, pack_within, verify_tree};
pub use scan::verify;
pub use staging::sweep_temporary;
pub use unpack::{room_for, unpack, unpack_within};

#[cfg(test)]
mod tests;
