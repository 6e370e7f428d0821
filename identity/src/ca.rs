//! The fleet's certificate authority: made on the server's first start, or given by the operator.

use crate::{
    certificate::{self, CertificateFacts, CertificateFactsError, timestamp},
    files::{self, FileError},
    identity::Identity,
    key::{KeyError, KeyPair},
    name::{FleetName, OperatorName},
    tls,
};
use handover_model::{Digest, Duration, HostName, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyUsagePurpose, PublicKeyData, SanType, SerialNumber, SubjectPublicKeyInfo,
};
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer, pem::PemObject};
use std::{fmt, path::Path};
use x509_parser::{certification_request::X509CertificationRequest, prelude::FromDer};

/// The longest request that is looked at, in bytes of PEM.
pub const MAX_CSR_BYTES: usize = 16 * 1024;
/// The longest life of a certificate; it never outlives the CA's own either.
pub const MAX_VALIDITY: Duration = Duration::from_secs(3653 * 24 * 3600);
/// Certificates are valid from that long ago on, for hosts whose clock is behind; a short life's tenth, so that two thirds
/// of it do not lie in the past.
const CLOCK_SKEW: Duration = Duration::from_secs(300);

/// The CA: its certificate and key, and the fleet that it vouches for.
pub struct Ca {
    fleet: FleetName,
    der: CertificateDer<'static>,
    not_after: Timestamp,
    issuer: Issuer<'static, rcgen::KeyPair>,
}

/// A CA that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// A file of it cannot be read or written.
    #[error("the CA's files cannot be used")]
    File(#[from] FileError),
    /// The key cannot be read or made.
    #[error("the CA's key cannot be used")]
    Key(#[from] KeyError),
    /// The certificate is there, its key is gone.
    #[error(
        "{certificate} is there and {key} is not: restore the key from a backup; without it no host can be enrolled"
    )]
    KeyMissing {
        /// The certificate's file.
        certificate: String,
        /// Where its key should be.
        key: String,
    },
    /// Not one certificate in PEM.
    #[error("{path} holds {found} certificates in PEM, expected exactly one: that of the CA itself")]
    NotOneCertificate {
        /// The file.
        path: String,
        /// How many.
        found: usize,
    },
    /// The certificate cannot be read.
    #[error("the CA's certificate {path} cannot be read")]
    Certificate {
        /// The file.
        path: String,
        /// Why not.
        #[source]
        source: CertificateFactsError,
    },
    /// A certificate that may not sign others.
    #[error(
        "the certificate {0} is no CA's: its basic constraints or its key usage do not allow it to sign others"
    )]
    NotACa(String),
    /// Its time is over, or has not come.
    #[error("the CA's certificate {path} is {0}: check this machine's clock, or replace the CA", if *.expired { "expired" } else { "not valid yet" })]
    NotValidNow {
        /// The file.
        path: String,
        /// Past its end, not before its beginning.
        expired: bool,
    },
    /// Certificate and key do not belong together.
    #[error("the key {key} does not belong to the CA's certificate {certificate}")]
    Mismatch {
        /// The certificate's file.
        certificate: String,
        /// The key's file.
        key: String,
    },
    /// Made for another fleet.
    #[error(
        "the CA in {path} was made for {made_for}, and this server's fleet is {fleet}: set the former name again"
    )]
    OtherFleet {
        /// The certificate's file.
        path: String,
        /// The URI in it.
        made_for: String,
        /// The fleet asked for.
        fleet: FleetName,
    },
    /// Making or reading it failed in the library.
    #[error("cannot make or use the CA's certificate")]
    Library(#[source] rcgen::Error),
    /// No randomness.
    #[error("cannot make a serial number")]
    Random(#[from] tls::TlsError),
}

/// A certificate that was not made.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// Longer than any honest request.
    #[error("the certificate request has {0} bytes, at most {MAX_CSR_BYTES} are read")]
    TooLong(usize),
    /// Not a request.
    #[error("this is no certificate request (PKCS#10 in PEM)")]
    NotARequest,
    /// The requester does not have the key.
    #[error("the certificate request is not signed by the key it names")]
    Proof,
    /// Not a key that Handover makes.
    #[error("the certificate request has a key of another kind than ECDSA P-256")]
    KeyKind,
    /// The CA is at its end.
    #[error("the CA's certificate has expired: replace the CA")]
    CaExpired,
    /// The library failed.
    #[error("cannot sign the certificate")]
    Library(#[source] rcgen::Error),
    /// No randomness.
    #[error("cannot make a serial number")]
    Random(#[from] tls::TlsError),
    /// No key for the server.
    #[error("cannot make the server's key")]
    Key(#[from] KeyError),
    /// What was signed cannot be read back.
    #[error("the signed certificate cannot be read back")]
    ReadBack(#[from] CertificateFactsError),
}

/// A certificate that the CA has just made.
#[derive(Debug, Clone)]
pub struct IssuedCertificate {
    /// The certificate, then the CA's, PEM.
    pub chain_pem: String,
    /// What it says.
    pub facts: CertificateFacts,
}

/// The server's own certificate with its key, which is made anew each time and never written.
pub struct ServerCertificate {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
    /// What the certificate says.
    pub facts: CertificateFacts,
}

impl fmt::Debug for ServerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerCertificate").field("facts", &self.facts).finish_non_exhaustive()
    }
}

impl Ca {
    /// Loads the CA of `directory` (`ca.pem`, `ca-key.pem`), or makes it where there is none: ECDSA P-256, ten years,
    /// path length 0. The folder gets mode 0700, the key 0600; both files are durable before this returns.
    ///
    /// # Errors
    /// When the files cannot be used, do not belong together, or were made for another fleet.
    pub fn open(directory: &Path, fleet: &FleetName, now: Timestamp) -> Result<Self, CaError> {
        let (certificate, key) = (directory.join("ca.pem"), directory.join("ca-key.pem"));
        files::private_directory(directory)?;
        // The key is written first: a key without a certificate was never used, and is replaced.
        match (files::read_if_there(&certificate)?, key.exists()) {
            (None, _) => Self::create(&certificate, &key, fleet, now)?,
            (Some(_), true) => {}
            (Some(_), false) => {
                return Err(CaError::KeyMissing { certificate: show(&certificate), key: show(&key) });
            }
        }
        Self::read(&certificate, &key, 0o077, fleet, now)
    }

    /// Loads a given CA: the file with its one certificate, which may itself be signed by another CA, and the file with
    /// its key (PKCS#8 in PEM, not readable by everybody).
    ///
    /// # Errors
    /// When it is not a CA's certificate, not valid now, or the key is not its.
    pub fn load(certificate: &Path, key: &Path, fleet: &FleetName, now: Timestamp) -> Result<Self, CaError> {
        Self::read(certificate, key, 0o007, fleet, now)
    }

    fn create(certificate: &Path, key: &Path, fleet: &FleetName, now: Timestamp) -> Result<(), CaError> {
        let pair = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        // Two CAs never have one name: a verifier would try the wrong key and call that a bad signature.
        let mark = Digest::of(&pair.public_key()).short();
        params.distinguished_name = common_name(&format!("Handover CA {mark}"));
        params.distinguished_name.push(DnType::OrganizationName, fleet.as_str());
        set_validity(&mut params, now, now + MAX_VALIDITY);
        params.serial_number = Some(serial()?);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.subject_alt_names = vec![uri(&trust_domain(fleet)).map_err(CaError::Library)?];
        let made = params.self_signed(pair.inner()).map_err(CaError::Library)?;
        pair.save(key)?;
        files::write_atomically(certificate, made.pem().as_bytes(), 0o644)?;
        Ok(())
    }

    fn read(
        certificate: &Path,
        key: &Path,
        forbidden: u32,
        fleet: &FleetName,
        now: Timestamp,
    ) -> Result<Self, CaError> {
        let path = show(certificate);
        let der = one_certificate(&files::read(certificate)?)
            .map_err(|found| CaError::NotOneCertificate { path: path.clone(), found })?;
        let pair = KeyPair::from_pem(&files::read_private(key, forbidden)?, key)?;
        let not_after = {
            let unreadable = |source| CaError::Certificate { path: path.clone(), source };
            let parsed = certificate::parse(&der).map_err(unreadable)?;
            let signs =
                parsed.key_usage().ok().and_then(|usage| usage.map(|usage| usage.value.key_cert_sign()));
            if !parsed.is_ca() || signs == Some(false) {
                return Err(CaError::NotACa(path));
            }
            if parsed.public_key().raw != pair.public_key() {
                return Err(CaError::Mismatch { certificate: path, key: show(key) });
            }
            let not_after = timestamp(parsed.validity().not_after);
            if now > not_after || now < timestamp(parsed.validity().not_before) {
                return Err(CaError::NotValidNow { path, expired: now > not_after });
            }
            let mut domains = certificate::uris(&parsed).map_err(unreadable)?.into_iter();
            if let Some(other) =
                domains.find(|uri| uri.starts_with("spiffe://") && *uri != trust_domain(fleet))
            {
                return Err(CaError::OtherFleet { made_for: other.to_owned(), path, fleet: fleet.clone() });
            }
            not_after
        };
        let issuer = Issuer::from_ca_cert_der(&der, pair.into_inner()).map_err(CaError::Library)?;
        Ok(Self { fleet: fleet.clone(), der, not_after, issuer })
    }

    /// The fleet that this CA vouches for.
    #[must_use]
    pub const fn fleet(&self) -> &FleetName {
        &self.fleet
    }

    /// SHA-256 of the CA's certificate (DER): what a join token pins.
    #[must_use]
    pub fn fingerprint(&self) -> Digest {
        Digest::of(&self.der)
    }

    /// The CA's certificate in DER.
    #[must_use]
    pub const fn certificate(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// The CA's certificate in PEM.
    #[must_use]
    pub fn certificate_pem(&self) -> String {
        pem(&self.der)
    }

    /// Until when the CA's certificate is valid; no certificate that it makes outlives it.
    #[must_use]
    pub const fn expires(&self) -> Timestamp {
        self.not_after
    }

    /// Signs a certificate for the agent of `host`. Of the request only the public key and the proof that the
    /// requester has its private half are used; names in it are ignored.
    ///
    /// # Errors
    /// When the request is too long, is none, has another kind of key, or lacks the proof; when the CA has expired.
    pub fn sign_agent(
        &self,
        csr_pem: &str,
        host: &HostName,
        validity: Duration,
        now: Timestamp,
    ) -> Result<IssuedCertificate, SignError> {
        let identity = Identity::Agent { fleet: self.fleet.clone(), host: host.clone() };
        self.sign_client(csr_pem, &identity, host.as_str(), validity, now)
    }

    /// Signs a certificate for an operator who works from another machine. See [`sign_agent`](Self::sign_agent).
    ///
    /// # Errors
    /// As [`sign_agent`](Self::sign_agent).
    pub fn sign_operator(
        &self,
        csr_pem: &str,
        name: &OperatorName,
        validity: Duration,
        now: Timestamp,
    ) -> Result<IssuedCertificate, SignError> {
        let identity = Identity::Operator { fleet: self.fleet.clone(), name: name.clone() };
        self.sign_client(csr_pem, &identity, name.as_str(), validity, now)
    }

    /// Makes a key and a certificate for the server itself, for TLS servers only, under [`crate::SERVER_NAME`].
    ///
    /// # Errors
    /// When the CA has expired or there is no randomness.
    pub fn issue_server(&self, validity: Duration, now: Timestamp) -> Result<ServerCertificate, SignError> {
        let pair = KeyPair::generate()?;
        let identity = Identity::Server { fleet: self.fleet.clone() };
        let mut params = self.leaf(&identity, crate::SERVER_NAME, validity, now)?;
        let name = crate::SERVER_NAME.try_into().map_err(SignError::Library)?;
        params.subject_alt_names.push(SanType::DnsName(name));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let made = params.signed_by(pair.inner(), &self.issuer).map_err(SignError::Library)?;
        let facts = CertificateFacts::from_der(made.der())?;
        Ok(ServerCertificate { chain: vec![made.into(), self.der.clone()], key: pair.private_key(), facts })
    }

    fn sign_client(
        &self,
        csr_pem: &str,
        identity: &Identity,
        label: &str,
        validity: Duration,
        now: Timestamp,
    ) -> Result<IssuedCertificate, SignError> {
        let public_key = requested_key(csr_pem)?;
        let mut params = self.leaf(identity, label, validity, now)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let made = params.signed_by(&public_key, &self.issuer).map_err(SignError::Library)?;
        let facts = CertificateFacts::from_der(made.der())?;
        Ok(IssuedCertificate { chain_pem: format!("{}{}", made.pem(), self.certificate_pem()), facts })
    }

    /// What all leaf certificates share. The common name is for people who look at a certificate; nothing reads it.
    fn leaf(
        &self,
        identity: &Identity,
        label: &str,
        validity: Duration,
        now: Timestamp,
    ) -> Result<CertificateParams, SignError> {
        if now >= self.not_after {
            return Err(SignError::CaExpired);
        }
        let end = (now + validity.min(MAX_VALIDITY)).min(self.not_after);
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(label);
        set_validity(&mut params, now, end);
        params.serial_number = Some(serial()?);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.subject_alt_names = vec![uri(&identity.to_string()).map_err(SignError::Library)?];
        params.use_authority_key_identifier_extension = true;
        Ok(params)
    }
}

impl fmt::Debug for Ca {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ca")
            .field("fleet", &self.fleet)
            .field("fingerprint", &self.fingerprint())
            .finish_non_exhaustive()
    }
}

/// The public key of a request whose signature proves that the requester has the private half.
fn requested_key(csr_pem: &str) -> Result<SubjectPublicKeyInfo, SignError> {
    if csr_pem.len() > MAX_CSR_BYTES {
        return Err(SignError::TooLong(csr_pem.len()));
    }
    let der = CertificateSigningRequestDer::from_pem_slice(csr_pem.as_bytes())
        .map_err(|_| SignError::NotARequest)?;
    let (rest, request) = X509CertificationRequest::from_der(&der).map_err(|_| SignError::NotARequest)?;
    if !rest.is_empty() {
        return Err(SignError::NotARequest);
    }
    let key = SubjectPublicKeyInfo::from_der(request.certification_request_info.subject_pki.raw)
        .map_err(|_| SignError::KeyKind)?;
    if key.algorithm() != &rcgen::PKCS_ECDSA_P256_SHA256 {
        return Err(SignError::KeyKind);
    }
    request.verify_signature().map_err(|_| SignError::Proof)?;
    Ok(key)
}

/// The one certificate of a PEM text, or how many there are.
pub(crate) fn one_certificate(text: &str) -> Result<CertificateDer<'static>, usize> {
    let mut all = certificates(text);
    if all.len() == 1 { all.pop().ok_or(0) } else { Err(all.len()) }
}

/// The certificates of a PEM text up to the first broken one.
pub(crate) fn certificates(text: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(text.as_bytes()).map_while(Result::ok).collect()
}

/// One certificate in PEM (RFC 7468: lines of 64 characters).
pub(crate) fn pem(der: &CertificateDer<'_>) -> String {
    use base64::Engine as _;
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in body.as_bytes().chunks(64) {
        text.push_str(&String::from_utf8_lossy(line));
        text.push('\n');
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}

/// 16 random bytes, positive and never with a leading zero (RFC 5280 4.1.2.2), so that their text has one length.
fn serial() -> Result<SerialNumber, tls::TlsError> {
    let mut bytes: [u8; 16] = tls::random()?;
    bytes[0] = (bytes[0] & 0x3f) | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

fn uri(text: &str) -> Result<SanType, rcgen::Error> {
    Ok(SanType::URI(text.try_into()?))
}

fn common_name(text: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, text);
    name
}

fn trust_domain(fleet: &FleetName) -> String {
    format!("spiffe://{fleet}")
}

fn show(path: &Path) -> String {
    path.display().to_string()
}

/// Valid from `now`, less what a host's clock may be behind, until `end`.
fn set_validity(params: &mut CertificateParams, now: Timestamp, end: Timestamp) {
    // Later dates would overflow the library's type; no clock that is right says them.
    const YEAR_9000: Duration = Duration::from_secs(221_845_392_000);
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let since_epoch = |moment: Timestamp| Duration::from_millis(moment.unix_millis()).min(YEAR_9000);
    let skew = CLOCK_SKEW.min(end.since(now) / 10);
    params.not_before = epoch + since_epoch(now).saturating_sub(skew);
    params.not_after = epoch + Duration::from_secs(since_epoch(end).as_secs());
}

#[cfg(test)]
mod tests;
