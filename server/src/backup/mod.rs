//! Backups of what the server cannot do without: the store and the fleet's CA, in one file.
//!
//! ```text
//! "HANDOVER-BACKUP\n"
//! header   u32 length, JSON: format, program, fleet, taken, store_format
//! entries  1, u8 length, keyspace, u16 length, key, u32 length, sealed value     in the order of keyspaces and keys
//! files    2, u8 length, name, u32 length, content                               of the CA's folder
//! end      255, u64 entries, u64 files, SHA-256 of all bytes before it
//! ```
//!
//! Numbers are little-endian. A file that was cut or changed anywhere is refused before anything is done with it. The
//! CA's key is in it, so whoever has the file can speak for the fleet: it is written with mode 0600 and kept secret.
//! Bundles are not in it: they are found by their digest, and can be copied or pushed again.

mod beside;
mod error;
mod reader;
mod restore;
mod take;
mod writer;

pub use beside::{Beside, write_beside};
pub use error::BackupError;
pub use reader::{Item, Reader, verify};
pub use restore::{Restored, restore};
pub use take::{Backups, Spool};
pub use writer::{Summary, Writer};

use serde::{Deserialize, Serialize};

const MAGIC: &[u8] = b"HANDOVER-BACKUP\n";
/// The version of the file's format.
const FORMAT: u32 = 1;
const ENTRY: u8 = 1;
const FILE: u8 = 2;
const END: u8 = 255;
/// Longest header, in bytes.
const MAX_HEADER: u32 = 4096;
/// Longest file of the CA, in bytes.
const MAX_FILE: u32 = 256 * 1024;
/// Most files of the CA.
const MAX_FILES: u64 = 64;

/// What a backup says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The version of the file's format.
    pub format: u32,
    /// The program that wrote it.
    pub program: String,
    /// The fleet's name.
    pub fleet: String,
    /// When it was taken, in Unix milliseconds.
    pub taken: u64,
    /// The version of the records' format, see [`crate::store::format`]; 0 before there was one.
    pub store_format: u32,
}

impl Header {
    /// The header of a backup that this program takes now.
    #[must_use]
    pub fn new(fleet: &str, store_format: u32) -> Self {
        Self {
            format: FORMAT,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            fleet: fleet.to_owned(),
            taken: handover_identity::wall_clock().unix_millis(),
            store_format,
        }
    }
}
