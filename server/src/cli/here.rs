//! Commands that need no server.

use super::{Global, check, context, error::CliError, exit::Exit, init, judge, schema};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    Check(check::CheckArgs),
    Init(init::InitArgs),
    Schema(schema::SchemaArgs),
    #[command(subcommand)]
    Judge(judge::Command),
    /// Named ways to servers.
    #[command(subcommand)]
    Context(context::Command),
    /// What is configured, and where each value comes from.
    #[command(subcommand)]
    Config(context::ConfigCommand),
}

pub(super) fn run(command: &Command, global: &Global) -> Result<Exit, CliError> {
    match command {
        Command::Check(args) => check::run(args, global.json),
        Command::Init(args) => init::run(args, global.json),
        Command::Schema(args) => Ok(schema::run(args)),
        Command::Judge(command) => judge::run(command, global),
        Command::Context(command) => context::run(command, global),
        Command::Config(command) => context::config(command, global),
    }
}
