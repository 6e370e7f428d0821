//! How the server takes connections: TLS over TCP from anywhere, and a Unix socket on its own machine.
//!
//! Those without a certificate have places, time and descriptors of their own and cannot use up those of enrolled
//! agents. A lack of descriptors makes the loops pause, not spin.

mod admission;
mod backoff;
mod counters;
mod end;
mod handshakes;
mod peer;
mod source;
mod stream;
mod tls;
mod unix;

pub use counters::AcceptCounters;
pub use peer::{LocalPeer, Peer, PeerCertificate};
pub use source::Source;
pub use stream::PeerStream;
pub(crate) use tls::set_options;
pub use tls::{AcceptLimits, TlsIncoming};
pub use unix::{LocalStream, UnixIncoming, UnixListenError};

use handover_model::Duration;

/// Pings go out after that much silence, while idle too.
pub(crate) const PING_INTERVAL: Duration = Duration::from_secs(15);
/// A peer that does not answer a ping within this time is gone.
pub(crate) const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Calls and streams at once on one connection.
const STREAMS: u32 = 64;
/// Largest list of headers, in bytes, of a request or of its trailers.
const HEADERS: u32 = 16 * 1024;
/// What a peer may send unread, in bytes, on one stream and on the whole connection. The rest waits at its side.
const WINDOW: u32 = 1024 * 1024;
/// Streams that a peer opened and reset again before the server looked at them (CVE-2023-44487, "rapid reset"); one
/// more ends the connection.
const UNSEEN_RESETS: usize = 64;
/// Streams that the server reset for a peer's mistakes (CVE-2025-8671, "made you reset"); one more ends the connection.
const OWN_RESETS: usize = 256;

/// A tonic server with the keep-alive and the bounds that suit these acceptors; set no timeout on it, sessions are endless.
///
/// Not to be set, and bounded in h2 itself: answers to PING and SETTINGS (one waits, and until it is written nothing
/// more is read), CONTINUATION frames (by the list of headers), small DATA frames (by a budget over the window).
#[must_use]
pub fn http2_server() -> tonic::transport::Server {
    tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(PING_INTERVAL))
        .http2_keepalive_timeout(Some(PING_TIMEOUT))
        .initial_stream_window_size(Some(WINDOW))
        .initial_connection_window_size(Some(WINDOW))
        .max_concurrent_streams(Some(STREAMS))
        .http2_max_header_list_size(Some(HEADERS))
        .http2_max_pending_accept_reset_streams(Some(UNSEEN_RESETS))
        .http2_max_local_error_reset_streams(Some(OWN_RESETS))
}
