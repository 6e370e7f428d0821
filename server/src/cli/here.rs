//! Commands that need no server.

use super::{check, error::CliError, exit::Exit};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Check a manifest, without a server.
    Check(check::CheckArgs),
}

pub(super) fn run(command: &Command, as_json: bool) -> Result<Exit, CliError> {
    match command {
        Command::Check(args) => check::run(args, as_json),
    }
}
