//! Who is who on the wire: identities, the fleet's CA, keys, join tokens, and the TLS that rests on them.
//!
//! An identity is a SAN URI in a certificate of the fleet's CA, never a common name and never an address.
//! What this crate promises: a private key never leaves the machine it was made on; a certificate names exactly
//! one identity; an agent's certificate can never answer as the server; a client that has no certificate yet
//! talks only to the server that its join token pins; nobody without a certificate can crowd out those who have one.
//!
//! It decides *who* a peer is. What the peer may do is decided by the server, and the single use and the expiry of
//! a join token by the server's store.

mod accept;
mod address;
mod ca;
mod certificate;
mod connect;
mod credentials;
mod explain;
mod files;
mod generation;
mod identity;
mod key;
mod name;
mod renewal;
mod tls;
mod token;

pub use accept::{
    AcceptCounters, AcceptLimits, LocalPeer, LocalStream, Peer, PeerCertificate, PeerStream, Source,
    TlsIncoming, UnixIncoming, UnixListenError, http2_server,
};
pub use address::{AddressError, ServerAddress};
pub use ca::{Ca, CaError, IssuedCertificate, MAX_CSR_BYTES, MAX_VALIDITY, ServerCertificate, SignError};
pub use certificate::{CertificateFacts, CertificateFactsError};
pub use connect::{CONNECT_DEADLINE, ConnectError, connect, connect_unix, endpoint};
pub use credentials::{Credentials, CredentialsError};
pub use explain::{TlsProblem, explain, rough};
pub use files::FileError;
pub use identity::{Identity, IdentityError};
pub use key::{KeyError, KeyPair};
pub use name::{FleetName, IdentityNameError, OperatorName};
pub use renewal::{Renewal, renew_at};
pub use tls::{ClientTls, PinMismatch, ServerTls, TlsError, install_crypto_provider, pinned_client_config};
pub use token::{
    JoinToken, TokenClaim, TokenClaimError, TokenError, TokenId, TokenIdError, TokenSecret, secret_matches,
};

/// The name that every server certificate carries and every client asks for. The server's address is no part of
/// its identity, so it may move and be reached by any name.
pub const SERVER_NAME: &str = "handover-server";

/// The wall clock, for what is compared with a certificate's dates.
///
/// A clock before 1970 reads as 1970: then every certificate is "not valid yet", which is the truth to tell.
#[must_use]
pub fn wall_clock() -> handover_model::Timestamp {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    handover_model::Timestamp::from_unix_millis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}
