//! How the server takes connections: TLS over TCP from anywhere, and a Unix socket on its own machine.
//!
//! Those without a certificate have places, time and descriptors of their own and cannot use up those of enrolled
//! agents. A lack of descriptors makes the loops pause, not spin.

mod admission;
mod backoff;
mod counters;
mod peer;
mod stream;
mod tls;
mod unix;

pub use counters::AcceptCounters;
pub use peer::{LocalPeer, Peer, PeerCertificate};
pub use stream::PeerStream;
pub(crate) use tls::set_options;
pub use tls::{AcceptLimits, TlsIncoming};
pub use unix::{LocalStream, UnixIncoming, UnixListenError};

use handover_model::Duration;

/// Pings go out after that much silence, while idle too.
pub(crate) const PING_INTERVAL: Duration = Duration::from_secs(15);
/// A peer that does not answer a ping within this time is gone.
pub(crate) const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// A tonic server with the keep-alive and the bounds that suit these acceptors; set no timeout on it, sessions are endless.
#[must_use]
pub fn http2_server() -> tonic::transport::Server {
    tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(PING_INTERVAL))
        .http2_keepalive_timeout(Some(PING_TIMEOUT))
        .max_concurrent_streams(Some(64))
        .http2_max_header_list_size(Some(16 * 1024))
        .http2_max_pending_accept_reset_streams(Some(64))
}
