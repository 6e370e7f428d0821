//! A release: an immutable version of a service.

use crate::{Digest, ServiceName, Version};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a bundle declares of itself. More than it declares is refused when it is unpacked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BundleDescriptor {
    /// Digest of the archive as it is stored and transferred (a zstd-compressed tar).
    pub digest: Digest,
    /// Length of the archive in bytes.
    pub size: u64,
    /// Digest of the uncompressed tar stream: what the unpacked directory gives when it is packed again.
    pub tree: Digest,
    /// Bytes of all regular files together, unpacked.
    pub unpacked: u64,
    /// Number of entries: files, directories and links.
    pub entries: u64,
}

/// A release by name: which version of which service. Unique in the fleet.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReleaseRef {
    /// Whose release.
    pub service: ServiceName,
    /// Its version label.
    pub version: Version,
}

impl fmt::Display for ReleaseRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.service, self.version)
    }
}

impl fmt::Debug for ReleaseRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.service, self.version)
    }
}

/// Everything an agent needs to run a release: its name, its files, its manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Service and version.
    pub name: ReleaseRef,
    /// Its files.
    pub bundle: BundleDescriptor,
    /// The manifest's text, TOML, at most [`crate::config::MAX_MANIFEST_BYTES`].
    pub manifest: String,
}
