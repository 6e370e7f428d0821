//! The agent's binary.

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use handover_agent::{
    config::{self, AgentConfig},
    daemon,
    disks::Disks,
    doctor::{self, Examination},
    instance::launch,
    join::Joining,
};
use handover_identity::{JoinToken, ServerAddress};
use handover_model::{HostName, Label, settings};
use handover_telemetry::LogArgs;
use std::{
    error::Error,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// The daemon on every host of a Handover fleet.
#[derive(Debug, Parser)]
#[command(name = "handover-agent", version, max_term_width = 110)]
struct Cli {
    #[command(flatten)]
    log: LogArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Join a fleet with a token of `handover token create`.
    Join(Box<JoinArgs>),
    /// Run the agent.
    Run {
        /// The configuration that `join` wrote.
        #[arg(long, env = "HANDOVER_AGENT_CONFIG", default_value = settings::agent::PATH)]
        config: PathBuf,
    },
    /// Look whether this host is fit for the agent. Changes nothing. Exit code 0 if nothing fails, 1 otherwise.
    Doctor(DoctorArgs),
    /// Drain and end everything that this host runs. The agent itself must be stopped before.
    Stop {
        /// The configuration that `join` wrote.
        #[arg(long, env = "HANDOVER_AGENT_CONFIG", default_value = settings::agent::PATH)]
        config: PathBuf,
    },
    /// Write the manual's pages into a folder.
    Man {
        /// An existing folder, such as /usr/local/share/man/man8.
        folder: PathBuf,
    },
    /// Print completions for a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
struct DoctorArgs {
    /// HOST:PORT of the server; an enrolled host's own, or the token's, where it is left out.
    #[arg(long, value_name = "HOST:PORT")]
    server: Option<ServerAddress>,
    /// A join token, to see whether the server is the right one. It is not used up.
    #[arg(long, env = "HANDOVER_TOKEN", hide_env_values = true)]
    token: Option<JoinToken>,
    /// The configuration that `join` wrote, where the host is enrolled.
    #[arg(long, env = "HANDOVER_AGENT_CONFIG", default_value = settings::agent::PATH)]
    config: PathBuf,
    /// Where the agent keeps its state, or will; the configuration's where it is left out.
    #[arg(long)]
    state: Option<PathBuf>,
    /// One JSON value for each check.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct JoinArgs {
    /// The token; `-` or nothing reads it from standard input, so that it stands in no process list.
    #[arg(long, env = "HANDOVER_TOKEN", hide_env_values = true, default_value = "-")]
    token: String,
    /// HOST:PORT of the server, if not the one in the token.
    #[arg(long, value_name = "HOST:PORT")]
    server: Option<String>,
    /// The host's name in the fleet; the machine's own where it is left out.
    #[arg(long)]
    name: Option<HostName>,
    /// The address that the host's services are reached at: what {host.address} stands for.
    #[arg(long, default_value = "127.0.0.1", value_parser = config::address)]
    address: String,
    /// A label; may be given often.
    #[arg(long = "label", value_name = "KEY=VALUE")]
    labels: Vec<Label>,
    /// Where the configuration is written.
    #[arg(long, env = "HANDOVER_AGENT_CONFIG", default_value = settings::agent::PATH)]
    config: PathBuf,
    /// Identity, journal, releases.
    #[arg(long, default_value = config::STATE)]
    state: PathBuf,
    /// Notification sockets.
    #[arg(long, default_value = config::RUNTIME)]
    runtime: PathBuf,
    /// Log files.
    #[arg(long, default_value = config::LOGS)]
    logs: PathBuf,
    /// A file for each database that this host may migrate.
    #[arg(long, default_value = config::DATABASES)]
    databases: PathBuf,
    /// Address of /metrics and /healthz, as 127.0.0.1:7445; without it the agent tells neither.
    #[arg(long, value_name = "ADDR")]
    metrics: Option<SocketAddr>,
}

fn main() -> ExitCode {
    // Before anything else: what runs here becomes an instance.
    if std::env::args().nth(1).as_deref() == Some(launch::SUBCOMMAND) {
        launch::child_main();
    }
    handover_identity::install_crypto_provider();
    let Cli { log, command } = Cli::parse();
    let logging = handover_telemetry::logging::init(log.format, "handover-agent");
    let done = logging.map_err(Into::into).and_then(|()| match command {
        Command::Join(args) => with_runtime(join(*args)),
        Command::Run { config } => with_runtime(run(config)),
        Command::Stop { config } => with_runtime(stop(config)),
        Command::Man { folder } => handover_daemon::write_manual(Cli::command(), &folder).map_err(|error| {
            format!("cannot write the manual's pages into {}: {error}", folder.display()).into()
        }),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "handover-agent", &mut std::io::stdout());
            Ok(())
        }
        Command::Doctor(args) => with_runtime(doctor(args)),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            let mut source = error.source();
            while let Some(error) = source {
                eprintln!("  because: {error}");
                source = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

type Done = Result<(), Box<dyn Error + Send + Sync>>;

fn with_runtime(task: impl Future<Output = Done>) -> Done {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let done = runtime.block_on(task);
    // A fetch or a probe that hangs must not keep the agent from ending.
    runtime.shutdown_background();
    done
}

async fn run(config: PathBuf) -> Done {
    daemon::run(AgentConfig::read(&config)?).await
}

async fn doctor(args: DoctorArgs) -> Done {
    // A host that is to be enrolled has none yet.
    let config = if args.config.exists() { Some(AgentConfig::read(&args.config)?) } else { None };
    let from_token = args.token.as_ref().map(|token| token.server.clone());
    let server = match (args.server.or(from_token), &config) {
        (None, Some(config)) => Some(config.server.parse()?),
        (given, _) => given,
    };
    let folder =
        |own: fn(AgentConfig) -> PathBuf, usual: &str| config.clone().map_or_else(|| usual.into(), own);
    let state = args.state.unwrap_or_else(|| folder(|config| config.state, config::STATE));
    let logs = folder(|config| config.logs, config::LOGS);
    let runtime = folder(|config| config.runtime, config::RUNTIME);
    let disks = Disks::at(state.clone(), logs, runtime);
    let checks = doctor::examine(&Examination { state, disks, server, token: args.token }).await;
    if doctor::print(&checks, args.json) {
        Ok(())
    } else {
        Err("this host is not fit: see what fails above".into())
    }
}

async fn stop(config: PathBuf) -> Done {
    let count = handover_agent::stop::stop(&AgentConfig::read(&config)?).await?;
    println!("{count} {} ended", if count == 1 { "instance" } else { "instances" });
    Ok(())
}

async fn join(args: JoinArgs) -> Done {
    let token = match args.token.as_str() {
        "-" => std::io::read_to_string(std::io::stdin().lock())?,
        given => given.to_owned(),
    };
    let token: JoinToken = token.trim().parse()?;
    let name = match args.name {
        Some(name) => name,
        None => nix::unistd::gethostname()?.to_string_lossy().parse()?,
    };
    let config = AgentConfig {
        server: String::new(),
        name: name.clone(),
        address: args.address.clone(),
        state: absolute(&args.state)?,
        runtime: absolute(&args.runtime)?,
        logs: absolute(&args.logs)?,
        databases: absolute(&args.databases)?,
        metrics: args.metrics,
    };
    let labels = args.labels.into_iter().map(|label| (label.key, label.value)).collect();
    let joining = Joining {
        token,
        server: args.server,
        name: name.clone(),
        address: args.address,
        labels,
        config,
        config_path: args.config.clone(),
    };
    let fleet = joining.join().await?;
    println!(
        "host {name} is in fleet {fleet}; start it: handover-agent run --config {}",
        args.config.display()
    );
    Ok(())
}

/// Relative paths would mean something else once the agent is a service.
fn absolute(path: &Path) -> std::io::Result<PathBuf> {
    std::path::absolute(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Every environment variable that a command or one beneath it takes.
    fn variables(command: &clap::Command) -> BTreeSet<String> {
        let own = command.get_arguments().filter_map(|argument| argument.get_env());
        let mut all: BTreeSet<String> = own.map(|name| name.to_string_lossy().into_owned()).collect();
        all.extend(command.get_subcommands().flat_map(variables));
        all
    }

    #[test]
    fn every_environment_variable_of_a_flag_is_documented() {
        let told: BTreeSet<&str> = settings::agent::VARIABLES.iter().map(|variable| variable.name).collect();
        let taken = variables(&Cli::command());
        assert!(taken.len() >= 3, "{taken:?}");
        for name in &taken {
            assert!(told.contains(name.as_str()), "{name} is not in the table");
        }
        assert!(told.contains(handover_telemetry::logging::FILTER));
        for name in told.iter().filter(|name| name.starts_with("HANDOVER_")) {
            let known = taken.contains(*name) || *name == handover_telemetry::logging::FILTER;
            assert!(known, "{name} is read by nobody");
        }
    }
}
