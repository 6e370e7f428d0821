//! When a connection is closed, whatever goes on in it.

use super::counters::AcceptCounters;
use handover_model::Duration;
use std::{
    future::Future as _,
    io,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::{
    io::ReadBuf,
    time::{Sleep, sleep},
};

/// The end of a connection's time, looked at on each read and write.
#[derive(Debug)]
pub(super) struct End(Kind);

#[derive(Debug)]
enum Kind {
    /// Of a peer without a certificate: enrolment is one short call.
    Anonymous(Pin<Box<Sleep>>),
    /// Of a peer that says nothing until then.
    Silent(Pin<Box<Sleep>>),
    /// HTTP/2's pings are on, and find out whether the peer is there.
    Never,
}

impl End {
    /// After so long.
    pub(super) fn of_anonymous(after: Duration) -> Self {
        Self(Kind::Anonymous(Box::pin(sleep(after))))
    }

    /// After so long, if nothing was read by then.
    pub(super) fn unless_heard(after: Duration) -> Self {
        Self(Kind::Silent(Box::pin(sleep(after))))
    }

    /// Whether the time is over. Says so once only: what is polled afterwards gets the connection's own errors.
    pub(super) fn check(&mut self, context: &mut Context<'_>, counters: &AcceptCounters) -> io::Result<()> {
        let (Kind::Anonymous(end) | Kind::Silent(end)) = &mut self.0 else { return Ok(()) };
        if end.as_mut().poll(context).is_pending() {
            return Ok(());
        }
        let why = match std::mem::replace(&mut self.0, Kind::Never) {
            Kind::Anonymous(_) => {
                counters.anonymous_late();
                "a connection without a certificate came to the end of its time"
            }
            Kind::Silent(_) | Kind::Never => {
                counters.greeting_late();
                "a connection said nothing after it was made"
            }
        };
        Err(io::Error::new(io::ErrorKind::TimedOut, why))
    }

    /// Reads, and notes that something was heard.
    pub(super) fn reading(
        &mut self,
        buf: &mut ReadBuf<'_>,
        read: impl FnOnce(&mut ReadBuf<'_>) -> Poll<io::Result<()>>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = read(buf);
        if matches!(self.0, Kind::Silent(_)) && buf.filled().len() > before {
            self.0 = Kind::Never;
        }
        read
    }
}
