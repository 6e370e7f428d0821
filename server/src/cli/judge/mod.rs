//! `handover judge`: the canary judge on its own.

mod aa;
mod replay;
mod rows;

use super::{Global, error::CliError, exit::Exit};

/// The canary judge: what it would have said, and how often it would be wrong.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    Replay(replay::ReplayArgs),
    Aa(aa::AaArgs),
}

pub(super) fn run(command: &Command, global: &Global) -> Result<Exit, CliError> {
    match command {
        Command::Replay(args) => replay::run(args, global.json),
        Command::Aa(args) => aa::run(args, global),
    }
}
