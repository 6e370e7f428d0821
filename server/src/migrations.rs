//! The migrations of a release by their files, for whoever pushes a release and for the server that takes it. Names and files
//! that the host that applies them would refuse are refused here.

use handover_model::{
    MAX_MIGRATION_BYTES, MAX_MIGRATIONS, MigrationKind, MigrationName, MigrationNameError, SchemaPhase,
    SchemaVersion, config::SchemaConfig,
};
use handover_script::{Kind, Script, Work};
use std::{collections::BTreeMap, fmt};

/// A file of a release's migrations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MigrationFile {
    /// Its path in the release.
    pub(crate) path: String,
    /// What stands in it; `None`: it is a program.
    pub(crate) text: Option<String>,
}

/// Why something is no migration of a release. Paths are those of the release.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MigrationError {
    /// The name does not say its number.
    #[error("in {folder}, {error}")]
    Name {
        /// The phase's folder.
        folder: String,
        /// The name, and what it should be like.
        error: MigrationNameError,
    },
    /// It is a link, a folder, or the like.
    #[error(
        "{path:?} is {what}: a folder of migrations holds files NUMBER_NAME.sql and NUMBER_NAME.run and nothing else"
    )]
    NoFile {
        /// Which.
        path: String,
        /// What it is.
        what: NoFile,
    },
    /// It is too large.
    #[error("{0} has more than {MAX_MIGRATION_BYTES} bytes")]
    TooLarge(String),
    /// It cannot be SQL.
    #[error("{path}:{line}: has bytes that are no UTF-8")]
    NoText {
        /// Which.
        path: String,
        /// The line of the first of them, from 1.
        line: usize,
    },
    /// There are too many.
    #[error("{0} has more than {MAX_MIGRATIONS} files: fold the oldest, which every database has, into one")]
    TooMany(String),
    /// It is a program that nobody may execute.
    #[error("{0} is a program and not executable: chmod +x")]
    NotExecutable(String),
    /// Two have one number.
    #[error("{first} and {second} have the same number: give the newer one the next")]
    Twice {
        /// The one.
        first: String,
        /// The other.
        second: String,
    },
}

/// What lies in a folder of migrations and is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoFile {
    /// A folder.
    Folder,
    /// A symbolic link, wherever it leads.
    Link,
    /// A pipe, a socket, a device.
    Special,
    /// A file, but its name is not text.
    NotUtf8,
}

impl fmt::Display for NoFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Folder => "a folder",
            Self::Link => "a link",
            Self::Special => "no regular file",
            Self::NotUtf8 => "a file whose name is no UTF-8",
        })
    }
}

/// What a file that is to be a migration holds, and whether it can be executed.
pub(crate) struct FileContent {
    pub(crate) content: Vec<u8>,
    pub(crate) executable: bool,
}

/// The migrations of a release: of each phase by the version that they make.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Migrations(BTreeMap<SchemaPhase, BTreeMap<SchemaVersion, MigrationFile>>);

impl Migrations {
    /// Takes a regular file of a phase's folder.
    pub(crate) fn add(
        &mut self,
        phase: SchemaPhase,
        folder: &str,
        name: &str,
        FileContent { content, executable }: FileContent,
    ) -> Result<(), MigrationError> {
        let MigrationName { version, kind, .. } =
            name.parse().map_err(|error| MigrationError::Name { folder: folder.to_owned(), error })?;
        let path = format!("{folder}/{name}");
        if content.len() as u64 > MAX_MIGRATION_BYTES {
            return Err(MigrationError::TooLarge(path));
        }
        let text = match kind {
            MigrationKind::Program if !executable => return Err(MigrationError::NotExecutable(path)),
            MigrationKind::Program => None,
            MigrationKind::Sql => Some(text_of(&path, content)?),
        };
        if let Some(other) = self.0.values().find_map(|files| files.get(&version)) {
            return Err(MigrationError::Twice { first: other.path.clone(), second: path });
        }
        let files = self.0.entry(phase).or_default();
        if files.len() == MAX_MIGRATIONS {
            return Err(MigrationError::TooMany(folder.to_owned()));
        }
        files.insert(version, MigrationFile { path, text });
        Ok(())
    }

    /// Those that are programs: nobody can say what those do to a schema.
    pub(crate) fn programs(&self) -> impl Iterator<Item = &MigrationFile> {
        self.files().map(|(_, _, file)| file).filter(|file| file.text.is_none())
    }

    /// What the schema is after those of a phase; `None` where it has none.
    pub(crate) fn after(&self, phase: SchemaPhase) -> Option<SchemaVersion> {
        self.0.get(&phase)?.last_key_value().map(|(version, _)| *version)
    }

    /// What the schema is after each of those of a phase, in order.
    pub(crate) fn versions(&self, phase: SchemaPhase) -> impl DoubleEndedIterator<Item = SchemaVersion> {
        self.0.get(&phase).into_iter().flat_map(BTreeMap::keys).copied()
    }

    /// The backfills that nothing can do again by itself, in order: neither programs nor in batches.
    pub(crate) fn by_hand(&self, kind: Kind) -> Vec<SchemaVersion> {
        let backfills = self.0.get(&SchemaPhase::Backfill).into_iter().flatten();
        let by_hand = backfills.filter(|(version, file)| {
            let text = file.text.as_deref();
            let read =
                text.map(|text| Script::read(kind, SchemaPhase::Backfill, **version, "", text.as_bytes()));
            read.is_some_and(|script| !script.is_ok_and(|script| matches!(script.work, Work::Batches(..))))
        });
        by_hand.map(|(version, _)| *version).collect()
    }

    /// All files, each phase's in the order of their numbers.
    pub(crate) fn files(&self) -> impl Iterator<Item = (SchemaPhase, SchemaVersion, &MigrationFile)> {
        self.0.iter().flat_map(|(phase, files)| files.iter().map(|(version, file)| (*phase, *version, file)))
    }
}

fn text_of(path: &str, content: Vec<u8>) -> Result<String, MigrationError> {
    String::from_utf8(content).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes().iter().take(good).filter(|byte| **byte == b'\n').count();
        MigrationError::NoText { path: path.to_owned(), line }
    })
}

/// The folder of a phase's files as a bundle names it: without `.` and slashes at the end; `None` where it has
/// none.
pub(crate) fn folder(config: &SchemaConfig, phase: SchemaPhase) -> Option<String> {
    let parts = config.migrations(phase)?.components().filter_map(|part| part.as_os_str().to_str());
    Some(parts.filter(|part| *part != ".").collect::<Vec<_>>().join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use SchemaPhase::{Backfill, Expand};

    fn added(files: &[(SchemaPhase, &str, &[u8])]) -> Result<Migrations, MigrationError> {
        let mut migrations = Migrations::default();
        for (phase, name, content) in files {
            let file = FileContent { content: content.to_vec(), executable: true };
            migrations.add(*phase, phase.name(), name, file)?;
        }
        Ok(migrations)
    }

    #[test]
    fn files_come_in_the_order_in_which_they_are_applied() {
        let migrations =
            added(&[(Backfill, "3_c.sql", b"c"), (Expand, "10_b.sql", b"b"), (Expand, "9_a.sql", b"a")])
                .unwrap();
        let paths: Vec<&str> = migrations.files().map(|(_, _, file)| file.path.as_str()).collect();
        assert_eq!(paths, ["expand/9_a.sql", "expand/10_b.sql", "backfill/3_c.sql"]);
        let after = SchemaPhase::ALL.map(|phase| migrations.after(phase).map(SchemaVersion::number));
        assert_eq!(after, [Some(10), Some(3), None]);
    }

    #[test]
    fn what_no_host_would_apply_is_refused_by_name() {
        let refused = |files: &[(SchemaPhase, &str, &[u8])]| added(files).unwrap_err().to_string();
        assert!(
            refused(&[(Expand, "readme.txt", b"")]).starts_with("in expand, \"readme.txt\" is not named")
        );
        assert_eq!(
            refused(&[(Expand, "2_a.sql", b"a"), (Backfill, "02_b.sql", b"b")]),
            "expand/2_a.sql and backfill/02_b.sql have the same number: give the newer one the next"
        );
        assert_eq!(
            refused(&[(Expand, "1_a.sql", b"select\n'\xff'")]),
            "expand/1_a.sql:2: has bytes that are no UTF-8"
        );
        let fills =
            b"-- handover: batch table=t key=id\nUPDATE t SET n = 1 WHERE id BETWEEN :first AND :last;";
        let backfills = added(&[
            (Backfill, "1_a.sql", b"UPDATE t SET n = 1;"),
            (Backfill, "2_b.sql", fills),
            (Backfill, "3_c.run", b"#!/bin/sh"),
        ]);
        assert_eq!(backfills.unwrap().by_hand(Kind::Postgres), [SchemaVersion::new(1)]);
        let program = added(&[(Expand, "1_a.run", b"\x7fELF\xff")]).unwrap();
        assert_eq!(program.programs().count(), 1, "what a program holds is its own affair");
        let inert = FileContent { content: b"#!/bin/sh".to_vec(), executable: false };
        let inert = Migrations::default().add(Expand, "expand", "1_a.run", inert).unwrap_err();
        assert_eq!(inert.to_string(), "expand/1_a.run is a program and not executable: chmod +x");
        let large = vec![b'-'; 1024 * 1024 + 1];
        assert!(added(&[(Expand, "1_a.sql", &large[1..])]).is_ok());
        assert_eq!(refused(&[(Expand, "1_a.sql", &large)]), "expand/1_a.sql has more than 1048576 bytes");
        let names: Vec<String> = (1..=1001).map(|number| format!("{number}_a.sql")).collect();
        let many: Vec<(SchemaPhase, &str, &[u8])> =
            names.iter().map(|name| (Expand, name.as_str(), b"a".as_slice())).collect();
        assert!(added(&many[..1000]).is_ok());
        assert!(refused(&many).starts_with("expand has more than 1000 files"));
    }
}
