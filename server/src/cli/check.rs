//! `handover check`: everything that is wrong with a manifest, without a server.

use super::{
    diagnostics,
    error::CliError,
    exit::{self, Exit},
    manifest_file::{ManifestFile, path_of},
};
use handover_model::config::{Manifest, printable};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Check a manifest, without a server: all mistakes at once, each with its place.
///
/// Exit code 0: it is good. 1: it has mistakes, or cannot be read.
#[derive(Debug, clap::Args)]
pub(super) struct CheckArgs {
    /// A folder with a handover.toml, or the manifest itself.
    #[arg(value_name = "DIR|FILE", default_value = ".")]
    path: PathBuf,
}

pub(super) fn run(args: &CheckArgs, as_json: bool) -> Result<Exit, CliError> {
    let path = path_of(&args.path);
    match ManifestFile::read(&path) {
        Ok(file) => {
            let notes = notes(&file, args.path.is_dir());
            if as_json {
                let service = file.manifest.service.as_str();
                let file = path.display().to_string();
                println!(
                    "{}",
                    json!({"file": file, "valid": true, "service": service, "notes": notes, "mistakes": []})
                );
            } else {
                println!("{}: good, a manifest of service {}", path.display(), file.manifest.service);
                notes.iter().for_each(|note| println!("note: {note}"));
            }
            Ok(exit::DONE)
        }
        Err(CliError::Manifest(mistakes)) => {
            if as_json {
                println!("{}", diagnostics::as_json(&mistakes));
            } else {
                println!("{mistakes}\n\n{}: {}", path.display(), mistakes.count());
            }
            Ok(exit::FAILED)
        }
        Err(CliError::File { path, problem }) if as_json => {
            let mistake = json!({"line": 1, "column": 1, "end_line": 1, "end_column": 1, "key": "",
                                 "message": problem, "hint": null, "source": null});
            println!(
                "{}",
                json!({"file": path.display().to_string(), "valid": false, "mistakes": [mistake]})
            );
            Ok(exit::FAILED)
        }
        Err(other) => Err(other),
    }
}

/// What is no mistake of the manifest, but keeps a release of this folder from starting.
fn notes(file: &ManifestFile, is_folder: bool) -> Vec<String> {
    let folder = file.path.parent().filter(|_| is_folder);
    folder.and_then(|folder| missing_program(&file.manifest, folder)).into_iter().collect()
}

fn missing_program(manifest: &Manifest, folder: &Path) -> Option<String> {
    let program = manifest.command.first()?.literal()?;
    let path = Path::new(program);
    (path.is_relative() && !folder.join(path).exists()).then(|| {
        let program = printable(program);
        format!("{program} is not in the folder yet; put it there before `handover release push`")
    })
}
