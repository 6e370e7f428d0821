//! The accept loop for TLS: handshakes concurrently, each with a deadline, all with bounds.

use super::{
    admission::Admission,
    backoff::Backoff,
    counters::AcceptCounters,
    end::End,
    handshakes::Handshakes,
    peer::{Peer, PeerCertificate},
    stream::PeerStream,
};
use crate::{certificate::CertificateFacts, tls::ServerTls};
use futures_util::Stream;
use handover_model::Duration;
use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::mpsc,
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep_until, timeout_at},
};
use tokio_rustls::TlsAcceptor;

/// How many connections there may be, and how long what is unauthenticated may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AcceptLimits {
    /// Connections in the middle of their handshake. When all places are taken one is closed for the new one: of the
    /// sources that have the most, the oldest that has sent nothing, else the oldest. Silent connections cannot keep an
    /// agent out, and a crowd from some addresses no agent from another.
    pub handshakes: usize,
    /// From accept(2) to the end of the handshake.
    pub handshake_deadline: Duration,
    /// From the end of the handshake to the first byte of HTTP/2, for those with a certificate.
    pub greeting_deadline: Duration,
    /// Connections with a verified certificate. Each needs a descriptor.
    pub identified: usize,
    /// Connections of one and the same agent, which needs one, and another one where the first is lost.
    pub of_one_agent: usize,
    /// Connections of one and the same operator: each command has one.
    pub of_one_operator: usize,
    /// Connections without a certificate.
    pub anonymous: usize,
    /// Those of one [`Source`](super::Source).
    pub anonymous_of_one_source: usize,
    /// How long a connection without a certificate may live.
    pub anonymous_deadline: Duration,
}

impl Default for AcceptLimits {
    fn default() -> Self {
        Self {
            handshakes: 512,
            handshake_deadline: Duration::from_secs(10),
            greeting_deadline: Duration::from_secs(10),
            identified: 20_000,
            of_one_agent: 8,
            of_one_operator: 128,
            anonymous: 256,
            anonymous_of_one_source: 32,
            anonymous_deadline: Duration::from_secs(60),
        }
    }
}

/// Ready connections wait here for the server's next turn.
const READY: usize = 64;
/// accept(2)'s own queue; the kernel cuts it to net.core.somaxconn.
const BACKLOG: u32 = 4096;

/// Verified connections, for `serve_with_incoming`. Dropping it closes the listener and all unfinished handshakes.
#[derive(Debug)]
pub struct TlsIncoming {
    ready: mpsc::Receiver<PeerStream>,
    counters: Arc<AcceptCounters>,
    address: SocketAddr,
    accepting: AbortHandle,
}

impl TlsIncoming {
    /// Listens on `address` and accepts. Must be called on a tokio runtime.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub fn bind(address: SocketAddr, tls: &ServerTls, limits: AcceptLimits) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Self::new(socket.listen(BACKLOG)?, tls, limits)
    }

    /// Accepts from a listener that exists, as one passed by systemd. Must be called on a tokio runtime.
    ///
    /// # Errors
    /// When the listener's address cannot be asked.
    pub fn new(listener: TcpListener, tls: &ServerTls, limits: AcceptLimits) -> io::Result<Self> {
        let address = listener.local_addr()?;
        Ok(Self::accepting(listener, address, tls, limits))
    }

    fn accepting(
        listener: impl Listener,
        address: SocketAddr,
        tls: &ServerTls,
        limits: AcceptLimits,
    ) -> Self {
        let (sender, ready) = mpsc::channel(READY);
        let counters = Arc::new(AcceptCounters::default());
        let shared = Arc::new(Shared {
            acceptor: TlsAcceptor::from(tls.config()),
            admission: Admission::new(limits),
            counters: Arc::clone(&counters),
            limits,
            ready: sender,
        });
        let accepting = tokio::spawn(accept_for_ever(listener, shared)).abort_handle();
        Self { ready, counters, address, accepting }
    }

    /// The address that is listened on, with the port that the kernel chose where 0 was asked for.
    #[must_use]
    pub const fn local_address(&self) -> SocketAddr {
        self.address
    }

    /// What was counted, also while and after a server consumes this.
    #[must_use]
    pub fn counters(&self) -> Arc<AcceptCounters> {
        Arc::clone(&self.counters)
    }
}

impl Stream for TlsIncoming {
    type Item = io::Result<PeerStream>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.ready.poll_recv(context).map(|stream| stream.map(Ok))
    }
}

impl Drop for TlsIncoming {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Where connections come from; a trait so that tests can run out of descriptors.
trait Listener: Send + Sync + 'static {
    fn next(&self) -> impl Future<Output = io::Result<(TcpStream, SocketAddr)>> + Send;
}

impl Listener for TcpListener {
    async fn next(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.accept().await
    }
}

struct Shared {
    acceptor: TlsAcceptor,
    admission: Arc<Admission>,
    counters: Arc<AcceptCounters>,
    limits: AcceptLimits,
    ready: mpsc::Sender<PeerStream>,
}

async fn accept_for_ever(listener: impl Listener, shared: Arc<Shared>) {
    let mut backoff = Backoff::new();
    let mut tasks = JoinSet::new();
    let mut handshakes: Handshakes<AbortHandle> = Handshakes::new();
    loop {
        let until = backoff.until();
        let next = async {
            sleep_until(until).await;
            listener.next().await
        };
        let accepted = tokio::select! {
            accepted = next => accepted,
            Some(ended) = tasks.join_next_with_id() => {
                let id = ended.map_or_else(|error| error.id(), |(id, ())| id);
                handshakes.ended(|task| task.id() == id);
                continue;
            }
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                backoff.failed(&error, &shared.counters);
                continue;
            }
        };
        backoff.succeeded();
        shared.counters.accepted();
        if handshakes.len() >= shared.limits.handshakes.max(1)
            && let Some(displaced) = handshakes.displace()
        {
            displaced.abort();
            shared.counters.handshake_displaced();
        }
        let spoke = Arc::new(AtomicBool::new(false));
        let task = tasks.spawn(handshake(stream, address, Arc::clone(&shared), Arc::clone(&spoke)));
        handshakes.began(address.into(), spoke, task);
    }
}

async fn handshake(stream: TcpStream, address: SocketAddr, shared: Arc<Shared>, spoke: Arc<AtomicBool>) {
    let deadline = Instant::now() + shared.limits.handshake_deadline;
    let counters = &shared.counters;
    let done = timeout_at(deadline, async {
        set_options(&stream)?;
        // Not readable(): it may return before there is anything to read.
        stream.peek(&mut [0]).await?;
        spoke.store(true, Relaxed);
        shared.acceptor.accept(stream).await
    });
    let tls = match done.await {
        Ok(Ok(tls)) => tls,
        Ok(Err(error)) => {
            // Not louder: whoever reaches the port could fill the log.
            tracing::debug!(%address, %error, "a TLS handshake failed");
            return counters.handshake_failed();
        }
        Err(_) => {
            tracing::debug!(%address, "a TLS handshake was not done in time");
            return counters.handshake_late();
        }
    };
    let shown = tls.get_ref().1.peer_certificates().and_then(<[_]>::first).map(CertificateFacts::from_der);
    let certificate = match shown.transpose() {
        Ok(facts) => facts.map(PeerCertificate::from),
        // The verifier has read the same facts before.
        Err(_) => return counters.handshake_failed(),
    };
    let peer = Peer { address, certificate };
    let Some(place) = shared.admission.admit(&peer) else {
        tracing::debug!(%address, identity = ?peer.identity(), "no place left for this connection");
        return counters.refused_full();
    };
    let end = match peer.certificate {
        None => End::of_anonymous(shared.limits.anonymous_deadline),
        Some(_) => End::unless_heard(shared.limits.greeting_deadline),
    };
    let stream = PeerStream { tls, peer, end, counters: Arc::clone(counters), _place: place };
    match timeout_at(deadline, shared.ready.send(stream)).await {
        Ok(Ok(())) => counters.admitted(),
        // The server has ended, or does not take connections any more.
        Ok(Err(_)) | Err(_) => counters.refused_full(),
    }
}

/// Requests are small and answers awaited: no Nagle. A host that vanished is noticed by the kernel too, should HTTP/2
/// pings be off.
pub(crate) fn set_options(stream: &TcpStream) -> io::Result<()> {
    use rustix::net::sockopt;
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, Duration::from_secs(30))?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(10))?;
    sockopt::set_tcp_keepcnt(stream, 3)?;
    Ok(())
}

#[cfg(test)]
mod tests;
