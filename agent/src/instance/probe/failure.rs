//! Why a probe failed, in words that an operator can act on.

use crate::instance::{ExitStatus, LaunchError, logs::escape};
use std::{io, net::SocketAddr, time::Duration};

/// Most characters of an answer or an output that are shown.
const MAX_SHOWN: usize = 200;

/// Why a probe failed.
#[derive(Debug, thiserror::Error)]
pub enum ProbeFailure {
    /// Nothing listens there.
    #[error("connection to {0} refused: nothing listens there")]
    Refused(SocketAddr),
    /// No answer in time.
    #[error("no answer to {what} within {after:?}")]
    Late {
        /// What was asked.
        what: String,
        /// The probe's timeout.
        after: Duration,
    },
    /// The connection cannot be made.
    #[error("cannot connect to {target} from {origin}")]
    Connect {
        /// Where to.
        target: SocketAddr,
        /// The pin.
        origin: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The TLS handshake failed: most likely the program speaks no TLS on this listener.
    #[error("the TLS handshake with {target} failed; does the program speak TLS on this listener?")]
    Tls {
        /// With whom.
        target: SocketAddr,
        /// What rustls said.
        #[source]
        source: io::Error,
    },
    /// The request cannot be made from the manifest's words.
    #[error("no valid request can be made of {what:?}")]
    Request {
        /// The path, host or service name.
        what: String,
    },
    /// The connection ended before there was an answer, or the answer was no HTTP.
    #[error("{what}: the connection ended without a valid answer")]
    Broken {
        /// What was asked.
        what: String,
        /// What hyper said.
        #[source]
        source: hyper::Error,
    },
    /// Another status than the manifest wants.
    #[error("{what} answered {status}{body}")]
    Status {
        /// What was asked.
        what: String,
        /// Number and words.
        status: String,
        /// Where a redirect leads, or the body's first characters, with ": " before it; or empty.
        body: String,
    },
    /// More than is read.
    #[error("the answer to {what} is longer than {} MiB", most >> 20)]
    TooLong {
        /// What was asked.
        what: String,
        /// Bytes that are read at most.
        most: usize,
    },
    /// An answer in a form that was not asked for.
    #[error("{what} answered in {encoding}, which was not asked for")]
    Encoded {
        /// What was asked.
        what: String,
        /// What `Content-Encoding` says, in quotes.
        encoding: String,
    },
    /// The health service says that the program does not serve.
    #[error("grpc.health.v1.Health/Check of {service:?} answered {status}")]
    NotServing {
        /// The service name asked for; empty is the whole server.
        service: String,
        /// UNKNOWN, NOT_SERVING or SERVICE_UNKNOWN.
        status: String,
    },
    /// The health service answered with an error.
    #[error("grpc.health.v1.Health/Check of {service:?} failed: {code}{message}")]
    Grpc {
        /// The service name asked for; empty is the whole server.
        service: String,
        /// The status code.
        code: String,
        /// Its message, with ": " before it; or empty.
        message: String,
    },
    /// The command ended otherwise than with code 0.
    #[error("{what} {status}{output}")]
    Exec {
        /// The command.
        what: String,
        /// How it ended.
        status: ExitStatus,
        /// Its last line, with ": " before it; or empty.
        output: String,
    },
    /// The command did not end in time and was killed with all that it started in its session.
    #[error("{what} did not end within {after:?} and was killed{output}")]
    ExecLate {
        /// The command.
        what: String,
        /// The probe's timeout.
        after: Duration,
        /// Its last line, with ": " before it; or empty.
        output: String,
    },
    /// The command cannot be started.
    #[error("the probe's command cannot be started")]
    Launch(#[from] LaunchError),
}

/// A program's words behind ours: escaped, bounded, with ": " before them; empty where it said nothing.
pub(super) fn quoted(text: &str) -> String {
    let text: String = text.trim().chars().take(MAX_SHOWN).collect();
    if text.is_empty() { text } else { format!(": {}", escape(&text)) }
}
