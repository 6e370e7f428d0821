//! One client connection, and one request on it.

use super::{
    failure::FailureKind,
    response::{Head, Malformed, Response},
    sources::Sources,
};
use nix::sys::socket::{setsockopt, sockopt};
use std::{io, net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

/// How long a service that was asked to close may take before the client does.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// A failure of one request, with its detail.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) kind: FailureKind,
    pub(crate) detail: String,
}

impl Failed {
    fn connecting(error: &io::Error) -> Self {
        Self { kind: FailureKind::of_connect(error), detail: error.to_string() }
    }

    fn transferring(error: &io::Error) -> Self {
        Self { kind: FailureKind::of_transfer(error), detail: error.to_string() }
    }

    fn timed_out(what: &str, after: Duration) -> Self {
        Self { kind: FailureKind::TimedOut, detail: format!("{what} within {after:?}") }
    }
}

impl From<Malformed> for Failed {
    fn from(malformed: Malformed) -> Self {
        Self { kind: FailureKind::Malformed, detail: malformed.to_string() }
    }
}

/// A connection to a service. Dropping it closes it.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    answered: u64,
    source: Option<SocketAddr>,
}

impl Connection {
    /// Connects within `limit`, from the next source address.
    pub(crate) async fn open(target: SocketAddr, sources: &Sources, limit: Duration) -> Result<Self, Failed> {
        let connecting = async {
            let socket = if target.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            if let Some(source) = sources.next(target) {
                // Without this the bind would reserve a port for all targets; so the connect chooses one that is free for this target.
                setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)?;
                socket.bind(SocketAddr::new(source, 0))?;
            }
            socket.set_nodelay(true)?;
            socket.connect(target).await
        };
        let stream = timeout(limit, connecting)
            .await
            .map_err(|_| Failed::timed_out("no connection", limit))?
            .map_err(|error| Failed::connecting(&error))?;
        let source = stream.local_addr().ok();
        Ok(Self { stream, buffer: Vec::with_capacity(4096), answered: 0, source })
    }

    /// The client's end.
    pub(crate) fn source(&self) -> Option<SocketAddr> {
        self.source
    }

    /// How many requests were answered on it, whole.
    pub(crate) fn answered(&self) -> u64 {
        self.answered
    }

    /// Sends `request` and reads the whole response, once.
    pub(crate) async fn exchange(&mut self, request: &[u8], limit: Duration) -> Result<Head, Failed> {
        timeout(limit, self.transfer(request))
            .await
            .map_err(|_| Failed::timed_out("no whole response", limit))?
    }

    async fn transfer(&mut self, request: &[u8]) -> Result<Head, Failed> {
        let mut response = Response::default();
        let whole = |response: Response| {
            response.into_head().ok_or_else(|| Malformed("a body without a head".to_owned()).into())
        };
        self.stream.write_all(request).await.map_err(|error| Failed::transferring(&error))?;
        let mut first = true;
        loop {
            let read =
                self.stream.read_buf(&mut self.buffer).await.map_err(|error| Failed::transferring(&error))?;
            if read == 0 {
                return if response.ends_with_close() {
                    self.answered += 1;
                    whole(response)
                } else if first {
                    Err(Failed {
                        kind: FailureKind::Closed,
                        detail: "closed before the first byte of a response".to_owned(),
                    })
                } else {
                    Err(Failed {
                        kind: FailureKind::Truncated,
                        detail: "closed in the middle of a response".to_owned(),
                    })
                };
            }
            first = false;
            response.advance(&mut self.buffer)?;
            if response.is_done() {
                if !self.buffer.is_empty() {
                    return Err(Malformed("bytes after the end of the response".to_owned()).into());
                }
                self.answered += 1;
                return whole(response);
            }
        }
    }

    /// Closes after a whole response that announced the close.
    ///
    /// Waits for the service to close first, so that TIME_WAIT is its, on a pair of addresses of its own. A service that
    /// does not close is left with a reset: nothing is in flight any more that it could cut.
    pub(crate) async fn close(mut self) {
        let mut rest = [0; 64];
        if !matches!(timeout(CLOSE_TIMEOUT, self.stream.read(&mut rest)).await, Ok(Ok(0))) {
            // If even that fails, the drop closes in the usual way.
            let _ = self.stream.set_zero_linger();
        }
    }
}

/// The bytes of a GET request.
pub(crate) fn request(target: SocketAddr, path: &str, close: bool) -> Vec<u8> {
    let connection = if close { "connection: close\r\n" } else { "" };
    format!("GET {path} HTTP/1.1\r\nhost: {target}\r\n{connection}\r\n").into_bytes()
}
