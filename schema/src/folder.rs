//! A release's migrations: one folder for each phase, files named after their number.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::address::Kind;
use crate::file::read_ordinary;
use handover_model::{
    MAX_MIGRATION_BYTES, MAX_MIGRATIONS, MigrationKind, MigrationName, MigrationNameError, SchemaPhase,
    SchemaVersion,
};
use handover_script::{Script, ScriptError};

/// All migrations of a release, by version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scripts(BTreeMap<SchemaVersion, Script>);

/// Why a release's migrations are not taken.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// A folder or a file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There are too many files.
    #[error("{} has more than {MAX_MIGRATIONS} files: fold the oldest, which every database has, into one", path.display())]
    TooMany {
        /// The folder.
        path: PathBuf,
    },
    /// A file's name does not say its number.
    #[error("in {}, {error}", folder.display())]
    Name {
        /// The folder.
        folder: PathBuf,
        /// The file's name, and what it should be like.
        error: MigrationNameError,
    },
    /// A program that nobody may execute.
    #[error("{} is a program and not executable: chmod +x, then push the release again", path.display())]
    NotExecutable {
        /// The file.
        path: PathBuf,
    },
    /// Two files have one number.
    #[error("{first} and {second} have the same number: give the newer one the next that is free")]
    Twice {
        /// The one.
        first: String,
        /// The other.
        second: String,
    },
    /// A file's content is not taken.
    #[error("{}: {error}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Where in it, and why.
        error: ScriptError,
    },
}

impl Scripts {
    /// Reads the folders `expand`, `backfill` and `contract` of a folder; each may be missing.
    pub fn read(kind: Kind, folder: &Path) -> Result<Self, FolderError> {
        let mut scripts = Self::default();
        for phase in SchemaPhase::ALL {
            scripts.read_phase(kind, phase, &folder.join(phase.name()))?;
        }
        Ok(scripts)
    }

    /// Reads one phase's folder into it. A folder that is not there has no files.
    pub fn read_phase(&mut self, kind: Kind, phase: SchemaPhase, folder: &Path) -> Result<(), FolderError> {
        let unreadable = |source| FolderError::Read { path: folder.to_owned(), source };
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(unreadable(error)),
        };
        for (count, entry) in entries.enumerate() {
            if count >= MAX_MIGRATIONS {
                return Err(FolderError::TooMany { path: folder.to_owned() });
            }
            let path = entry.map_err(unreadable)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let MigrationName { version, name, kind: holds } =
                name.parse().map_err(|error| FolderError::Name { folder: folder.to_owned(), error })?;
            let (metadata, content) = read_ordinary(&path, MAX_MIGRATION_BYTES)
                .map_err(|source| FolderError::Read { path: path.clone(), source })?;
            self.add(match holds {
                MigrationKind::Sql => Script::read(kind, phase, version, &name, &content)
                    .map_err(|error| FolderError::Content { path, error })?,
                MigrationKind::Program if metadata.mode() & 0o111 == 0 => {
                    return Err(FolderError::NotExecutable { path });
                }
                MigrationKind::Program => Script::program(phase, version, &name, &content, path),
            })?;
        }
        Ok(())
    }

    /// Adds one.
    pub fn add(&mut self, script: Script) -> Result<(), FolderError> {
        if let Some(other) = self.0.get(&script.version) {
            let mut both = [other.to_string(), script.to_string()];
            both.sort();
            let [first, second] = both;
            return Err(FolderError::Twice { first, second });
        }
        self.0.insert(script.version, script);
        Ok(())
    }

    /// The migration that makes this version.
    pub fn get(&self, version: SchemaVersion) -> Option<&Script> {
        self.0.get(&version)
    }

    /// All of them, in their order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Script> {
        self.0.values()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use handover_script::Work;
    use std::os::unix::fs::PermissionsExt;

    fn release(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        folder
    }

    fn error(files: &[(&str, &str)]) -> String {
        Scripts::read(Kind::Postgres, release(files).path()).unwrap_err().to_string()
    }

    #[test]
    fn a_release_has_its_files_in_the_order_of_their_numbers() {
        let folder = release(&[
            ("backfill/10_b.sql", "select 2"),
            ("expand/0009_a-c.sql", "select 1"),
            ("contract/11_z.sql", "select 3"),
        ]);
        let scripts = Scripts::read(Kind::Postgres, folder.path()).unwrap();
        let names: Vec<String> = scripts.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["expand/0009_a-c.sql", "backfill/0010_b.sql", "contract/0011_z.sql"]);
        assert!(Scripts::read(Kind::Postgres, release(&[]).path()).unwrap().is_empty());
    }

    #[test]
    fn a_program_is_one_that_can_be_executed() {
        let folder = release(&[("expand/1_a.sql", "select 1"), ("expand/2_b.run", "#!/bin/sh\n")]);
        let path = folder.path().join("expand/2_b.run");
        let read = || Scripts::read(Kind::Postgres, folder.path());
        assert!(matches!(read(), Err(FolderError::NotExecutable { .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let scripts = read().unwrap();
        let program = scripts.get(SchemaVersion::new(2)).unwrap();
        assert_eq!(
            (program.to_string().as_str(), &program.work),
            ("expand/0002_b.run", &Work::Program(path))
        );
    }

    #[test]
    fn what_is_no_migration_is_refused_and_named() {
        for name in [
            "a.sql",
            "1.sql",
            "_a.sql",
            "0_a.sql",
            "2147483649_a.sql",
            "1_a b.sql",
            "1_a.txt",
            "-1_a.sql",
            "1_.sql",
            "99999999999999_a.sql",
        ] {
            assert!(error(&[(&format!("expand/{name}"), "select 1")]).contains("NUMBER_NAME.sql"), "{name}");
        }
        assert!(
            error(&[("expand/1_a.sql", "select 1"), ("contract/01_b.sql", "select 1")])
                .contains("contract/0001_b.sql and expand/0001_a.sql")
        );
        assert!(error(&[("expand/1_a.sql", "\n\nselect '")]).contains("expand/1_a.sql: line 3"));
        let large = "-".repeat(1024 * 1024 + 1);
        assert!(error(&[("expand/1_a.sql", &large)]).contains("cannot read"));
        let folder = release(&[("expand/1_a.sql", "select 1")]);
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("expand/2_b.sql")).unwrap();
        assert!(matches!(Scripts::read(Kind::Postgres, folder.path()), Err(FolderError::Read { .. })));
        fs::remove_file(folder.path().join("expand/2_b.sql")).unwrap();
        fs::create_dir(folder.path().join("expand/2_b.sql")).unwrap();
        assert!(matches!(Scripts::read(Kind::Postgres, folder.path()), Err(FolderError::Read { .. })));
    }
}
