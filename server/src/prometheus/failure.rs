//! Why there is no answer, in words for an operator.

use handover_daemon::FileError;
use handover_prometheus::AnswerError;
use std::{io, time::Duration};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskFailure {
    /// Nobody said where it is.
    #[error("this server was given no Prometheus server to ask: write `prometheus` into its server.toml")]
    NoServer,
    /// The token cannot be read.
    #[error("the file of its token (prometheus_token_file) cannot be read")]
    TokenFile(#[source] FileError),
    /// The file has no token in it.
    #[error("prometheus_token_file holds no token: expected one line of visible ASCII characters")]
    NoToken,
    /// The CAs cannot be read.
    #[error("the file of its CAs (prometheus_ca_file) cannot be read")]
    CaFile(#[source] FileError),
    /// The file has no CA in it.
    #[error("prometheus_ca_file holds no certificate of a CA: expected PEM")]
    NoCa,
    /// No connection.
    #[error("cannot connect to {0}")]
    Connect(String, #[source] io::Error),
    /// No TLS.
    #[error(
        "the TLS handshake with {0} failed: does it speak TLS, with a certificate of a CA in prometheus_ca_file?"
    )]
    Tls(String, #[source] io::Error),
    /// The address makes no request.
    #[error("no request can be made of its address")]
    Request,
    /// The connection ended before there was an answer, or the answer was no HTTP.
    #[error("the connection ended without a valid answer")]
    Broken(#[source] hyper::Error),
    /// Nothing in time.
    #[error("no answer within {0:?}")]
    Late(Duration),
    /// Another status than 200.
    #[error("HTTP {status}{words}")]
    Status {
        /// Number and words.
        status: String,
        /// What the answer says, with ": " before it; or empty.
        words: String,
    },
    /// The body is in a form that was not asked for.
    #[error("it answered in {0}, which was not asked for")]
    Encoded(String),
    /// The answer says nothing.
    #[error(transparent)]
    Answer(#[from] AnswerError),
    /// The server ends, or a task of it broke off.
    #[error("it could not be asked: {0}")]
    Task(String),
}
