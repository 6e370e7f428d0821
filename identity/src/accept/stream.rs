//! A connection whose peer is known.

use super::{admission::Place, counters::AcceptCounters, peer::Peer};
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::Sleep,
};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

/// A TLS connection after its handshake. Its place is free again when it is dropped.
#[derive(Debug)]
pub struct PeerStream {
    pub(super) tls: TlsStream<TcpStream>,
    pub(super) peer: Peer,
    /// Only a peer without a certificate has an end: enrolment is one short call.
    pub(super) end: Option<Pin<Box<Sleep>>>,
    pub(super) counters: Arc<AcceptCounters>,
    pub(super) _place: Place,
}

impl PeerStream {
    /// Who is at the other end.
    #[must_use]
    pub const fn peer(&self) -> &Peer {
        &self.peer
    }

    fn check_end(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let Some(end) = &mut self.end else { return Ok(()) };
        if end.as_mut().poll(context).is_pending() {
            return Ok(());
        }
        // Once only: what is still polled afterwards gets the connection's own errors.
        self.end = None;
        self.counters.anonymous_late();
        Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "a connection without a certificate came to the end of its time",
        ))
    }
}

impl Connected for PeerStream {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for PeerStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check_end(context)?;
        Pin::new(&mut self.tls).poll_read(context, buf)
    }
}

impl AsyncWrite for PeerStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check_end(context)?;
        Pin::new(&mut self.tls).poll_write(context, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check_end(context)?;
        Pin::new(&mut self.tls).poll_write_vectored(context, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.tls.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_end(context)?;
        Pin::new(&mut self.tls).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_shutdown(context)
    }
}
