//! `handover-agent run`: what runs is taken over, then the server is dialled, for as long as the agent lives.

use crate::{
    bundles::Bundles,
    commands::Commands,
    config::AgentConfig,
    disks::Disks,
    facts::{self, Facts},
    instance::process::boot_id,
    logs::LogRequests,
    measuring::{Measuring, Outbox},
    renewal::Renewing,
    session::Session,
    status,
    supervisor::Supervisor,
    vitals::Vitals,
};
use handover_daemon::{Heart, ServiceManager};
use handover_identity::ServerAddress;
use handover_model::HostReport;
use handover_proto::v1::Hello;
use handover_telemetry::Endpoint;
use std::{error::Error, fs::File, io::Write as _, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

/// Words of the server on their way to the supervisor; of targets the latest is the one that counts.
const WORDS: usize = 4;
/// Questions that wait for the supervisor: each is of a command, of which few run at once.
const QUESTIONS: usize = 4;
/// After that long without a turn of the supervisor the agent is not well. It turns once a second, and writes to a
/// disk that may be slow.
const PATIENCE: Duration = Duration::from_secs(15);
/// Longest wait for the supervisor's last turn.
const END: Duration = Duration::from_secs(2);

/// Runs the agent until it is told to stop. What runs on the host then stays.
///
/// # Errors
/// When the host was never joined, another agent runs with the same state, or /proc is not there.
pub async fn run(config: AgentConfig) -> Result<(), Box<dyn Error + Send + Sync>> {
    let span = tracing::info_span!("agent", host = %config.name);
    run_as(Arc::new(config)).instrument(span).await
}

async fn run_as(config: Arc<AgentConfig>) -> Result<(), Box<dyn Error + Send + Sync>> {
    let lock = lock(&config)?;
    let address: ServerAddress = config.server.parse()?;
    let session_id = format!("{:032x}", rand::random::<u128>());
    let renewing = Arc::new(Renewing::load(&config, address, &session_id)?);

    let (reports, seen) = watch::channel(HostReport::default());
    let (server, channel) = watch::channel(None);
    let (words, heard) = mpsc::channel(WORDS);
    let (told, connected) = (seen.clone(), channel.clone());
    let endpoint = endpoint(config.metrics).await;
    let metrics_at = endpoint.as_ref().map(|endpoint| format!(", metrics on {}", endpoint.address()));
    let bundles = Bundles::new(config.releases(), config.fetching(), channel);
    bundles.sweep()?;
    let disks = Disks::of(&config);
    let supervisor = Supervisor::adopt(Arc::clone(&config), disks.clone(), bundles, reports).await?;
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
    let (heart, pulse) = Heart::new("the supervisor", PATIENCE);
    let metrics = supervisor.metrics();
    let measured = Outbox::default();
    let measuring = Measuring::new(supervisor.roster(), measured.clone());
    let measuring = tokio::spawn(measuring.run().in_current_span());
    let stop = CancellationToken::new();
    if let Some(endpoint) = endpoint {
        let vitals = Vitals {
            config: Arc::clone(&config),
            metrics: Arc::clone(&metrics),
            reports: seen.clone(),
            server: connected.clone(),
            pulse: pulse.clone(),
            disks: disks.clone(),
        };
        tokio::spawn(endpoint.serve(Arc::new(vitals), stop.clone()).in_current_span());
    }
    let (questions, asked) = mpsc::channel(QUESTIONS);
    let session = Session {
        hello,
        facts: Facts::of(disks, supervisor.containment()),
        reports: seen,
        words,
        server,
        logs: LogRequests::of(config.logs.clone()),
        commands: Commands::of(questions),
        measured,
        metrics,
        hurry: renewing.changed(),
    };

    // A thread of its own: it writes to the disk in its turn, and a disk that hangs must not stop the session as well.
    let here = tokio::runtime::Handle::current();
    let span = tracing::Span::current();
    let mut supervising = tokio::task::spawn_blocking(move || {
        here.block_on(supervisor.run(heard, asked, heart).instrument(span));
    });
    let server = config.server.clone();
    let dialled = Arc::clone(&renewing);
    let speaking = async move { session.keep(&server, || dialled.dial()).await };
    let speaking = tokio::spawn(speaking.in_current_span());
    let renewal = tokio::spawn(async move { renewing.keep().await }.in_current_span());
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let server = config.server.clone();
    let status = move || status::line(&told.borrow(), &server, connected.borrow().is_some());
    let mut manager = ServiceManager::of_this_process();
    manager.ready(status()).await;
    let watching = tokio::spawn(manager.watch(pulse, status));
    // Standard error may be a file on a disk that is full: that is no reason not to run.
    let _ = writeln!(
        std::io::stderr(),
        "handover-agent ready: host {}, server {}{}",
        config.name,
        config.server,
        metrics_at.unwrap_or_default()
    );
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        ended = &mut supervising => return Ok(ended?),
    }
    tracing::info!("the agent stops; what it runs goes on");
    watching.abort();
    stop.cancel();
    ServiceManager::of_this_process().stopping().await;
    // The supervisor ends with the session that brings its targets. One that is stuck is left behind.
    speaking.abort();
    measuring.abort();
    renewal.abort();
    let _ = tokio::time::timeout(END, supervising).await;
    Ok(())
}

/// The address of metrics and health, where one is wanted. One that is taken keeps no agent from looking after what runs.
async fn endpoint(wanted: Option<SocketAddr>) -> Option<Endpoint> {
    Endpoint::bind(wanted?)
        .await
        .inspect_err(|error| {
            tracing::error!(
                error = error as &dyn Error,
                "metrics and health are not told; give another address in agent.toml and start the agent again"
            );
        })
        .ok()
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
