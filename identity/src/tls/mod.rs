//! TLS as Handover speaks it: 1.3 only, ring, HTTP/2, no resumption, peers known by their SAN URI.

mod client;
mod pinned;
mod server;

pub use client::ClientTls;
pub use pinned::{PinMismatch, pinned_client_config};
pub use server::ServerTls;

use crate::certificate::CertificateFactsError;
use rustls::{
    CertificateError, OtherError, RootCertStore,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer},
    sign::CertifiedKey,
};
use std::sync::{Arc, OnceLock};

/// The only protocol inside: gRPC is HTTP/2.
const ALPN: &[u8] = b"h2";

/// A configuration that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Keys, certificates or the provider do not fit.
    #[error("cannot set up TLS")]
    Rustls(#[from] rustls::Error),
    /// The CA's certificate cannot be a root of trust.
    #[error("the CA's certificate cannot be used to verify others")]
    Verifier(#[from] rustls::client::VerifierBuilderError),
    /// The operating system gives no randomness.
    #[error("the operating system gives no random bytes")]
    Random,
}

/// ring, passed explicitly to each configuration.
pub(crate) fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(rustls::crypto::ring::default_provider()))
}

/// Makes ring the process's crypto provider: the first thing in `main`. rustls panics at its first use where a
/// dependency brings another one and nobody has chosen. Calling it again does nothing.
pub fn install_crypto_provider() {
    // The error says that one is installed, which is what is wanted.
    let _ = CryptoProvider::install_default(provider().as_ref().clone());
}

/// Random bytes fit for secrets.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], TlsError> {
    let mut bytes = [0; N];
    provider().secure_random.fill(&mut bytes).map_err(|_| TlsError::Random)?;
    Ok(bytes)
}

/// The CA as the only root.
fn roots(ca: &CertificateDer<'_>) -> Result<Arc<RootCertStore>, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(ca.clone().into_owned())?;
    Ok(Arc::new(roots))
}

fn certified_key(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<CertifiedKey>, rustls::Error> {
    CertifiedKey::from_der(chain, key, provider()).map(Arc::new)
}

/// A certificate that is in order and is not the peer's that is expected here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WrongPeer {
    /// It names nobody.
    #[error("the certificate names nobody of a fleet")]
    Nobody(#[from] CertificateFactsError),
    /// It names somebody else.
    #[error("the certificate is that of {found}, which may not answer here")]
    Other {
        /// Whom it names.
        found: crate::Identity,
    },
}

impl From<WrongPeer> for rustls::Error {
    fn from(error: WrongPeer) -> Self {
        Self::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error))))
    }
}

/// The four methods of a verifier that only say how signatures are checked.
macro_rules! signatures_by_ring {
    () => {
        fn verify_tls12_signature(
            &self,
            _message: &[u8],
            _certificate: &rustls::pki_types::CertificateDer<'_>,
            _signature: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            // TLS 1.2 is never offered.
            Err(rustls::Error::General("TLS 1.2 is not spoken here".to_owned()))
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &rustls::pki_types::CertificateDer<'_>,
            signature: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            let algorithms = &$crate::tls::provider().signature_verification_algorithms;
            rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            $crate::tls::provider().signature_verification_algorithms.supported_schemes()
        }
    };
}
use signatures_by_ring;
