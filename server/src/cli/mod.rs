//! The operator's command line: `handover`.
//!
//! What a person reads goes to standard output as plain lines or a live view; `--json` gives programs one value for
//! each thing that is printed. Every command ends with one of the exit codes of [`exit`].

mod audit;
mod connection;
mod demo;
mod deploy;
mod error;
pub mod exit;
mod history;
mod hosts;
mod json;
mod live;
mod manual;
mod operator;
mod outcome;
mod pipe;
mod plan;
mod release;
mod status;
mod table;
mod time;
mod token;

use crate::server_command::ServerArgs;
use clap::{Args, Parser, Subcommand};
use connection::Connection;
use error::CliError;
use std::{
    path::PathBuf,
    process::{ExitCode, Termination as _},
};

/// Deploys new versions of network services to fleets of hosts without dropping a request.
#[derive(Debug, Parser)]
#[command(name = "handover", version, max_term_width = 110)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Clone, Debug, Args)]
struct Global {
    /// The server's Unix socket, on the server's own machine.
    #[arg(
        long,
        global = true,
        env = "HANDOVER_SOCKET",
        value_name = "PATH",
        default_value = "/run/handover/handover.sock"
    )]
    socket: PathBuf,
    /// The server's address, from another machine; needs --identity.
    #[arg(long, global = true, env = "HANDOVER_SERVER", value_name = "HOST:PORT", requires = "identity")]
    server: Option<String>,
    /// The folder with this operator's key.pem, cert.pem and ca.pem.
    #[arg(long, global = true, env = "HANDOVER_IDENTITY", value_name = "DIR")]
    identity: Option<PathBuf>,
    /// Print JSON, one value a line, for programs.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server.
    Server(ServerArgs),
    /// Join tokens for agents.
    #[command(subcommand)]
    Token(token::Command),
    /// Operators who work from another machine: their certificates and roles.
    #[command(subcommand)]
    Operator(operator::Command),
    /// The hosts of the fleet.
    Hosts(hosts::HostsArgs),
    /// Releases: push a folder, list, show.
    #[command(subcommand)]
    Release(release::Command),
    /// Carry a release to the hosts of its service.
    Deploy(deploy::DeployArgs),
    /// What runs where, and what it waits for.
    Status(status::StatusArgs),
    /// Go back to the previous release: one flip where the old one still runs.
    Rollback(deploy::RollbackArgs),
    /// Past deployments.
    History(history::HistoryArgs),
    /// Stop a deployment and take every host that it touched back.
    Abort(deploy::AbortArgs),
    /// Who did what: deployments, hosts, tokens, operators, and what was refused.
    Audit(audit::AuditArgs),
    /// Run the main job on this machine: a server, three agents, a service in three versions, load all the time.
    Demo(demo::DemoArgs),
    /// Write the manual's pages into a folder.
    Man(manual::ManArgs),
    /// Print completions for a shell.
    Completions(manual::CompletionsArgs),
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // A message that cannot be printed has no reader.
            let _ = error.print();
            return if error.use_stderr() { exit::USAGE.report() } else { ExitCode::SUCCESS };
        }
    };
    if let Command::Server(arguments) = &cli.command {
        return crate::server_command::run(arguments);
    }
    pipe::end_quietly();
    match run(cli) {
        Ok(code) => code.report(),
        Err(error) => {
            error.print();
            error.exit().report()
        }
    }
}

fn run(cli: Cli) -> Result<exit::Exit, CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| CliError::System { what: "start the runtime".to_owned(), source })?;
    let Cli { global, command } = cli;
    let ended = runtime.block_on(async {
        match command {
            Command::Demo(args) => demo::run(args).await,
            Command::Man(args) => manual::man(&args),
            Command::Completions(args) => Ok(manual::completions(&args)),
            command => {
                let connection = Connection::open(&global).await?;
                speak(command, connection, global.json).await
            }
        }
    });
    // A task that hangs must not keep the command from ending.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    ended
}

async fn speak(command: Command, connection: Connection, json: bool) -> Result<exit::Exit, CliError> {
    match command {
        Command::Token(command) => token::run(command, connection, json).await,
        Command::Operator(command) => operator::run(command, connection, json).await,
        Command::Hosts(args) => hosts::run(args, connection, json).await,
        Command::Release(command) => release::run(command, connection, json).await,
        Command::Deploy(args) => deploy::deploy(args, connection, json).await,
        Command::Status(args) => status::run(args, connection, json).await,
        Command::Rollback(args) => deploy::rollback(args, connection, json).await,
        Command::History(args) => history::run(args, connection, json).await,
        Command::Abort(args) => deploy::abort(args, connection, json).await,
        Command::Audit(args) => audit::run(args, connection, json).await,
        Command::Server(_) | Command::Demo(_) | Command::Man(_) | Command::Completions(_) => Ok(exit::DONE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
