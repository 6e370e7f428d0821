//! What can go wrong with one request, each kind by itself.

use handover_model::Timestamp;
use serde::{Deserialize, Serialize};
use std::{fmt, io, net::SocketAddr};

/// Why one request failed. A request has exactly one outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// Nobody listened (ECONNREFUSED).
    Refused,
    /// The other side reset the connection, at whatever point (ECONNRESET, EPIPE, ECONNABORTED).
    Reset,
    /// The other side closed in the middle of a response.
    Truncated,
    /// The other side closed before the first byte of a response. On a keep-alive connection this is the lost race
    /// between the next request and the close.
    Closed,
    /// No connection, or no whole response, within its time-out.
    TimedOut,
    /// A whole response came, with a status outside 200-299.
    Non2xx,
    /// What came is no HTTP/1.x response, or more than one was sent for one request.
    Malformed,
    /// Another error while connecting (no free port, unreachable, ...).
    ConnectError,
    /// Another error while sending or receiving.
    OtherError,
}

impl FailureKind {
    /// Every kind, in the order in which reports show them.
    pub const ALL: [Self; 9] = [
        Self::Refused,
        Self::Reset,
        Self::Truncated,
        Self::Closed,
        Self::TimedOut,
        Self::Non2xx,
        Self::Malformed,
        Self::ConnectError,
        Self::OtherError,
    ];

    /// The kind of an error while connecting.
    pub(crate) fn of_connect(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => Self::Reset,
            io::ErrorKind::TimedOut => Self::TimedOut,
            _ => Self::ConnectError,
        }
    }

    /// The kind of an error on a connection that stood.
    pub(crate) fn of_transfer(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => {
                Self::Reset
            }
            // ETIMEDOUT: the kernel gave up retransmitting.
            io::ErrorKind::TimedOut => Self::TimedOut,
            _ => Self::OtherError,
        }
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::Truncated => "truncated",
            Self::Closed => "closed",
            Self::TimedOut => "timed out",
            Self::Non2xx => "non-2xx",
            Self::Malformed => "malformed",
            Self::ConnectError => "connect error",
            Self::OtherError => "other error",
        })
    }
}

/// One failed request, with what is known about it. Reports keep the first few of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// When it was noticed.
    pub at: Timestamp,
    /// What went wrong.
    pub kind: FailureKind,
    /// Where the request went.
    pub target: SocketAddr,
    /// The client's end of the connection, where there was one.
    pub source: Option<SocketAddr>,
    /// How many requests this connection had answered before.
    pub answered_before: u64,
    /// Microseconds from the beginning of the request to the failure.
    pub after_us: u64,
    /// The error's text, or the status line.
    pub detail: String,
}
