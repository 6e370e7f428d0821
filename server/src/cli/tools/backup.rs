//! `handover server backup FILE`.

use super::{super::release::progress, failed};
use crate::{
    backup::{BackupError, Beside, verify},
    cli::{connection::Connection, error::CliError, exit, time},
};
use handover_proto::v1::BackupRequest;
use serde_json::json;
use std::{
    io::{BufReader, Write as _},
    path::PathBuf,
};

#[derive(Clone, Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// The file to write. Whoever can read it can speak for the fleet.
    file: PathBuf,
    /// Replace a file of that name.
    #[arg(long)]
    force: bool,
}

pub(super) async fn run(args: Args, mut to: Connection, as_json: bool) -> Result<exit::Exit, CliError> {
    let Args { file: path, force } = args;
    if path.exists() && !force {
        return Err(failed(&BackupError::Exists(path)));
    }
    let mut file = Beside::new(&path).map_err(|error| failed(&error))?;
    let bar = progress();
    bar.set_message("backup");
    let mut chunks = to.client.backup(BackupRequest {}).await?.into_inner();
    while let Some(chunk) = chunks.message().await? {
        bar.set_length(chunk.total);
        bar.inc(chunk.data.len() as u64);
        let written = file.sink().write_all(&chunk.data);
        written.map_err(|source| CliError::System { what: format!("write {}", path.display()), source })?;
    }
    bar.finish_and_clear();
    // What is kept is what can be restored.
    let read = file.read_back().map_err(|error| failed(&error))?;
    let (header, summary) = verify(BufReader::new(read)).map_err(|error| failed(&error))?;
    file.keep(force).map_err(|error| failed(&error))?;
    if as_json {
        println!(
            "{}",
            json!({"file": path, "fleet": header.fleet, "taken": header.taken, "entries": summary.entries,
                   "ca_files": summary.files, "bytes": summary.bytes, "digest": summary.digest.to_string()})
        );
        return Ok(exit::DONE);
    }
    println!(
        "backup of fleet {} as of {}: {} ({} records, {})",
        header.fleet,
        time::moment(header.taken),
        path.display(),
        summary.entries,
        indicatif::HumanBytes(summary.bytes),
    );
    match summary.files {
        0 => eprintln!("the CA is your own and not in it; bundles are not in it either"),
        _ => eprintln!(
            "keep the file secret: the CA's key is in it, and with it anybody can speak for the fleet; bundles are not in it"
        ),
    }
    Ok(exit::DONE)
}
