//! The side of agents and operators.

use super::{TlsError, WrongPeer, certified_key, provider, roots, signatures_by_ring};
use crate::{certificate::CertificateFacts, credentials::Credentials, identity::Identity, name::FleetName};
use arc_swap::ArcSwap;
use rustls::{
    ClientConfig, SignatureScheme,
    client::{
        ResolvesClientCert, Resumption, WebPkiServerVerifier,
        danger::{ServerCertVerified, ServerCertVerifier},
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
    sign::CertifiedKey,
};
use std::sync::Arc;

/// The TLS of an agent or an operator. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    certificate: Arc<CurrentCertificate>,
}

impl ClientTls {
    /// TLS with these credentials: it shows their certificate, and takes only the server of their fleet.
    ///
    /// # Errors
    /// When certificate and key do not fit, or the CA cannot be a root of trust.
    pub fn new(credentials: &Credentials) -> Result<Self, TlsError> {
        let certificate = Arc::new(CurrentCertificate(ArcSwap::from(shown(credentials)?)));
        let server = FleetServer::new(credentials.ca(), Some(credentials.identity().fleet().clone()))?;
        let config = config(Arc::new(server), Arc::clone(&certificate) as Arc<dyn ResolvesClientCert>)?;
        Ok(Self { config, certificate })
    }

    /// Shows another certificate, of the same CA, from the next handshake on.
    ///
    /// # Errors
    /// When certificate and key do not fit; then the former one stays.
    pub fn replace_certificate(&self, credentials: &Credentials) -> Result<(), TlsError> {
        self.certificate.0.store(shown(credentials)?);
        Ok(())
    }

    /// For [`crate::connect`].
    #[must_use]
    pub fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }
}

fn shown(credentials: &Credentials) -> Result<Arc<CertifiedKey>, rustls::Error> {
    certified_key(credentials.chain().to_vec(), credentials.key().private_key())
}

/// What all clients share.
pub(super) fn config(
    verifier: Arc<dyn ServerCertVerifier>,
    certificate: Arc<dyn ResolvesClientCert>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let mut config = ClientConfig::builder_with_provider(Arc::clone(provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(certificate);
    config.alpn_protocols = vec![super::ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// The certificate of this moment.
#[derive(Debug)]
struct CurrentCertificate(ArcSwap<CertifiedKey>);

impl ResolvesClientCert for CurrentCertificate {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// The server of a fleet, and nobody else who has a certificate of its CA.
#[derive(Debug)]
pub(super) struct FleetServer {
    chains: Arc<WebPkiServerVerifier>,
    /// `None` at the first connection, when only the CA is known.
    fleet: Option<FleetName>,
}

impl FleetServer {
    pub(super) fn new(ca: &CertificateDer<'_>, fleet: Option<FleetName>) -> Result<Self, TlsError> {
        let chains =
            WebPkiServerVerifier::builder_with_provider(roots(ca)?, Arc::clone(provider())).build()?;
        Ok(Self { chains, fleet })
    }
}

impl ServerCertVerifier for FleetServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        // Not the name that was dialled: the address is no part of the server's identity.
        let name = ServerName::try_from(crate::SERVER_NAME)
            .map_err(|_| rustls::Error::General("the server's name is no DNS name".to_owned()))?;
        let verified = self.chains.verify_server_cert(end_entity, intermediates, &name, ocsp, now)?;
        let found = CertificateFacts::from_der(end_entity).map_err(WrongPeer::from)?.identity;
        let expected = match (&found, &self.fleet) {
            (Identity::Server { fleet }, Some(ours)) => fleet == ours,
            (Identity::Server { .. }, None) => true,
            (Identity::Agent { .. } | Identity::Operator { .. }, _) => false,
        };
        if expected { Ok(verified) } else { Err(WrongPeer::Other { found }.into()) }
    }

    signatures_by_ring!();
}
