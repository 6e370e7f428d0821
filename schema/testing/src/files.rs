//! A release's migrations in a temporary folder.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use handover_schema::{Kind, Scripts};
use tempfile::TempDir;

/// The folder of a release's migrations.
pub struct Release(TempDir);

impl Release {
    /// With these files: `expand/1_a.sql`, and what stands in each.
    pub fn new(files: &[(&str, &str)]) -> Self {
        let release = Self(tempfile::tempdir().expect("a temporary folder"));
        for (name, content) in files {
            release.write(name, content);
        }
        release
    }

    /// Writes a file, anew if it is there.
    pub fn write(&self, name: &str, content: &str) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().expect("a phase")).expect("a folder");
        fs::write(&path, content).expect("a file");
        if name.ends_with(".run") {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it can be executed");
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Where it is, as a path of its own.
    pub fn to_path_buf(&self) -> PathBuf {
        self.path().to_owned()
    }

    /// What a runner reads of it.
    pub fn scripts(&self, kind: Kind) -> Scripts {
        Scripts::read(kind, self.path()).expect("the migrations are well-formed")
    }
}
