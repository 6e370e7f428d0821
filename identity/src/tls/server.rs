//! The server's side: its certificate can be replaced while it runs; clients may come without one, never with a wrong one.

use super::{TlsError, WrongPeer, certified_key, provider, roots, signatures_by_ring};
use crate::{
    ca::{Ca, ServerCertificate},
    certificate::CertificateFacts,
    identity::Identity,
    name::FleetName,
};
use arc_swap::ArcSwap;
use rustls::{
    DistinguishedName, ServerConfig,
    pki_types::{CertificateDer, UnixTime},
    server::{
        ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
};
use std::sync::Arc;

/// The TLS of the server. Shared by all who accept; cheap to clone.
#[derive(Debug, Clone)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    certificate: Arc<CurrentCertificate>,
    clients: Arc<FleetClients>,
}

impl ServerTls {
    /// TLS for the server of `ca`'s fleet with this certificate.
    ///
    /// # Errors
    /// When certificate and key do not fit, or the CA cannot be a root of trust.
    pub fn new(ca: &Ca, certificate: ServerCertificate) -> Result<Self, TlsError> {
        let certificate =
            Arc::new(CurrentCertificate(ArcSwap::from(certified_key(certificate.chain, certificate.key)?)));
        let clients = Arc::new(FleetClients {
            fleet: ca.fleet().clone(),
            chains: ArcSwap::from_pointee(chain_verifier(ca.certificate())?),
        });
        let mut config = ServerConfig::builder_with_provider(Arc::clone(provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(Arc::clone(&clients) as Arc<dyn ClientCertVerifier>)
            .with_cert_resolver(Arc::clone(&certificate) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![super::ALPN.to_vec()];
        // A resumed session is not verified again: an expired or revoked certificate would live on in it.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self { config: Arc::new(config), certificate, clients })
    }

    /// Uses another certificate from the next handshake on. Connections that exist are not touched.
    ///
    /// # Errors
    /// When certificate and key do not fit; then the former one stays.
    pub fn replace_certificate(&self, certificate: ServerCertificate) -> Result<(), TlsError> {
        self.certificate.0.store(certified_key(certificate.chain, certificate.key)?);
        Ok(())
    }

    /// Verifies clients against another CA from the next handshake on.
    ///
    /// # Errors
    /// When the certificate cannot be a root of trust; then the former one stays.
    pub fn replace_client_ca(&self, ca: &CertificateDer<'_>) -> Result<(), TlsError> {
        self.clients.chains.store(Arc::new(chain_verifier(ca)?));
        Ok(())
    }

    /// For a TLS acceptor.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }
}

/// The certificate of this moment.
#[derive(Debug)]
struct CurrentCertificate(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for CurrentCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

type ChainVerifier = Arc<dyn ClientCertVerifier>;

fn chain_verifier(ca: &CertificateDer<'_>) -> Result<ChainVerifier, TlsError> {
    let builder = WebPkiClientVerifier::builder_with_provider(roots(ca)?, Arc::clone(provider()));
    Ok(builder.build()?)
}

/// Agents and operators of one fleet, verified by the CA of this moment.
#[derive(Debug)]
struct FleetClients {
    fleet: FleetName,
    chains: ArcSwap<ChainVerifier>,
}

impl ClientCertVerifier for FleetClients {
    fn client_auth_mandatory(&self) -> bool {
        // A host that enrols has none yet.
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // Strangers need not learn the CA's name, and clients have one certificate only.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.chains.load().verify_client_cert(end_entity, intermediates, now)?;
        let found = CertificateFacts::from_der(end_entity).map_err(WrongPeer::from)?.identity;
        let client = matches!(found, Identity::Agent { .. } | Identity::Operator { .. });
        if client && *found.fleet() == self.fleet {
            Ok(verified)
        } else {
            Err(WrongPeer::Other { found }.into())
        }
    }

    signatures_by_ring!();
}
