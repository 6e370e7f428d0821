//! How agents and operators reach the server.

use crate::{
    accept::{PING_INTERVAL, PING_TIMEOUT, set_options},
    address::ServerAddress,
    explain::{TlsProblem, of_handshake},
};
use handover_model::Duration;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use std::{
    error::Error,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::{TcpStream, UnixStream},
    time::{Instant, timeout_at},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

/// How long reaching the server may take in all: name, TCP and TLS.
pub const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// For one of several addresses of the server, at least.
const SHORTEST_TRY: Duration = Duration::from_secs(1);

/// Why the server was not reached.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Its name means nothing.
    #[error("cannot find the address of the server {address}: check the name and this machine's DNS")]
    Resolve {
        /// What was looked up.
        address: ServerAddress,
        /// Why not.
        #[source]
        source: Arc<io::Error>,
    },
    /// No TCP connection.
    #[error("cannot reach the server at {address}: is it running, and does no firewall stand between?")]
    Tcp {
        /// Where.
        address: ServerAddress,
        /// Why not.
        #[source]
        source: Arc<io::Error>,
    },
    /// No TLS.
    #[error("cannot trust, or be trusted by, the server at {address}")]
    Tls {
        /// Where.
        address: ServerAddress,
        /// What it means.
        #[source]
        problem: TlsProblem,
    },
    /// It took too long.
    #[error("the server at {address} did not answer within {} s", CONNECT_DEADLINE.as_secs())]
    Late {
        /// Where.
        address: ServerAddress,
    },
    /// The Unix socket does not answer.
    #[error("cannot reach the server on {}: {}", path.display(), unix_advice(source))]
    Unix {
        /// The socket.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Arc<io::Error>,
    },
    /// The transport failed after the connection stood.
    #[error("the server was reached and does not speak gRPC")]
    Transport(#[source] Arc<tonic::transport::Error>),
}

fn unix_advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => "no server runs on this machine",
        io::ErrorKind::PermissionDenied => "this user may not; become root or a member of the socket's group",
        io::ErrorKind::TimedOut => "it does not answer",
        _ => "the operating system refused",
    }
}

impl ConnectError {
    /// Finds one in a chain of errors: a channel connects again by itself, and says why not inside a gRPC status.
    #[must_use]
    pub fn find<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        std::iter::successors(Some(error), |error| (*error).source())
            .take(32)
            .find_map(|error| error.downcast_ref())
    }
}

/// Reaches the server over TLS. The channel it gives reconnects by itself, in the same way and with the certificate that
/// the configuration then shows.
///
/// A server that does not accept the certificate says so only after a TLS 1.3 client is done: this waits for the
/// server's first bytes, so that a refusal is an error of this call and not of the first request.
///
/// # Errors
/// When it is not reached within [`CONNECT_DEADLINE`], is not the right one, or refuses this client.
pub async fn connect(address: &ServerAddress, config: Arc<ClientConfig>) -> Result<Channel, ConnectError> {
    let dialled = address.clone();
    let connector = service_fn(move |_: Uri| {
        let (address, config) = (dialled.clone(), Arc::clone(&config));
        async move { dial(&address, config).await.map(TokioIo::new) }
    });
    endpoint().connect_with_connector(connector).await.map_err(from_transport)
}

/// Reaches the server of this machine over its Unix socket. The channel reconnects by itself.
///
/// # Errors
/// When nobody listens there or this user may not connect.
pub async fn connect_unix(path: &Path) -> Result<Channel, ConnectError> {
    let path = path.to_owned();
    let connector = service_fn(move |_: Uri| {
        let path = path.clone();
        async move {
            let connecting = timeout_at(Instant::now() + CONNECT_DEADLINE, UnixStream::connect(&path));
            let connected = connecting.await.unwrap_or_else(|late| Err(late.into()));
            connected
                .map(TokioIo::new)
                .map_err(|source| ConnectError::Unix { path, source: Arc::new(source) })
        }
    });
    endpoint().connect_with_connector(connector).await.map_err(from_transport)
}

/// The transport's settings that all clients share: pings while idle too, and no timeout of its own.
#[must_use]
pub fn endpoint() -> Endpoint {
    // The scheme says "no TLS by tonic": the connector brings its own.
    Endpoint::from_static("http://handover-server")
        .http2_keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true)
        .http2_max_header_list_size(16 * 1024)
}

fn from_transport(error: tonic::transport::Error) -> ConnectError {
    ConnectError::find(&error).cloned().unwrap_or_else(|| ConnectError::Transport(Arc::new(error)))
}

type Dialled = BufReader<TlsStream<TcpStream>>;

async fn dial(address: &ServerAddress, config: Arc<ClientConfig>) -> Result<Dialled, ConnectError> {
    let deadline = Instant::now() + CONNECT_DEADLINE;
    let stream = reach(address, deadline).await?;
    match timeout_at(deadline, shake_hands(stream, config)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(problem)) => Err(ConnectError::Tls { address: address.clone(), problem }),
        Err(_) => Err(ConnectError::Late { address: address.clone() }),
    }
}

async fn shake_hands(stream: TcpStream, config: Arc<ClientConfig>) -> Result<Dialled, TlsProblem> {
    let name =
        ServerName::try_from(crate::SERVER_NAME).map_err(|error| TlsProblem::Other(error.to_string()))?;
    let tls = TlsConnector::from(config).connect(name, stream).await.map_err(|error| of_handshake(&error))?;
    // An HTTP/2 server begins with its SETTINGS without being asked (RFC 9113 3.4).
    let mut tls = BufReader::with_capacity(1024, tls);
    match tls.fill_buf().await {
        Ok([]) => Err(TlsProblem::Closed),
        Ok(_) => Ok(tls),
        Err(error) => Err(of_handshake(&error)),
    }
}

/// TCP to the first of the server's addresses that answers; none can use up the time of the others.
async fn reach(address: &ServerAddress, deadline: Instant) -> Result<TcpStream, ConnectError> {
    let late = || ConnectError::Late { address: address.clone() };
    let found = timeout_at(deadline, tokio::net::lookup_host((address.host(), address.port()))).await;
    let found: Vec<_> = found
        .map_err(|_| late())?
        .map_err(|source| ConnectError::Resolve { address: address.clone(), source: Arc::new(source) })?
        .take(8)
        .collect();
    let mut last = late();
    for (index, candidate) in found.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let others = u32::try_from(found.len() - index).unwrap_or(1);
        let until = Instant::now() + (left / others).max(SHORTEST_TRY).min(left);
        match timeout_at(until, TcpStream::connect(candidate)).await {
            Ok(Ok(stream)) => match set_options(&stream) {
                Ok(()) => return Ok(stream),
                Err(source) => {
                    last = ConnectError::Tcp { address: address.clone(), source: Arc::new(source) }
                }
            },
            Ok(Err(source)) => {
                last = ConnectError::Tcp { address: address.clone(), source: Arc::new(source) }
            }
            Err(_) => {}
        }
    }
    Err(last)
}
