//! The first connection of a host: nothing is known of the server but the fingerprint in the join token.

use super::{TlsError, client::FleetServer, signatures_by_ring};
use handover_model::Digest;
use rustls::{
    CertificateError, ClientConfig, OtherError, SignatureScheme,
    client::{
        ResolvesClientCert,
        danger::{ServerCertVerified, ServerCertVerifier},
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
    sign::CertifiedKey,
};
use std::sync::Arc;

/// Whoever answered is not the server that made the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is not the server that made the token: its certificates do not include the CA {}; somebody may be between, or the token is from another server", expected.short()
)]
pub struct PinMismatch {
    /// The fingerprint in the token.
    pub expected: Digest,
}

/// TLS without a certificate of its own, to the one server whose CA has this fingerprint: the first connection, over which
/// the token's secret goes. Nothing is sent before the server has proved to be that one.
///
/// # Errors
/// When TLS cannot be set up.
pub fn pinned_client_config(fingerprint: Digest) -> Result<Arc<ClientConfig>, TlsError> {
    super::client::config(Arc::new(Pinned { fingerprint }), Arc::new(NoCertificate))
}

#[derive(Debug)]
struct NoCertificate;

impl ResolvesClientCert for NoCertificate {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

#[derive(Debug)]
struct Pinned {
    fingerprint: Digest,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let pinned = intermediates.iter().find(|certificate| Digest::of(certificate) == self.fingerprint);
        let mismatch = PinMismatch { expected: self.fingerprint };
        let ca = pinned.ok_or(CertificateError::Other(OtherError(Arc::new(mismatch))))?;
        let server = FleetServer::new(ca, None).map_err(|error| match error {
            TlsError::Rustls(error) => error,
            TlsError::Verifier(_) | TlsError::Random => CertificateError::BadEncoding.into(),
        })?;
        server.verify_server_cert(end_entity, intermediates, name, ocsp, now)
    }

    signatures_by_ring!();
}
