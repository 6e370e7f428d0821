//! What a certificate says of its holder, read from its DER.

use crate::identity::{Identity, IdentityError};
use handover_model::Timestamp;
use rustls_pki_types::CertificateDer;
use x509_parser::{
    certificate::X509Certificate,
    extensions::GeneralName,
    prelude::{FromDer, X509Error},
    time::ASN1Time,
};

/// What a leaf certificate says. Nothing here is verified: that is the TLS handshake's work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Whose it is: the one URI among its alternative names. The common name is never read.
    pub identity: Identity,
    /// The serial number, lowercase hexadecimal.
    pub serial: String,
    /// Valid from this moment on.
    pub not_before: Timestamp,
    /// Valid until this moment.
    pub not_after: Timestamp,
}

/// A certificate that names nobody of a fleet.
#[derive(Debug, thiserror::Error)]
pub enum CertificateFactsError {
    /// Not a certificate.
    #[error("the bytes are no X.509 certificate")]
    Encoding(#[source] X509Error),
    /// Bytes behind the certificate.
    #[error("there are bytes behind the certificate")]
    Trailing,
    /// Not exactly one URI among the alternative names.
    #[error("the certificate has {0} URIs among its alternative names, expected exactly one")]
    Uris(usize),
    /// The URI is no identity.
    #[error("the certificate's URI is no identity of a fleet")]
    Identity(#[from] IdentityError),
}

/// The certificate in `der`, and nothing behind it.
pub(crate) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, CertificateFactsError> {
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|error| {
        CertificateFactsError::Encoding(match error {
            x509_parser::nom::Err::Error(error) | x509_parser::nom::Err::Failure(error) => error,
            x509_parser::nom::Err::Incomplete(_) => X509Error::InvalidCertificate,
        })
    })?;
    if rest.is_empty() { Ok(certificate) } else { Err(CertificateFactsError::Trailing) }
}

/// The moment as milliseconds; what lies before 1970 counts as 1970.
pub(crate) fn timestamp(time: ASN1Time) -> Timestamp {
    Timestamp::from_unix_millis(u64::try_from(time.timestamp()).unwrap_or(0).saturating_mul(1000))
}

/// Every URI among the alternative names.
pub(crate) fn uris<'a>(certificate: &'a X509Certificate<'_>) -> Result<Vec<&'a str>, CertificateFactsError> {
    let names = certificate.subject_alternative_name().map_err(CertificateFactsError::Encoding)?;
    let names = names.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
    Ok(names
        .iter()
        .filter_map(|name| if let GeneralName::URI(uri) = name { Some(*uri) } else { None })
        .collect())
}

impl CertificateFacts {
    /// Reads a leaf certificate.
    ///
    /// # Errors
    /// When it is no certificate, or does not name exactly one identity.
    pub fn from_der(der: &CertificateDer<'_>) -> Result<Self, CertificateFactsError> {
        let certificate = parse(der)?;
        let uris = uris(&certificate)?;
        let [uri] = uris.as_slice() else { return Err(CertificateFactsError::Uris(uris.len())) };
        Ok(Self {
            identity: uri.parse()?,
            serial: hex(certificate.raw_serial()),
            not_before: timestamp(certificate.validity().not_before),
            not_after: timestamp(certificate.validity().not_after),
        })
    }
}

/// Lowercase hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
