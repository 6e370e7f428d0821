//! `handover server backup`, `restore`, `fsck`: what an operator does with the server's store.

mod backup;
mod fsck;
mod restore;

use super::{Global, connection::Connection, error::CliError, exit};
use crate::{
    backup::BackupError,
    settings::{self, ServerFileError},
};
use handover_proto::status::{Reason, Refusal};
use std::path::PathBuf;

#[derive(Clone, Debug, clap::Subcommand)]
pub(super) enum Tool {
    /// Write a backup of the store and the fleet's CA into a file, while the server runs. The file is secret.
    ///
    /// Bundles are not in it: copy the folder DIR/bundles, whose files never change, or push the releases again.
    Backup(backup::Args),
    /// Put a backup in place of a store. The server must not run.
    Restore(restore::Args),
    /// Look through a store: every record, every name in them, every deployment against its journal. Changes nothing;
    /// the server must not run. Exit code 1 where something is wrong.
    Fsck(fsck::Args),
}

#[derive(Clone, Debug, clap::Args)]
pub(in crate::cli) struct Data {
    /// The server's folder of everything durable; where it is not given, as the server's configuration has it
    /// [default: /var/lib/handover-server]
    #[arg(long, value_name = "DIR", env = "HANDOVER_DATA")]
    data: Option<PathBuf>,
    /// The server's configuration; where it is not given /etc/handover/server.toml, if that is there
    #[arg(long, value_name = "FILE", env = "HANDOVER_SERVER_CONFIG")]
    config: Option<PathBuf>,
}

impl Data {
    /// The folder.
    fn folder(self) -> Result<PathBuf, CliError> {
        let Self { data, config } = self;
        settings::data(data, config.as_deref()).map_err(|error| match error {
            ServerFileError::Read(error) => error.into(),
            ServerFileError::Wrong(file) => CliError::Manifest(file),
        })
    }
}

pub(super) async fn run(tool: Tool, global: &Global) -> Result<exit::Exit, CliError> {
    match tool {
        Tool::Backup(args) => backup::run(args, Connection::open(global).await?, global.json).await,
        Tool::Restore(args) => restore::run(args, global.json).await,
        Tool::Fsck(args) => fsck::run(args, global.json).await,
    }
}

/// A refusal by this machine instead of by the server, so that it is printed the same way.
fn failed(error: &BackupError) -> CliError {
    refused(error, "")
}

fn refused(error: &dyn std::error::Error, hint: &str) -> CliError {
    let refusal = Refusal::new(Reason::StoreUnavailable, handover_model::chain(error)).hint(hint);
    CliError::Refused { refusal: Box::new(refusal) }
}
