//! What an enrolled agent, or an operator's machine, keeps: its key, its certificate, the fleet's CA.

use crate::{
    ca::{certificates, one_certificate, pem},
    certificate::{self, CertificateFacts, CertificateFactsError},
    files::{self, FileError},
    generation,
    identity::Identity,
    key::{KeyError, KeyPair},
};
use handover_model::Timestamp;
use rustls_pki_types::CertificateDer;
use std::path::{Path, PathBuf};

const KEY: &str = "key.pem";
const CERTIFICATE: &str = "cert.pem";
const CA: &str = "ca.pem";

/// A key with its certificate and the CA that both sides trust. What exists belongs together.
#[derive(Debug)]
pub struct Credentials {
    key: KeyPair,
    chain: Vec<CertificateDer<'static>>,
    ca: CertificateDer<'static>,
    facts: CertificateFacts,
}

/// Credentials that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// A file cannot be read or written.
    #[error("the credentials' files cannot be used")]
    File(#[from] FileError),
    /// The key cannot be used.
    #[error("the credentials' key cannot be used")]
    Key(#[from] KeyError),
    /// No certificate where one should be.
    #[error("the certificate (cert.pem) holds no certificate in PEM")]
    NoCertificate,
    /// Not one CA.
    #[error("the CA (ca.pem) holds {0} certificates in PEM, expected exactly one")]
    NotOneCa(usize),
    /// A certificate that names nobody.
    #[error("the certificate names nobody of a fleet")]
    Facts(#[from] CertificateFactsError),
    /// A certificate for another key.
    #[error("the certificate was made for another key: enrol this host again")]
    OtherKey,
    /// A certificate from another CA.
    #[error("the certificate was not signed by the CA beside it: enrol this host again")]
    OtherCa,
    /// Its life is over.
    #[error(
        "the certificate of {0} has expired: enrol again with a new join token, or check this machine's clock"
    )]
    Expired(Identity),
    /// Its life has not begun.
    #[error("the certificate of {0} is not valid yet: this machine's clock is behind")]
    NotValidYet(Identity),
}

impl Credentials {
    /// Puts together what enrolment gave: the certificate chain and the CA, PEM, for `key`.
    ///
    /// # Errors
    /// When they do not belong together. Whether the certificate is valid *now* is asked by [`check_validity`](Self::check_validity).
    pub fn new(key: KeyPair, chain_pem: &str, ca_pem: &str) -> Result<Self, CredentialsError> {
        let ca = one_certificate(ca_pem).map_err(CredentialsError::NotOneCa)?;
        // The server knows its CA: what is sent is the leaf and what lies between the two.
        let chain: Vec<_> =
            certificates(chain_pem).into_iter().filter(|certificate| *certificate != ca).collect();
        let leaf = chain.first().ok_or(CredentialsError::NoCertificate)?;
        let facts = CertificateFacts::from_der(leaf)?;
        let (parsed, issuer) = (certificate::parse(leaf)?, certificate::parse(&ca)?);
        if parsed.public_key().raw != key.public_key() {
            return Err(CredentialsError::OtherKey);
        }
        parsed.verify_signature(Some(issuer.public_key())).map_err(|_| CredentialsError::OtherCa)?;
        Ok(Self { key, chain, ca, facts })
    }

    /// Reads `key.pem`, `cert.pem` and `ca.pem` from `directory`, or from the generation that
    /// [`replace`](Self::replace) made the current one there.
    ///
    /// # Errors
    /// When one is missing, the key is readable by others, or they do not belong together.
    pub fn load(directory: &Path) -> Result<Self, CredentialsError> {
        let directory = &generation::current(directory);
        let key = KeyPair::load(&directory.join(KEY))?;
        Self::new(key, &files::read(&directory.join(CERTIFICATE))?, &files::read(&directory.join(CA))?)
    }

    /// What the certificate in `directory` says; the key is left alone.
    ///
    /// # Errors
    /// When there is none, or it names nobody.
    pub fn certificate(directory: &Path) -> Result<CertificateFacts, CredentialsError> {
        let file = generation::current(directory).join(CERTIFICATE);
        let chain = certificates(&files::read(&file)?);
        let leaf = chain.first().ok_or(CredentialsError::NoCertificate)?;
        Ok(CertificateFacts::from_der(leaf)?)
    }

    /// Whether `directory` holds credentials: the certificate, which [`save`](Self::save) writes last.
    #[must_use]
    pub fn exist(directory: &Path) -> bool {
        generation::current(directory).join(CERTIFICATE).exists()
    }

    /// The key that an enrolment in `directory` uses: that of an interrupted one, or a new one.
    ///
    /// # Errors
    /// When the folder or the key cannot be made, written or read.
    pub fn enrolment_key(directory: &Path) -> Result<KeyPair, CredentialsError> {
        files::private_directory(directory)?;
        Ok(KeyPair::load_or_generate(&directory.join(KEY))?)
    }

    /// Writes the three files, each whole or not at all, the certificate last. The folder gets mode 0700, the key 0600.
    ///
    /// # Errors
    /// When the folder cannot be made or written.
    pub fn save(&self, directory: &Path) -> Result<(), CredentialsError> {
        files::private_directory(directory)?;
        self.key.save(&directory.join(KEY))?;
        files::write_atomically(&directory.join(CA), pem(&self.ca).as_bytes(), 0o644)?;
        let chain: String = self.chain.iter().map(pem).collect();
        files::write_atomically(&directory.join(CERTIFICATE), chain.as_bytes(), 0o644)?;
        Ok(())
    }

    /// Makes these the ones that [`load`](Self::load) finds in `directory`. Key and certificate change together: a crash or
    /// a power cut at any moment leaves the former ones, or these.
    ///
    /// # Errors
    /// When the folder cannot be made or written; the former ones then stay.
    pub fn replace(&self, directory: &Path) -> Result<(), CredentialsError> {
        generation::replace(directory, &self.facts.serial, |folder| self.save(folder))
    }

    /// What changes whenever [`replace`](Self::replace) has made others the current ones in `directory`. Cheap.
    #[must_use]
    pub fn generation(directory: &Path) -> Option<PathBuf> {
        generation::name(directory)
    }

    /// Whose they are, the serial number, and from when until when they hold.
    #[must_use]
    pub const fn facts(&self) -> &CertificateFacts {
        &self.facts
    }

    /// Whose they are.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.facts.identity
    }

    /// The key: a request for a new certificate is signed with it.
    #[must_use]
    pub const fn key(&self) -> &KeyPair {
        &self.key
    }

    /// The certificate, and what lies between it and the CA.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The fleet's CA.
    #[must_use]
    pub const fn ca(&self) -> &CertificateDer<'static> {
        &self.ca
    }

    /// Asks the certificate's dates.
    ///
    /// # Errors
    /// When it is not valid at `now`; the message says what to do.
    pub fn check_validity(&self, now: Timestamp) -> Result<(), CredentialsError> {
        if now > self.facts.not_after {
            Err(CredentialsError::Expired(self.facts.identity.clone()))
        } else if now < self.facts.not_before {
            Err(CredentialsError::NotValidYet(self.facts.identity.clone()))
        } else {
            Ok(())
        }
    }
}
