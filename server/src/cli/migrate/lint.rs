//! `handover migrate lint`: what would break a live system in a folder's migrations, before anything is pushed.

use crate::{
    cli::{
        error::CliError,
        exit::{self, Exit},
        manifest_file::{ManifestFile, path_of},
    },
    linting::{self, MigrationFile},
};
use handover_model::{MAX_MIGRATION_BYTES, MAX_MIGRATIONS, MigrationName, SchemaPhase, config::SchemaConfig};
use std::{fs, path::Path};

pub(in crate::cli) fn run(folder: &Path, as_json: bool) -> Result<Exit, CliError> {
    let path = path_of(folder);
    let file = ManifestFile::read(&path)?;
    let Some(config) = &file.manifest.schema else {
        println!("{}: it declares no schema: there is no [schema]", path.display());
        return Ok(exit::DONE);
    };
    let root = path.parent().unwrap_or(Path::new("."));
    let files = read(root, config)?;
    let Some(report) = linting::lint(config, &files) else {
        println!("not looked at: the linter knows PostgreSQL, and this is {}", config.kind.name());
        return Ok(exit::DONE);
    };
    if as_json {
        let passes = report.passes();
        let programs = files.iter().filter(|file| file.is_program()).count();
        println!(
            "{}",
            serde_json::json!({"passes": passes, "files": files.len(), "programs": programs, "report": report})
        );
    } else if report.findings.is_empty() {
        println!("{} files of migrations: nothing found", files.len());
    } else {
        println!("{report}");
    }
    if !as_json {
        let programs = files.iter().filter(|file| file.is_program());
        programs.for_each(|file| println!("not looked at: {} is a program", file.path));
    }
    Ok(if report.passes() { exit::DONE } else { exit::FAILED })
}

/// The files of all phases, in the order of their numbers.
fn read(root: &Path, config: &SchemaConfig) -> Result<Vec<MigrationFile>, CliError> {
    let mut files = Vec::new();
    for phase in SchemaPhase::ALL {
        let Some(folder) = linting::folder(config, phase) else { continue };
        let unreadable = |problem: String| CliError::File { path: root.join(&folder), problem };
        let entries = fs::read_dir(root.join(&folder)).map_err(|error| unreadable(error.to_string()))?;
        let mut named = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| unreadable(error.to_string()))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let MigrationName { version, .. } = name
                .parse()
                .map_err(|error| CliError::File { path: entry.path(), problem: format!("{error}") })?;
            named.push((version, name));
            if named.len() > MAX_MIGRATIONS {
                return Err(unreadable(format!("has more than {MAX_MIGRATIONS} files")));
            }
        }
        named.sort();
        for (_, name) in named {
            let path = root.join(&folder).join(&name);
            let most = usize::try_from(MAX_MIGRATION_BYTES).unwrap_or(usize::MAX);
            let bytes = handover_daemon::read_bounded(&path, most)
                .map_err(|error| CliError::File { path: path.clone(), problem: error.to_string() })?;
            let text = String::from_utf8_lossy(&bytes).into_owned();
            files.push(MigrationFile { phase, path: format!("{folder}/{name}"), text });
        }
    }
    Ok(files)
}
