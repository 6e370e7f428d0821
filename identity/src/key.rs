//! The key of a host or of an operator's machine. It is made there and never leaves.

use crate::files::{self, FileError};
use rcgen::{CertificateParams, DistinguishedName, PublicKeyData};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::{fmt, path::Path};

/// An ECDSA P-256 key pair.
pub struct KeyPair {
    inner: rcgen::KeyPair,
}

/// A key that could not be made or used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Reading or writing its file failed.
    #[error("the private key's file cannot be used")]
    File(#[from] FileError),
    /// The file is there and holds something else.
    #[error("{path} holds no PKCS#8 private key in PEM (openssl pkcs8 -topk8 -nodes converts others)")]
    Format {
        /// The file.
        path: String,
        /// What the parser said.
        #[source]
        source: rcgen::Error,
    },
    /// Making a key or a request failed.
    #[error("cannot make a key or a request for it")]
    Generate(#[source] rcgen::Error),
}

impl KeyPair {
    /// Makes a new one.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn generate() -> Result<Self, KeyError> {
        rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)
            .map(|inner| Self { inner })
            .map_err(KeyError::Generate)
    }

    /// Reads one, PKCS#8 in PEM. The file may be readable by its owner only.
    ///
    /// # Errors
    /// When it cannot be read, is readable by others, or is no key.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        Self::from_pem(&files::read_private(path, 0o077)?, path)
    }

    /// Reads the key of an earlier, interrupted enrolment, or makes one and writes it.
    ///
    /// # Errors
    /// As [`load`](Self::load) and [`save`](Self::save).
    pub fn load_or_generate(path: &Path) -> Result<Self, KeyError> {
        if path.exists() {
            return Self::load(path);
        }
        let key = Self::generate()?;
        key.save(path)?;
        Ok(key)
    }

    pub(crate) fn from_pem(pem: &str, path: &Path) -> Result<Self, KeyError> {
        rcgen::KeyPair::from_pem(pem)
            .map(|inner| Self { inner })
            .map_err(|source| KeyError::Format { path: path.display().to_string(), source })
    }

    /// Writes it with mode 0600, whole or not at all.
    ///
    /// # Errors
    /// When the folder does not exist or cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), KeyError> {
        Ok(files::write_atomically(path, self.inner.serialize_pem().as_bytes(), 0o600)?)
    }

    /// A PKCS#10 request in PEM: the public key and the proof that its private half is here. It names nobody: who
    /// gets the certificate is the CA's word.
    ///
    /// # Errors
    /// When signing fails.
    pub fn csr_pem(&self) -> Result<String, KeyError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.serialize_request(&self.inner).and_then(|request| request.pem()).map_err(KeyError::Generate)
    }

    /// DER of the SubjectPublicKeyInfo.
    pub(crate) fn public_key(&self) -> Vec<u8> {
        self.inner.subject_public_key_info()
    }

    pub(crate) fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.inner.serialize_der()))
    }

    pub(crate) fn into_inner(self) -> rcgen::KeyPair {
        self.inner
    }

    pub(crate) const fn inner(&self) -> &rcgen::KeyPair {
        &self.inner
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyPair(private)")
    }
}
