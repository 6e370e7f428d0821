//! The operator's command line: `handover`.
//!
//! What a person reads goes to standard output as plain lines or a live view; `--json` gives programs one value for
//! each thing that is printed. Every command ends with one of the exit codes of [`exit`].

mod audit;
mod canary;
mod check;
mod connection;
mod context;
mod control;
mod demo;
mod deploy;
mod diagnostics;
mod error;
mod events;
pub mod exit;
mod explain;
mod facts;
mod freeze;
mod here;
mod history;
mod hosts;
mod init;
mod json;
mod judge;
mod live;
mod lock;
mod logs;
mod manifest_file;
mod manual;
mod migrate;
mod operator;
mod outcome;
mod pipe;
mod plain;
mod plan;
mod preflight;
mod preview;
mod rehearse;
mod release;
mod schema;
mod screen;
mod settings;
mod status;
mod table;
mod target;
mod time;
mod token;
mod tools;
mod tree;
mod waits;

pub(crate) use settings::print as print_settings;

use crate::server_command::ServerArgs;
use clap::{ArgMatches, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
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
#[command(next_help_heading = "Every command")]
struct Global {
    /// The server's Unix socket, on the server's own machine [env: HANDOVER_SOCKET] [default: /run/handover/handover.sock]
    #[arg(long, global = true, value_name = "PATH", conflicts_with = "server")]
    socket: Option<PathBuf>,
    /// The server's address, from another machine; needs --identity [env: HANDOVER_SERVER]
    #[arg(long, global = true, value_name = "HOST:PORT")]
    server: Option<String>,
    /// The folder with this operator's key.pem, cert.pem and ca.pem [env: HANDOVER_IDENTITY]
    #[arg(long, global = true, value_name = "DIR")]
    identity: Option<PathBuf>,
    /// A named way to a server, of `handover context`; the flags above come before it [env: HANDOVER_CONTEXT]
    #[arg(long, global = true, value_name = "NAME")]
    context: Option<String>,
    /// Print JSON, one value a line, for programs.
    #[arg(long, global = true)]
    json: bool,
}

impl Global {
    /// What the flags say of the way to the server.
    fn said(&self) -> context::Said {
        let Self { socket, server, identity, context, json: _ } = self.clone();
        context::Said { socket, server, identity, context }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server; back up, restore, check its store.
    Server(Box<ServerCommand>),
    #[command(flatten)]
    Here(here::Command),
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
    /// What a service's instances wrote, of all its hosts, in the order of time.
    Logs(logs::LogsArgs),
    /// What happened in the fleet: deployments, hosts, instances, releases.
    Events(events::EventsArgs),
    /// Past deployments.
    History(history::HistoryArgs),
    /// Stop a deployment and take every host that it touched back.
    Abort(deploy::AbortArgs),
    /// Hold a deployment: no host begins a change until it is resumed.
    Pause(control::PauseArgs),
    Promote(control::PromoteArgs),
    /// Let a paused deployment go on.
    Resume(control::ResumeArgs),
    Rehearse(rehearse::RehearseArgs),
    /// Schemas of databases: what they are, who reads them, and what of a release's migrations is to be applied.
    #[command(subcommand)]
    Migrate(migrate::Command),
    /// Give hosts that failed or were skipped another attempt.
    Retry(control::RetryArgs),
    /// Watch a deployment until it ends or waits for a person.
    Watch(control::WatchArgs),
    Canary(canary::CanaryArgs),
    Preview(preview::PreviewArgs),
    Preflight(preflight::PreflightArgs),
    /// Tell a deployment's whole story: what happened on which host, when, and why.
    Explain(explain::ExplainArgs),
    /// Keep other operators from changing a service.
    Lock(lock::LockArgs),
    /// Take a lock away.
    Unlock(lock::UnlockArgs),
    Freeze(freeze::FreezeArgs),
    /// End a freeze.
    Unfreeze(freeze::UnfreezeArgs),
    /// Who did what: deployments, hosts, tokens, operators, and what was refused.
    Audit(audit::AuditArgs),
    /// Run the main job on this machine: a server, three agents, a service in four versions, load all the time.
    Demo(demo::DemoArgs),
    /// Write the manual's pages into a folder.
    Man(manual::ManArgs),
    /// Print completions for a shell.
    Completions(manual::CompletionsArgs),
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
struct ServerCommand {
    #[command(flatten)]
    run: ServerArgs,
    #[command(subcommand)]
    tool: Option<tools::Tool>,
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let (cli, matches) = match parse() {
        Ok(parsed) => parsed,
        Err(error) => {
            // A message that cannot be printed has no reader.
            let _ = error.print();
            return if error.use_stderr() { exit::USAGE.report() } else { ExitCode::SUCCESS };
        }
    };
    if let Command::Server(server) = &cli.command
        && let ServerCommand { run, tool: None } = &**server
    {
        let matches = matches.subcommand_matches("server").unwrap_or(&matches);
        return crate::server_command::main(run, matches, cli.global.json);
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

/// The command line, and where each of its values comes from.
fn parse() -> Result<(Cli, ArgMatches), clap::Error> {
    let mut command = Cli::command();
    let matches = command.try_get_matches_from_mut(std::env::args_os())?;
    let cli = Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
    Ok((cli, matches))
}

fn run(cli: Cli) -> Result<exit::Exit, CliError> {
    if let Command::Here(command) = &cli.command {
        return here::run(command, &cli.global);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| CliError::System { what: "start the runtime".to_owned(), source })?;
    let Cli { global, command } = cli;
    let ended = runtime.block_on(async {
        match command {
            Command::Demo(args) => demo::run(args).await,
            Command::Migrate(migrate::Command::Lint { folder }) => migrate::lint(&folder, global.json),
            Command::Man(args) => manual::man(&args),
            Command::Completions(args) => Ok(manual::completions(&args)),
            Command::Server(server) => match server.tool {
                Some(tool) => tools::run(tool, &global).await,
                // Run before there is a runtime.
                None => Ok(exit::DONE),
            },
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
        Command::Logs(args) => logs::run(args, connection, json).await,
        Command::Events(args) => events::run(args, connection, json).await,
        Command::History(args) => history::run(args, connection, json).await,
        Command::Abort(args) => deploy::abort(args, connection, json).await,
        Command::Pause(args) => control::pause(args, connection, json).await,
        Command::Promote(args) => control::promote(args, connection, json).await,
        Command::Resume(args) => control::resume(args, connection, json).await,
        Command::Rehearse(args) => rehearse::run(args, connection, json).await,
        Command::Migrate(command) => migrate::run(command, connection, json).await,
        Command::Retry(args) => control::retry(args, connection, json).await,
        Command::Watch(args) => control::watch(args, connection, json).await,
        Command::Canary(args) => canary::run(args, connection, json).await,
        Command::Preview(args) => preview::run(args, connection, json).await,
        Command::Preflight(args) => preflight::run(args, connection, json).await,
        Command::Explain(args) => explain::run(args, connection, json).await,
        Command::Lock(args) => lock::lock(args, connection, json).await,
        Command::Unlock(args) => lock::unlock(args, connection, json).await,
        Command::Freeze(args) => freeze::freeze(args, connection, json).await,
        Command::Unfreeze(args) => freeze::unfreeze(args, connection, json).await,
        Command::Audit(args) => audit::run(args, connection, json).await,
        Command::Server(_)
        | Command::Demo(_)
        | Command::Here(_)
        | Command::Man(_)
        | Command::Completions(_) => Ok(exit::DONE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_server_runs_with_flags_and_has_tools() {
        let server = |words: &[&str]| {
            let words = ["handover", "server"].iter().chain(words);
            match Cli::try_parse_from(words)?.command {
                Command::Server(server) => Ok::<_, clap::Error>(server),
                other => panic!("{other:?}"),
            }
        };
        assert!(server(&["--data", "/x", "--listen", "127.0.0.1:0"]).unwrap().tool.is_none());
        let tools: [&[&str]; 3] =
            [&["backup", "/f"], &["restore", "/f", "--data", "/x", "--set-aside"], &["fsck", "--json"]];
        for tool in tools {
            assert!(server(tool).unwrap().tool.is_some(), "{tool:?}");
        }
        assert!(server(&["--data", "/x", "backup", "/f"]).is_err());
    }
}
