//! `handover-agent run`: what runs is taken over, then the server is dialled, for as long as the agent lives.

use crate::{
    bundles::Bundles,
    config::AgentConfig,
    facts::{self, Facts},
    instance::process::boot_id,
    renewal::Renewing,
    session::Session,
    supervisor::Supervisor,
};
use handover_identity::ServerAddress;
use handover_model::HostReport;
use handover_proto::v1::Hello;
use std::{error::Error, fs::File, sync::Arc};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
};

/// Targets on their way to the supervisor: the latest is the one that counts.
const OFFERS: usize = 4;

/// Runs the agent until it is told to stop. What runs on the host then stays.
///
/// # Errors
/// When the host was never joined, another agent runs with the same state, or /proc is not there.
pub async fn run(config: AgentConfig) -> Result<(), Box<dyn Error + Send + Sync>> {
    let config = Arc::new(config);
    let lock = lock(&config)?;
    let address: ServerAddress = config.server.parse()?;
    let session_id = format!("{:032x}", rand::random::<u128>());
    let renewing = Arc::new(Renewing::load(&config, address, &session_id)?);

    let (reports, seen) = watch::channel(HostReport::default());
    let (server, channel) = watch::channel(None);
    let (offers, offered) = mpsc::channel(OFFERS);
    let bundles = Bundles::new(config.releases(), config.fetching(), channel);
    bundles.sweep()?;
    let supervisor = Supervisor::adopt(Arc::clone(&config), bundles, reports).await?;
    let boot_id = boot_id()?;
    let hello = Hello {
        place: facts::place(&boot_id, &lock)?,
        facts: None,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        boot_id,
        kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
        address: config.address.clone(),
        revision: 0,
        session_id,
    };
    let facts = Facts::of(&config.state, supervisor.containment());
    let session = Session { hello, facts, reports: seen, offers, server, hurry: renewing.changed() };

    let supervising = tokio::spawn(supervisor.run(offered));
    let speaking = tokio::spawn({
        let (server, renewing) = (config.server.clone(), Arc::clone(&renewing));
        async move { session.keep(&server, || renewing.dial()).await }
    });
    let renewal = tokio::spawn(async move { renewing.keep().await });
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    if let Err(error) = notify("READY=1\n") {
        tracing::warn!(error = &error as &dyn Error, "systemd cannot be told that the agent is ready");
    }
    eprintln!("handover-agent ready: host {}, server {}", config.name, config.server);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        ended = supervising => ended?,
    }
    tracing::info!("the agent stops; what it runs goes on");
    // Best effort: systemd sees the end itself.
    let _ = notify("STOPPING=1\n");
    speaking.abort();
    renewal.abort();
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
