//! The server from its start to its end: CA, store, fleet, the two listeners, and an orderly shutdown.

use crate::{
    api::{
        Agents, AuthoriseLayer, CallsLayer, Context, CountLayer, Enrolments, Locals, MAX_ENROLMENT,
        MAX_MESSAGE, Operators,
    },
    backup::{BackupError, Backups},
    blobs::{BlobError, Bundles},
    descriptors,
    fleet::{Fleet, FleetError, LoadError},
    heart::{Felt, feel},
    limits::{self, Limits},
    own_certificate::OwnCertificate,
    prometheus::{Asking, Client},
    server_command::{Metrics, ServerArgs},
    store::{OpenError, SledStore, Store, StoreError, format},
    vitals::Vitals,
};
use handover_daemon::ServiceManager;
use handover_identity::{
    AcceptLimits, AddressError, Ca, CaError, FleetName, IdentityNameError, ServerAddress, ServerTls,
    SignError, TlsError, TlsIncoming, UnixIncoming, UnixListenError, http2_server, wall_clock,
};
use handover_proto::v1::{
    agent_service_server::AgentServiceServer, enrolment_service_server::EnrolmentServiceServer,
    operator_service_server::OperatorServiceServer,
};
use handover_telemetry::{Endpoint, EndpointError};
use std::{io, net::SocketAddr, os::unix::fs::DirBuilderExt as _, path::PathBuf, sync::Arc, time::Duration};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tower::layer::util::{Identity, Stack};

/// From the signal until every connection is closed; what is left then is cut.
const SHUTDOWN: Duration = Duration::from_secs(5);
/// Where metrics and health are told if nobody says.
const METRICS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7444);

/// Why the server does not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A folder cannot be made.
    #[error(
        "cannot make the folder {path}: give another one with --data or --unix, or run the server as its owner"
    )]
    Data {
        /// Which.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The fleet's name is none.
    #[error("--fleet has no fleet name")]
    FleetName(#[source] IdentityNameError),
    /// The server's address for tokens is none.
    #[error("--address has no HOST:PORT")]
    Address(#[source] AddressError),
    /// The CA cannot be made or read.
    #[error("the fleet's CA cannot be used")]
    Ca(#[from] CaError),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[from] TlsError),
    /// The store does not open.
    #[error("the store cannot be opened")]
    Store(#[from] OpenError),
    /// The store's records are of a format that is not read, or cannot be brought up to the newest.
    #[error("the store's format cannot be used")]
    Format(#[from] StoreError),
    /// Before its format changes the store is backed up, and could not be.
    #[error(
        "the store has an older format, and no backup can be written before that changes; nothing was changed"
    )]
    BackupBefore(#[source] BackupError),
    /// The bundles' folder cannot be used.
    #[error("the folder of bundles cannot be used")]
    Bundles(#[from] BlobError),
    /// The store's content is not a fleet's.
    #[error("the fleet cannot be loaded")]
    Load(#[from] LoadError),
    /// The TLS address is taken or not this machine's.
    #[error("cannot listen on {address}: is another server running? choose another with --listen")]
    Listen {
        /// Which.
        address: std::net::SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The Unix socket cannot be made.
    #[error("cannot listen on the Unix socket {path}: choose another with --unix")]
    Unix {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: UnixListenError,
    },
    /// The address of metrics and health is taken or not this machine's.
    #[error("metrics and health have no address: choose another with --metrics, or `--metrics off`")]
    Metrics(#[from] EndpointError),
    /// There is no such group.
    #[error("there is no group {0} on this machine: make it, or choose another with --admin-group")]
    Group(String),
    /// Signals cannot be waited for.
    #[error("signals cannot be waited for")]
    Signals(#[source] io::Error),
    /// The state cannot be written down any more.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// The server's certificate cannot be made.
    #[error("the server's certificate cannot be made")]
    Certificate(#[from] SignError),
    /// A task of the server ended without a result.
    #[error("a task of the server broke off: {0}")]
    Task(String),
    /// A listener ended by itself.
    #[error("a listener ended")]
    Serve(#[from] tonic::transport::Error),
}

/// Runs the server until SIGTERM or SIGINT, or until its state cannot be written down any more.
///
/// # Errors
/// When it cannot start, or had to stop.
pub async fn serve(arguments: &ServerArgs) -> Result<(), ServerError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(ServerError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServerError::Signals)?;
    let running = Running::start(arguments).await?;
    let Running { stop, felt: Felt { pulse, vitals }, mut fleet, mut tls, mut unix } = running;
    let mut manager = ServiceManager::of_this_process();
    manager.ready(vitals.borrow().to_string()).await;
    let watching = tokio::spawn(manager.watch(pulse, move || vitals.borrow().to_string()));
    let ended = tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        ended = &mut fleet => joined(ended).and_then(|ended| ended.map_err(ServerError::Fleet)),
        ended = &mut tls => joined(ended).and_then(|ended| ended.map_err(ServerError::Serve)),
        ended = &mut unix => joined(ended).and_then(|ended| ended.map_err(ServerError::Serve)),
    };
    tracing::info!("the server stops; what the agents run goes on");
    watching.abort();
    ServiceManager::of_this_process().stopping().await;
    stop.cancel();
    // Sessions and watches end by the token. A peer that reads nothing must not hold the end up.
    let drained = async {
        for task in [tls, unix] {
            if !task.is_finished() {
                let _ = task.await;
            }
        }
        // It has refusals that it still counts to write down.
        if !fleet.is_finished() {
            let _ = fleet.await;
        }
    };
    if tokio::time::timeout(SHUTDOWN, drained).await.is_err() {
        tracing::warn!("connections were still open after {SHUTDOWN:?} and are cut");
    }
    ended
}

fn joined<T>(ended: Result<T, tokio::task::JoinError>) -> Result<T, ServerError> {
    ended.map_err(|error| ServerError::Task(error.to_string()))
}

type Listener = tokio::task::JoinHandle<Result<(), tonic::transport::Error>>;

/// A server that runs.
struct Running {
    stop: CancellationToken,
    felt: Felt,
    fleet: tokio::task::JoinHandle<Result<(), FleetError>>,
    tls: Listener,
    unix: Listener,
}

impl Running {
    async fn start(arguments: &ServerArgs) -> Result<Self, ServerError> {
        let limits = AcceptLimits::default();
        descriptors::provide(&limits);
        let data = &arguments.data;
        let make = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data);
        make.map_err(|source| ServerError::Data { path: data.clone(), source })?;
        // First of all, and before anything is written: it is also the lock against a second server.
        let path = data.join("store");
        let store: Arc<dyn Store> = Arc::new(
            tokio::task::spawn_blocking(move || SledStore::open(&path))
                .await
                .map_err(|error| ServerError::Task(error.to_string()))??,
        );
        let now = wall_clock();
        let fleet_name: FleetName = arguments.fleet.parse().map_err(ServerError::FleetName)?;
        let backups = Backups::new(Arc::clone(&store), data, fleet_name.as_str());
        bring_up(&*store, &backups).await?;
        if let Some(address) = &arguments.address {
            address.parse::<ServerAddress>().map_err(ServerError::Address)?;
        }
        let ca = match (&arguments.ca_certificate, &arguments.ca_key) {
            (Some(certificate), Some(key)) => Ca::load(certificate, key, &fleet_name, now)?,
            _ => Ca::open(&data.join("ca"), &fleet_name, now)?,
        };
        let certificate = ca.issue_server(arguments.server_certificate_life, now)?;
        let own = certificate.facts.clone();
        let tls = ServerTls::new(&ca, certificate)?;
        let ca = Arc::new(ca);
        let bundles = Bundles::open(data, handover_bundle::Limits::default()).await?;

        let listen = |source| ServerError::Listen { address: arguments.listen, source };
        let incoming = TlsIncoming::bind(arguments.listen, &tls, limits).map_err(listen)?;
        let bound = incoming.local_address();
        if let Some(folder) = arguments.unix.parent() {
            std::fs::create_dir_all(folder)
                .map_err(|source| ServerError::Data { path: folder.to_owned(), source })?;
        }
        let group = arguments.admin_group.as_deref().map(group_id).transpose()?;
        let unix = UnixIncoming::bind_for(&arguments.unix, group)
            .await
            .map_err(|source| ServerError::Unix { path: arguments.unix.clone(), source })?;

        let endpoint = endpoint(arguments.metrics).await?;
        let told = endpoint.as_ref().map(|endpoint| format!(", metrics on {}", endpoint.address()));
        let counters = [("tls", incoming.counters()), ("unix", unix.counters())];

        let stop = CancellationToken::new();
        let (fleet, task) = Fleet::start(store, bundles.clone(), stop.clone()).await?;
        counters
            .into_iter()
            .for_each(|(listener, counts)| fleet.metrics().count_connections(listener, counts));
        if let Some(endpoint) = endpoint {
            tokio::spawn(endpoint.serve(Arc::new(Vitals::of(fleet.clone())), stop.clone()));
        }
        let context = Context {
            fleet,
            bundles,
            backups,
            ca: Arc::clone(&ca),
            agent_life: arguments.agent_certificate_life,
            fleet_name: fleet_name.to_string(),
            address: arguments.address.clone().unwrap_or_else(|| own_address(bound)),
            limits: Arc::new(Limits::default()),
            started: now,
            logs: Arc::default(),
            commands: Arc::default(),
            stop: stop.clone(),
        };
        let renewing = OwnCertificate { ca: Arc::clone(&ca), tls, life: arguments.server_certificate_life };
        tokio::spawn(stop.clone().run_until_cancelled_owned(renewing.keep(own)));
        let asking = Asking::new(context.fleet.clone(), prometheus(arguments));
        tokio::spawn(stop.clone().run_until_cancelled_owned(asking.run()));
        tokio::spawn(limits::report(incoming.counters(), context.limits.counters(), stop.clone()));
        let felt = feel(context.fleet.clone()).await.map_err(FleetError)?;
        let locals = Locals { own: nix::unistd::geteuid().as_raw(), group: group.is_some() };
        let running = Self {
            felt,
            fleet: task,
            tls: tokio::spawn(
                router(&context, locals)
                    .serve_with_incoming_shutdown(incoming, stop.clone().cancelled_owned()),
            ),
            unix: tokio::spawn(
                router(&context, locals).serve_with_incoming_shutdown(unix, stop.clone().cancelled_owned()),
            ),
            stop,
        };
        eprintln!(
            "handover server ready: TLS on {bound}, unix {}, fleet {fleet_name}, CA {}{}",
            arguments.unix.display(),
            ca.fingerprint(),
            told.unwrap_or_default()
        );
        Ok(running)
    }
}

/// What each call passes: counted first, then let through or refused, and then bounded.
type Layers = Stack<CallsLayer, Stack<AuthoriseLayer, Stack<CountLayer, Identity>>>;

/// Brings an older store's records to the format that this server writes, after a backup beside it.
async fn bring_up(store: &dyn Store, backups: &Backups) -> Result<(), ServerError> {
    if let format::Standing::Older(from) = format::standing(store)? {
        let to = format::VERSION;
        let backup = backups.take_before_format(to).await.map_err(ServerError::BackupBefore)?;
        tracing::info!(from, to, backup = %backup.display(), "the store's format changes; a backup of it as it was lies beside it");
    }
    Ok(format::bring_up(store).await?)
}

/// The address of metrics and health. Only one that was asked for must be free: several servers on one machine are
/// not kept from starting by the default.
async fn endpoint(wanted: Option<Metrics>) -> Result<Option<Endpoint>, EndpointError> {
    match wanted {
        Some(Metrics::Off) => Ok(None),
        Some(Metrics::At(address)) => Endpoint::bind(address).await.map(Some),
        None => Ok(Endpoint::bind(METRICS)
            .await
            .map_err(|error| {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "metrics and health are not told; --metrics gives them another address"
                );
            })
            .ok()),
    }
}

/// The Prometheus server that is asked.
fn prometheus(arguments: &ServerArgs) -> Option<Client> {
    let url = arguments.prometheus.clone()?;
    let (token_file, ca_file) = (&arguments.prometheus_token_file, &arguments.prometheus_ca_file);
    Some(Client { url, token_file: token_file.clone(), ca_file: ca_file.clone() })
}

/// Every service behind the table of who may call what.
fn router(context: &Context, locals: Locals) -> tonic::transport::server::Router<Layers> {
    let agents = AgentServiceServer::new(Agents(context.clone())).max_decoding_message_size(MAX_MESSAGE);
    let enrolments =
        EnrolmentServiceServer::new(Enrolments(context.clone())).max_decoding_message_size(MAX_ENROLMENT);
    let operators =
        OperatorServiceServer::new(Operators::new(context)).max_decoding_message_size(MAX_MESSAGE);
    http2_server()
        .layer(CountLayer(context.fleet.metrics()))
        .layer(AuthoriseLayer::new(context.fleet.clone(), locals))
        .layer(CallsLayer(Arc::clone(&context.limits)))
        .add_service(agents)
        .add_service(enrolments)
        .add_service(operators)
}

/// The number of a group of this machine.
fn group_id(name: &str) -> Result<u32, ServerError> {
    match nix::unistd::Group::from_name(name) {
        Ok(Some(group)) => Ok(group.gid.as_raw()),
        Ok(None) | Err(_) => Err(ServerError::Group(name.to_owned())),
    }
}

/// Where agents reach the server if nobody says: the address that it listens on, or this machine's name where that
/// is every address.
fn own_address(bound: std::net::SocketAddr) -> String {
    if bound.ip().is_unspecified() {
        let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
        format!("{}:{}", name.unwrap_or_else(|| "localhost".to_owned()), bound.port())
    } else {
        bound.to_string()
    }
}
