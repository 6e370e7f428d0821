//! `handover server restore FILE`.

use super::{Data, refused};
use crate::{
    backup::{BackupError, Restored, restore},
    cli::{error::CliError, exit, time},
    store::OpenError,
};
use serde_json::json;
use std::path::PathBuf;

#[derive(Clone, Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// The backup.
    file: PathBuf,
    #[command(flatten)]
    data: Data,
    /// Keep the store (and the CA, if it is another) that is there beside its place, as store.aside-N.
    #[arg(long)]
    set_aside: bool,
}

pub(super) async fn run(args: Args, as_json: bool) -> Result<exit::Exit, CliError> {
    let Args { file, data, set_aside } = args;
    let data = data.folder()?;
    let restored = restore(&file, &data, set_aside).await.map_err(|error| match &error {
        BackupError::Open(OpenError::Locked { .. }) => {
            refused(&error, "stop the server first; agents and their services run on meanwhile")
        }
        BackupError::NotABackup => {
            refused(&error, &format!("look at {}; `handover server backup FILE` writes one", file.display()))
        }
        _ => refused(&error, ""),
    })?;
    let Restored { header, summary, store_aside, ca_aside, problems } = restored;
    if as_json {
        println!(
            "{}",
            json!({"fleet": header.fleet, "taken": header.taken, "entries": summary.entries,
                   "ca_files": summary.files, "store_aside": store_aside, "ca_aside": ca_aside,
                   "problems": problems})
        );
    } else {
        println!(
            "restored fleet {} as of {} into {}: {} records",
            header.fleet,
            time::moment(header.taken),
            data.display(),
            summary.entries
        );
        for (what, aside) in [("store", store_aside), ("CA", ca_aside)] {
            if let Some(aside) = aside {
                println!("the former {what} is kept in {}", aside.display());
            }
        }
        for problem in &problems {
            println!("problem: {problem}");
        }
        println!(
            "next: start the server with --fleet {} --data {}; `handover server fsck --bundles` before that says which bundles are missing (copy them from the former server, or push those releases again)",
            header.fleet,
            data.display()
        );
    }
    Ok(if problems.is_empty() { exit::DONE } else { exit::FAILED })
}
