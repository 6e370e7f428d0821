//! How a value lies in the store: a version byte, the message, a checksum.
//!
//! The checksum is over keyspace and key as well: a value that turned up under another key is damaged.

use super::{Keyspace, StoreError, error::key_text};
use sha2::{Digest, Sha256};

/// The version byte that is written.
pub(crate) const VERSION: u8 = 1;
/// Bytes of SHA-256 that are kept.
const CHECKSUM_BYTES: usize = 8;
/// What sealing adds to a value, in bytes.
pub(crate) const OVERHEAD: usize = 1 + CHECKSUM_BYTES;

/// `message` as it is stored under `key`.
pub(crate) fn seal(keyspace: Keyspace, key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(message.len() + OVERHEAD);
    sealed.push(VERSION);
    sealed.extend_from_slice(message);
    sealed.extend_from_slice(&checksum(keyspace, key, &sealed));
    sealed
}

/// The message in `sealed`, which was found under `key`.
///
/// # Errors
/// Where the version is not known, or the checksum is another one.
pub(crate) fn open<'a>(keyspace: Keyspace, key: &[u8], sealed: &'a [u8]) -> Result<&'a [u8], StoreError> {
    let damaged = |why| StoreError::Damaged { keyspace, key: key_text(key), why };
    let (&version, rest) = sealed.split_first().ok_or_else(|| damaged("it is empty"))?;
    if version == 0 {
        // Never written; what a hole in a file reads as.
        return Err(damaged("it begins with a zero"));
    }
    if version != VERSION {
        return Err(StoreError::NewerValue { keyspace, key: key_text(key), version });
    }
    let (message, found) =
        rest.split_last_chunk::<CHECKSUM_BYTES>().ok_or_else(|| damaged("it is too short"))?;
    let body = &sealed[..=message.len()];
    if *found != checksum(keyspace, key, body) {
        return Err(damaged("its checksum does not match"));
    }
    Ok(message)
}

fn checksum(keyspace: Keyspace, key: &[u8], body: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut hash = Sha256::new();
    hash.update(keyspace.as_str());
    hash.update([0]);
    hash.update((key.len() as u64).to_le_bytes());
    hash.update(key);
    hash.update(body);
    let full: [u8; 32] = hash.finalize().into();
    let mut kept = [0; CHECKSUM_BYTES];
    kept.copy_from_slice(&full[..CHECKSUM_BYTES]);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_changed_bit_is_seen() {
        let sealed = seal(Keyspace::Hosts, b"alpha", b"message");
        assert_eq!(open(Keyspace::Hosts, b"alpha", &sealed).unwrap(), b"message");
        for bit in 0..sealed.len() * 8 {
            let mut torn = sealed.clone();
            torn[bit / 8] ^= 1 << (bit % 8);
            assert!(open(Keyspace::Hosts, b"alpha", &torn).is_err(), "bit {bit} went unseen");
        }
        for length in 0..sealed.len() {
            assert!(
                open(Keyspace::Hosts, b"alpha", &sealed[..length]).is_err(),
                "cut to {length} went unseen"
            );
        }
    }

    #[test]
    fn a_value_under_another_key_is_damaged() {
        let sealed = seal(Keyspace::Hosts, b"alpha", b"message");
        assert!(open(Keyspace::Hosts, b"beta", &sealed).is_err());
        assert!(open(Keyspace::Tokens, b"alpha", &sealed).is_err());
    }

    #[test]
    fn another_version_is_named() {
        let mut sealed = seal(Keyspace::Hosts, b"alpha", b"message");
        sealed[0] = 2;
        let error = open(Keyspace::Hosts, b"alpha", &sealed).unwrap_err();
        assert!(matches!(error, StoreError::NewerValue { version: 2, .. }), "{error}");
        assert!(error.to_string().contains("hosts \"alpha\" has format 2"), "{error}");
    }
}
