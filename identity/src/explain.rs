//! What a failed handshake means to an operator, from the client's side.

use crate::tls::{PinMismatch, WrongPeer};
use handover_model::Duration;
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError};
use std::{error::Error, io};

/// Why a client and the server did not come together, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsProblem {
    /// Not the server that the join token pins.
    #[error(transparent)]
    WrongServer(PinMismatch),
    /// The server's certificate is from a CA that is not ours.
    #[error(
        "the server's certificate was not signed by the CA that this machine was enrolled with: it is another server, or its CA was replaced (then enrol again)"
    )]
    UnknownServer,
    /// The server's certificate is past its end, by this machine's clock; by how much, where that is known.
    #[error("the server's certificate {}: check this machine's clock, then the server's", ended(*.0))]
    ServerExpired(Option<Duration>),
    /// The server's certificate is not valid yet, by this machine's clock; by how much that is behind at least, where that
    /// is known.
    #[error("the server's certificate is not valid yet: this machine's clock is behind{}; set it, and the agent goes on by itself", at_least(*.0))]
    ServerNotValidYet(Option<Duration>),
    /// Whoever answers has a certificate of the fleet and is not its server.
    #[error("what answers has no certificate as this fleet's server: check the address")]
    NotTheServer,
    /// The server said that our certificate is past its end.
    #[error(
        "the server refused this machine's certificate as expired or not valid yet: check the clocks, or enrol again with a new join token"
    )]
    OwnExpired,
    /// The server said that it does not know the CA of our certificate.
    #[error(
        "the server does not know the CA of this machine's certificate: it is another server, or its CA was replaced (then enrol again)"
    )]
    OwnUnknown,
    /// The server said that our certificate was revoked.
    #[error("the server says that this machine's certificate was revoked")]
    OwnRevoked,
    /// The server refused our certificate for another reason.
    #[error("the server refused this machine's certificate; it may be of another fleet, or not a client's")]
    OwnRefused,
    /// Not TLS, or not the TLS of Handover.
    #[error("what answers does not speak Handover's TLS (1.3, HTTP/2): check the address and the port")]
    NotOurProtocol,
    /// The connection ended in the middle.
    #[error(
        "the connection was closed during the handshake: the server is stopping or has no place left, or something between cuts it"
    )]
    Closed,
    /// Anything else.
    #[error("the TLS handshake failed: {0}")]
    Other(String),
}

fn between(earlier: UnixTime, later: UnixTime) -> Duration {
    Duration::from_secs(later.as_secs().saturating_sub(earlier.as_secs()))
}

fn ended(ago: Option<Duration>) -> String {
    ago.map_or_else(
        || "has expired".to_owned(),
        |ago| format!("ended {} ago by this machine's clock", rough(ago)),
    )
}

fn at_least(behind: Option<Duration>) -> String {
    behind.map_or_else(String::new, |behind| format!(" by at least {}", rough(behind)))
}

/// A length of time as a person says it: in its two largest units.
#[must_use]
pub fn rough(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

/// Finds what TLS says somewhere in a chain of errors: an I/O error, a transport error, a gRPC status.
/// `None` where TLS is not the cause.
#[must_use]
pub fn explain(error: &(dyn Error + 'static)) -> Option<TlsProblem> {
    let mut next = Some(error);
    // A chain is short; the bound is against one that bites its tail.
    for _ in 0..32 {
        let error = next?;
        if let Some(problem) = error.downcast_ref::<TlsProblem>() {
            return Some(problem.clone());
        }
        if let Some(error) = error.downcast_ref::<rustls::Error>() {
            return Some(from_rustls(error));
        }
        // An io::Error's source() is the source of what it wraps, which would be skipped.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = wrapped.map_or_else(|| error.source(), |wrapped| Some(wrapped as &(dyn Error + 'static)));
    }
    None
}

/// What an I/O error in the middle of a handshake means.
pub(crate) fn of_handshake(error: &io::Error) -> TlsProblem {
    explain(error).unwrap_or_else(|| match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            TlsProblem::Closed
        }
        _ => TlsProblem::Other(error.to_string()),
    })
}

fn from_rustls(error: &rustls::Error) -> TlsProblem {
    use rustls::Error as E;
    match error {
        E::InvalidCertificate(error) => from_certificate(error),
        E::AlertReceived(alert) => from_alert(*alert),
        E::InvalidMessage(_)
        | E::InappropriateMessage { .. }
        | E::InappropriateHandshakeMessage { .. }
        | E::PeerIncompatible(_)
        | E::NoApplicationProtocol => TlsProblem::NotOurProtocol,
        other => TlsProblem::Other(other.to_string()),
    }
}

fn from_certificate(error: &CertificateError) -> TlsProblem {
    use CertificateError as C;
    match error {
        C::Expired => TlsProblem::ServerExpired(None),
        C::ExpiredContext { time, not_after } => TlsProblem::ServerExpired(Some(between(*not_after, *time))),
        C::NotValidYet => TlsProblem::ServerNotValidYet(None),
        C::NotValidYetContext { time, not_before } => {
            TlsProblem::ServerNotValidYet(Some(between(*time, *not_before)))
        }
        C::UnknownIssuer | C::BadSignature => TlsProblem::UnknownServer,
        C::NotValidForName
        | C::NotValidForNameContext { .. }
        | C::InvalidPurpose
        | C::InvalidPurposeContext { .. } => TlsProblem::NotTheServer,
        C::Other(other) => {
            if let Some(mismatch) = other.0.downcast_ref::<PinMismatch>() {
                TlsProblem::WrongServer(mismatch.clone())
            } else if other.0.is::<WrongPeer>() {
                TlsProblem::NotTheServer
            } else {
                TlsProblem::Other(other.to_string())
            }
        }
        other => TlsProblem::Other(other.to_string()),
    }
}

fn from_alert(alert: AlertDescription) -> TlsProblem {
    use AlertDescription as A;
    match alert {
        A::CertificateExpired => TlsProblem::OwnExpired,
        // The second: a CA of the same name with another key.
        A::UnknownCA | A::DecryptError => TlsProblem::OwnUnknown,
        A::CertificateRevoked => TlsProblem::OwnRevoked,
        A::BadCertificate
        | A::UnsupportedCertificate
        | A::CertificateUnknown
        | A::AccessDenied
        | A::CertificateRequired => TlsProblem::OwnRefused,
        A::ProtocolVersion | A::HandshakeFailure | A::NoApplicationProtocol => TlsProblem::NotOurProtocol,
        A::CloseNotify => TlsProblem::Closed,
        other => TlsProblem::Other(format!("the server sent the alert {other:?}")),
    }
}
