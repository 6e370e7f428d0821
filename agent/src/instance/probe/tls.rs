//! TLS to an instance of our own.
//!
//! Who answers is known already: the connection goes from a pin on this host to the socket that the agent itself
//! gave to the instance. The certificate is for the service's clients, often for a name that this host cannot
//! resolve or from an authority that it does not know, so neither name, chain nor validity is checked. The handshake
//! itself is: whoever answers must hold the key of the certificate that it shows.

use super::{ProbeFailure, Route};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use std::{io, sync::Arc};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Shakes hands; `host` is sent as the server name where it is one.
pub(super) async fn handshake(
    stream: TcpStream,
    route: Route,
    host: Option<&str>,
) -> Result<TlsStream<TcpStream>, ProbeFailure> {
    let failed = |source| ProbeFailure::Tls { target: route.target, source };
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(AnyCertificate(Arc::clone(&provider)));
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(io::Error::other(error)))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = config.with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let name = match host {
        // A host with a port, as the Host header may have it, is sent without.
        Some(host) => ServerName::try_from(host.split(':').next().unwrap_or(host).to_owned())
            .map_err(|_| ProbeFailure::Request { what: host.to_owned() })?,
        None => ServerName::IpAddress(route.target.ip().into()),
    };
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(failed)
}

/// Takes any certificate whose key signs the handshake.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
