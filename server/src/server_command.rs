//! `handover server`: its arguments.

use crate::{
    cli::exit,
    settings::{Settings, SettingsError, settle},
};
use clap::{ArgMatches, Args};
use handover_model::settings::{PrometheusUrl, server::certificate_life};
use handover_telemetry::LogArgs;
use std::{
    fmt,
    net::{AddrParseError, SocketAddr},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

/// The folder of everything durable, if nobody says.
pub const DATA: &str = "/var/lib/handover-server";

/// Runs the server: coordinates the fleet's agents, and answers operators.
#[derive(Args, Clone, Debug)]
pub struct ServerArgs {
    /// The configuration, in which every other option can stand; where it is not given /etc/handover/server.toml, if that
    /// is there. A flag comes before an environment variable, and that before the file
    #[arg(long, value_name = "FILE", env = "HANDOVER_SERVER_CONFIG")]
    pub config: Option<PathBuf>,
    /// Print every setting and where it comes from, and start no server
    #[arg(long)]
    pub print_config: bool,
    /// Folder of everything durable: the store, bundles, the fleet's CA
    #[arg(long, value_name = "DIR", env = "HANDOVER_DATA", default_value = DATA)]
    pub data: PathBuf,
    /// Address that agents, and operators from elsewhere, reach the server at; port 0 takes a free one
    #[arg(long, value_name = "ADDR", env = "HANDOVER_LISTEN", default_value = "0.0.0.0:7443")]
    pub listen: SocketAddr,
    /// Unix socket for operators on this machine
    #[arg(long, value_name = "PATH", env = "HANDOVER_UNIX", default_value = "/run/handover/handover.sock")]
    pub unix: PathBuf,
    /// Group of this machine whose members are admins over the Unix socket, besides root and the server's own user
    #[arg(long, value_name = "GROUP", env = "HANDOVER_ADMIN_GROUP")]
    pub admin_group: Option<String>,
    /// The fleet's name, where the server makes a new one: 1 to 63 of a-z, 0-9, '-' and '.'
    #[arg(long, value_name = "NAME", env = "HANDOVER_FLEET", default_value = "fleet")]
    pub fleet: String,
    /// HOST:PORT that agents reach the server at, put into join tokens; this machine's name where it is not given
    #[arg(long, value_name = "HOST:PORT", env = "HANDOVER_ADDRESS")]
    pub address: Option<String>,
    /// A CA of your own instead of one that the server makes: its certificate, PEM
    #[arg(long, value_name = "FILE", env = "HANDOVER_CA_CERTIFICATE")]
    pub ca_certificate: Option<PathBuf>,
    /// That CA's key, PEM (PKCS#8)
    #[arg(long, value_name = "FILE", env = "HANDOVER_CA_KEY")]
    pub ca_key: Option<PathBuf>,
    /// How long an agent's certificate is good: 10s to 365d. It is renewed at two thirds of that
    #[arg(long, value_name = "DURATION", env = "HANDOVER_AGENT_CERTIFICATE_LIFE", default_value = "30d", value_parser = certificate_life)]
    pub agent_certificate_life: Duration,
    /// How long the server's own certificate is good: 10s to 365d. It is renewed at two thirds of that
    #[arg(long, value_name = "DURATION", env = "HANDOVER_SERVER_CERTIFICATE_LIFE", default_value = "90d", value_parser = certificate_life)]
    pub server_certificate_life: Duration,
    /// Address of /metrics and /healthz, or `off`; without it 127.0.0.1:7444, unless that is taken
    #[arg(long, value_name = "ADDR", env = "HANDOVER_METRICS")]
    pub metrics: Option<Metrics>,
    /// The Prometheus server that is asked for the metrics of services whose manifests say so, like http://prometheus:9090
    #[arg(long, value_name = "URL", env = "HANDOVER_PROMETHEUS")]
    pub prometheus: Option<PrometheusUrl>,
    /// The file of the bearer token for that server; read anew each time it is asked
    #[arg(long, value_name = "FILE", env = "HANDOVER_PROMETHEUS_TOKEN_FILE")]
    pub prometheus_token_file: Option<PathBuf>,
    /// The file of the CAs that may have signed that server's certificate, PEM
    #[arg(
        long,
        value_name = "FILE",
        env = "HANDOVER_PROMETHEUS_CA_FILE",
        default_value = "/etc/ssl/certs/ca-certificates.crt"
    )]
    pub prometheus_ca_file: PathBuf,
    /// How the log is written
    #[command(flatten)]
    pub log: LogArgs,
}

/// Where the server tells its metrics and health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metrics {
    /// Nowhere.
    Off,
    /// Here; port 0 takes a free one.
    At(SocketAddr),
}

impl FromStr for Metrics {
    type Err = AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "off" { Ok(Self::Off) } else { text.parse().map(Self::At) }
    }
}

impl fmt::Display for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::At(address) => address.fmt(f),
        }
    }
}

/// Runs the server, or prints what it would go by. `matches` are those of `arguments`.
///
/// Exit code 2 where options do not go together; otherwise as [`run`].
#[must_use]
pub fn main(arguments: &ServerArgs, matches: &ArgMatches, as_json: bool) -> std::process::ExitCode {
    let settings = match settle(arguments, matches) {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("error: {}", handover_model::chain(&error));
            return match error {
                SettingsError::File(_) => std::process::ExitCode::FAILURE,
                SettingsError::HalfACa { .. } => std::process::ExitCode::from(exit::USAGE.code()),
            };
        }
    };
    if arguments.print_config {
        crate::cli::print_settings(&settings, as_json);
        return std::process::ExitCode::SUCCESS;
    }
    run(&settings)
}

/// Runs the server until it is told to stop. Its log is filtered by `HANDOVER_LOG` (default `info`).
///
/// Exit code 0 after an orderly end, 1 after an error, which is printed with its causes.
fn run(settings: &Settings) -> std::process::ExitCode {
    let Settings { arguments, file, file_is_there, .. } = settings;
    if let Err(error) = handover_telemetry::logging::init(arguments.log.format, "handover-server") {
        eprintln!("error: {}", handover_model::chain(&error));
        return std::process::ExitCode::FAILURE;
    }
    if let (true, Some(file)) = (file_is_there, &file.value) {
        tracing::info!(
            file,
            "the server's configuration is read; what is changed in it holds from the next start"
        );
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: the runtime cannot be started: {error}");
            return std::process::ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(crate::server::serve(arguments));
    // Threads that wait for a stuck disk must not hold the end up.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    match ended {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            let mut source = std::error::Error::source(&error);
            while let Some(error) = source {
                eprintln!("  because {error}");
                source = error.source();
            }
            std::process::ExitCode::FAILURE
        }
    }
}
