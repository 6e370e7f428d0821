//! https.

use crate::{Failed, flags::Flags};
use std::sync::Arc;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};

/// Where the flags ask for it.
pub(crate) fn acceptor(flags: &Flags) -> Result<Option<TlsAcceptor>, Failed> {
    let (Some(certificate), Some(key)) = (&flags.tls_cert, &flags.tls_key) else { return Ok(None) };
    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<Vec<_>, _>>()?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    if flags.grpc_health {
        config.alpn_protocols.insert(0, b"h2".to_vec());
    }
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}
