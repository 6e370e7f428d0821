//! `handover migrate lint`: what would break a live system in a folder's migrations, before anything is pushed.

use crate::{
    cli::{
        error::CliError,
        exit::{self, Exit},
        manifest_file::{ManifestFile, path_of},
    },
    linting,
    migrations::{FileContent, MigrationError, Migrations, NoFile, folder},
};
use handover_model::{MAX_MIGRATION_BYTES, MAX_MIGRATIONS, SchemaPhase, config::SchemaConfig};
use serde_json::json;
use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

pub(in crate::cli) fn run(folder: &Path, as_json: bool) -> Result<Exit, CliError> {
    let path = path_of(folder);
    let file = ManifestFile::read(&path)?;
    let Some(config) = &file.manifest.schema else {
        let why = "it declares no schema: there is no [schema]";
        if as_json {
            println!("{}", not_linted(None, why));
        } else {
            println!("{}: {why}", path.display());
        }
        return Ok(exit::DONE);
    };
    let migrations = read(&path, config)?;
    let files = migrations.files().count();
    let programs = migrations.programs().count();
    let Some(report) = linting::lint(config, &migrations) else {
        let why = format!("the linter knows PostgreSQL, and this is {}", config.kind);
        if as_json {
            println!("{}", not_linted(Some(files), &why));
        } else {
            println!("not looked at: {why}");
            name_programs(&migrations);
        }
        return Ok(exit::DONE);
    };
    if as_json {
        let passes = report.passes();
        println!(
            "{}",
            json!({"linted": true, "passes": passes, "files": files, "programs": programs, "report": report})
        );
    } else if report.findings.is_empty() {
        println!("{files} files of migrations: nothing found");
    } else {
        println!("{report}");
    }
    if !as_json {
        name_programs(&migrations);
    }
    Ok(if report.passes() { exit::DONE } else { exit::FAILED })
}

fn name_programs(migrations: &Migrations) {
    migrations.programs().for_each(|file| println!("not looked at: {} is a program", file.path));
}

/// What is told where nothing was looked at: that it passes is said of nothing.
fn not_linted(files: Option<usize>, why: &str) -> serde_json::Value {
    json!({"linted": false, "passes": null, "files": files, "why": why})
}

/// The files of all phases. What the server would refuse in a bundle is refused here.
fn read(manifest: &Path, config: &SchemaConfig) -> Result<Migrations, CliError> {
    let root = manifest.parent().unwrap_or(Path::new("."));
    let mut migrations = Migrations::default();
    for phase in SchemaPhase::ALL {
        let Some(folder) = folder(config, phase) else { continue };
        in_bundle(root, &folder)?;
        for name in names(manifest, root, &folder)? {
            let path = root.join(&folder).join(&name);
            let most = usize::try_from(MAX_MIGRATION_BYTES).unwrap_or(usize::MAX);
            let content = handover_daemon::read_bounded(&path, most)?;
            let unreadable = |source| CliError::System { what: format!("read {}", path.display()), source };
            let executable = fs::metadata(&path).map_err(unreadable)?.mode() & 0o111 != 0;
            let file = FileContent { content, executable };
            migrations.add(phase, &folder, &name, file).map_err(|error| refused(manifest, &error))?;
        }
    }
    Ok(migrations)
}

/// The names in a folder, in their order: it holds nothing but regular files.
fn names(manifest: &Path, root: &Path, folder: &str) -> Result<Vec<String>, CliError> {
    let path = root.join(folder);
    let unreadable = |source| CliError::System { what: format!("read {}", path.display()), source };
    let mut names = Vec::new();
    for entry in fs::read_dir(&path).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name();
        let what = match (entry.file_type().map_err(unreadable)?, name.into_string()) {
            (kind, Ok(name)) if kind.is_file() => {
                names.push(name);
                if names.len() > MAX_MIGRATIONS {
                    return Err(refused(manifest, &MigrationError::TooMany(folder.to_owned())));
                }
                continue;
            }
            (kind, _) if kind.is_symlink() => NoFile::Link,
            (kind, _) if kind.is_dir() => NoFile::Folder,
            (kind, _) if kind.is_file() => NoFile::NotUtf8,
            _ => NoFile::Special,
        };
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        return Err(refused(manifest, &MigrationError::NoFile { path, what }));
    }
    names.sort();
    Ok(names)
}

/// A bundle holds a link as a link, and what it leads to not at all under this path.
fn in_bundle(root: &Path, folder: &str) -> Result<(), CliError> {
    for part in Path::new(folder).ancestors().filter(|part| !part.as_os_str().is_empty()) {
        let path = root.join(part);
        let kind = fs::symlink_metadata(&path)
            .map_err(|source| CliError::System { what: format!("read {}", path.display()), source })?
            .file_type();
        if !kind.is_dir() {
            let what = if kind.is_symlink() { "a link" } else { "a file" };
            let problem = format!("is {what}, and a bundle has migrations in a folder");
            return Err(CliError::File { path, problem });
        }
    }
    Ok(())
}

/// A mistake whose path begins where the manifest lies, like the manifest's own.
fn refused(manifest: &Path, error: &MigrationError) -> CliError {
    CliError::File { path: manifest.to_owned(), problem: error.to_string() }
}
