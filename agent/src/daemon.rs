//! `handover-agent run`: what runs is taken over, then the server is dialled, for as long as the agent lives.

use crate::{
    bundles::Bundles, config::AgentConfig, instance::process::boot_id, logs::LogRequests, session::Session,
    supervisor::Supervisor, vitals::Vitals,
};
use handover_identity::{ClientTls, Credentials, ServerAddress};
use handover_model::HostReport;
use handover_proto::v1::Hello;
use handover_telemetry::Endpoint;
use std::{error::Error, fs::File, sync::Arc};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

/// Targets on their way to the supervisor: the latest is the one that counts.
const OFFERS: usize = 4;

/// Runs the agent until it is told to stop. What runs on the host then stays.
///
/// # Errors
/// When the host was never joined, another agent runs with the same state, or /proc is not there.
pub async fn run(config: AgentConfig) -> Result<(), Box<dyn Error + Send + Sync>> {
    let span = tracing::info_span!("agent", host = %config.name);
    run_as(Arc::new(config)).instrument(span).await
}

async fn run_as(config: Arc<AgentConfig>) -> Result<(), Box<dyn Error + Send + Sync>> {
    let _lock = lock(&config)?;
    let address: ServerAddress = config.server.parse()?;
    let credentials = Credentials::load(&config.identity())?;
    let tls = ClientTls::new(&credentials)?;

    let (reports, seen) = watch::channel(HostReport::default());
    let (server, channel) = watch::channel(None);
    let (offers, offered) = mpsc::channel(OFFERS);
    let endpoint = match config.metrics {
        Some(address) => Some(Endpoint::bind(address).await?),
        None => None,
    };
    let told = endpoint.as_ref().map(|endpoint| format!(", metrics on {}", endpoint.address()));
    let connected = channel.clone();
    let bundles = Bundles::new(config.releases(), config.fetching(), channel);
    bundles.sweep()?;
    let supervisor = Supervisor::adopt(Arc::clone(&config), bundles, reports).await?;
    let hello = Hello {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        boot_id: boot_id()?,
        kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
        address: config.address.clone(),
        revision: 0,
        session_id: format!("{:032x}", rand::random::<u128>()),
    };
    let metrics = supervisor.metrics();
    let stop = CancellationToken::new();
    if let Some(endpoint) = endpoint {
        let vitals = Vitals {
            config: Arc::clone(&config),
            metrics: Arc::clone(&metrics),
            reports: seen.clone(),
            server: connected,
        };
        tokio::spawn(endpoint.serve(Arc::new(vitals), stop.clone()).in_current_span());
    }
    let session =
        Session { hello, reports: seen, offers, server, logs: LogRequests::of(config.logs.clone()), metrics };

    let supervising = tokio::spawn(supervisor.run(offered).in_current_span());
    let server = config.server.clone();
    let speaking = async move {
        session.keep(&server, || handover_identity::connect(&address, tls.config())).await;
    };
    let speaking = tokio::spawn(speaking.in_current_span());
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    if let Err(error) = notify("READY=1\n") {
        tracing::warn!(error = &error as &dyn Error, "systemd cannot be told that the agent is ready");
    }
    eprintln!(
        "handover-agent ready: host {}, server {}{}",
        config.name,
        config.server,
        told.unwrap_or_default()
    );
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        ended = supervising => ended?,
    }
    tracing::info!("the agent stops; what it runs goes on");
    // Best effort: systemd sees the end itself.
    let _ = notify("STOPPING=1\n");
    stop.cancel();
    speaking.abort();
    Ok(())
}

/// Tells the service manager, as sd_notify(3) describes it; does nothing where there is none.
fn notify(state: &str) -> std::io::Result<()> {
    use std::os::{
        linux::net::SocketAddrExt as _,
        unix::ffi::OsStrExt as _,
        unix::net::{SocketAddr, UnixDatagram},
    };
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let address = match path.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(&path)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(drop)
}

/// Two agents with one state would fight over the sockets.
pub(crate) fn lock(config: &AgentConfig) -> Result<nix::fcntl::Flock<File>, Box<dyn Error + Send + Sync>> {
    std::fs::create_dir_all(&config.state)?;
    let path = config.state.join("agent.lock");
    let file = File::create(&path)?;
    nix::fcntl::Flock::lock(file, nix::fcntl::FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| {
        format!("another agent runs with the state in {}: {errno}; stop it first", config.state.display())
            .into()
    })
}
