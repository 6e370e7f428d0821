//! The join token: what a new host needs to find its server, to know that it is the right one, and to be let in.

use crate::{
    address::{AddressError, ServerAddress},
    certificate::hex,
    tls,
};
use base64::{Engine as _, alphabet, engine::GeneralPurpose, engine::general_purpose::NO_PAD};
use handover_model::Digest;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};
use subtle::ConstantTimeEq as _;

const PREFIX: &str = "hv1.";
const ID: usize = 8;
const SECRET: usize = 32;
const FINGERPRINT: usize = 32;
const CHECKSUM: usize = 4;
/// Everything before the address: identifier, secret, fingerprint, length of the address.
const HEAD: usize = ID + SECRET + FINGERPRINT + 1;
/// base64url without padding; takes any bits behind the last byte, so that a cut token can be told from a mistyped one.
const LENIENT: GeneralPurpose =
    GeneralPurpose::new(&alphabet::URL_SAFE, NO_PAD.with_decode_allow_trailing_bits(true));
/// No token is longer, in characters; longer texts are refused unread.
const MAX_TOKEN_CHARS: usize = 1024;

/// Names a token in lists and logs; no secret. Sixteen hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenId([u8; ID]);

/// The secret half of a token. The server keeps only its digest.
#[derive(Clone)]
pub struct TokenSecret([u8; SECRET]);

/// What a host presents to enrol: which token, and its secret.
#[derive(Debug, Clone)]
pub struct TokenClaim {
    /// Which token.
    pub id: TokenId,
    /// The proof.
    pub secret: TokenSecret,
}

/// A join token, written as `hv1.` and base64url without padding of: identifier (8 bytes), secret (32), SHA-256 of the
/// CA's certificate (32), length of the address (1), the server's address, and the first 4 bytes of the SHA-256 of
/// all before it, which tells a typing error from a wrong token.
#[derive(Debug, Clone)]
pub struct JoinToken {
    /// Which token, and its secret.
    pub claim: TokenClaim,
    /// The fleet's CA: the first connection accepts no other.
    pub ca_fingerprint: Digest,
    /// Where the server is.
    pub server: ServerAddress,
}

/// A text that is no join token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It does not begin like one.
    #[error("this is no join token: one begins with \"hv1.\" and is printed by handover token create")]
    NotAToken,
    /// It is of another version of the format.
    #[error(
        "this is a join token of format {0:?}, and this program reads \"hv1\": use a program of the server's version"
    )]
    OtherVersion(String),
    /// A character that does not occur in tokens.
    #[error("character {position} of the join token, {character:?}, does not occur in one: copy it again")]
    Character {
        /// Counted from 1, white space left out.
        position: usize,
        /// The character.
        character: char,
    },
    /// The end is missing.
    #[error("the join token is too short, its end is missing: copy it again")]
    TooShort,
    /// There is something behind the end.
    #[error("the join token is too long, there is something behind its end: copy it again")]
    TooLong,
    /// The checksum does not hold.
    #[error("the join token has a typing error (its checksum does not hold): copy it again")]
    Checksum,
    /// The checksum holds and the address is none: made by a broken program.
    #[error("the join token carries a bad server address")]
    Address(#[from] AddressError),
}

/// A presented secret that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what was presented is no join token's secret: expected 16 hexadecimal digits, a dot and 64 more")]
pub struct TokenClaimError;

/// A text that is no token's identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no token's id: expected 16 hexadecimal digits, as `handover token list` shows them")]
pub struct TokenIdError(String);

/// Whether `secret` is the one whose digest was stored; the time it takes tells nothing about the digest.
#[must_use]
pub fn secret_matches(stored: &Digest, secret: &TokenSecret) -> bool {
    stored.as_bytes().ct_eq(secret.digest().as_bytes()).into()
}

impl TokenSecret {
    /// What the server stores in the secret's place.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.0)
    }
}

impl JoinToken {
    /// A new token with a random identifier and secret.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn generate(ca_fingerprint: Digest, server: ServerAddress) -> Result<Self, tls::TlsError> {
        let claim = TokenClaim { id: TokenId(tls::random()?), secret: TokenSecret(tls::random()?) };
        Ok(Self { claim, ca_fingerprint, server })
    }

    /// The token as the operator copies it. It is a secret until it was used.
    #[must_use]
    pub fn expose(&self) -> String {
        let address = self.server.to_string();
        let mut bytes = Vec::with_capacity(HEAD + address.len() + CHECKSUM);
        bytes.extend_from_slice(&self.claim.id.0);
        bytes.extend_from_slice(&self.claim.secret.0);
        bytes.extend_from_slice(self.ca_fingerprint.as_bytes());
        bytes.push(u8::try_from(address.len()).unwrap_or(u8::MAX));
        bytes.extend_from_slice(address.as_bytes());
        let checksum = checksum(&bytes);
        bytes.extend_from_slice(&checksum);
        format!("{PREFIX}{}", LENIENT.encode(bytes))
    }
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM] {
    let digest = Digest::of(&[PREFIX.as_bytes(), bytes].concat());
    let mut checksum = [0; CHECKSUM];
    checksum.copy_from_slice(&digest.as_bytes()[..CHECKSUM]);
    checksum
}

impl FromStr for JoinToken {
    type Err = TokenError;

    /// Reads a token; white space, as terminals and mails add it, is left out.
    fn from_str(text: &str) -> Result<Self, TokenError> {
        let text: String = text.chars().filter(|c| !c.is_whitespace()).take(MAX_TOKEN_CHARS + 1).collect();
        let encoded = match (text.strip_prefix(PREFIX), text.split_once('.')) {
            (Some(encoded), _) => encoded,
            (None, Some((version, _))) if version.len() <= 5 && version.starts_with("hv") => {
                return Err(TokenError::OtherVersion(version.to_owned()));
            }
            (None, _) if PREFIX.starts_with(&text) && !text.is_empty() => return Err(TokenError::TooShort),
            (None, _) => return Err(TokenError::NotAToken),
        };
        let known = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if let Some((index, character)) = encoded.chars().enumerate().find(|(_, c)| !known(*c)) {
            return Err(TokenError::Character { position: PREFIX.len() + index + 1, character });
        }
        if text.len() > MAX_TOKEN_CHARS {
            return Err(TokenError::TooLong);
        }
        read(encoded)
    }
}

/// Reads the base64url part.
fn read(encoded: &str) -> Result<JoinToken, TokenError> {
    // A base64 text of 4n+1 characters does not exist: read it without the last one, and say which way it is wrong.
    let whole = if encoded.len() % 4 == 1 { &encoded[..encoded.len() - 1] } else { encoded };
    let bytes = LENIENT.decode(whole).map_err(|_| TokenError::Checksum)?;
    if whole.len() != encoded.len() {
        return Err(match length(&bytes) {
            TokenError::Checksum => TokenError::TooLong,
            other => other,
        });
    }
    // The unused bits of the last character are under no checksum: they must be zero.
    if LENIENT.encode(&bytes) != encoded {
        return Err(length(&bytes));
    }
    let Some((body, sum)) = bytes.split_last_chunk::<CHECKSUM>() else { return Err(TokenError::TooShort) };
    if checksum(body) != *sum {
        return Err(length(&bytes));
    }
    let (id, rest) = body.split_first_chunk::<ID>().ok_or(TokenError::TooShort)?;
    let (secret, rest) = rest.split_first_chunk::<SECRET>().ok_or(TokenError::TooShort)?;
    let (fingerprint, rest) = rest.split_first_chunk::<FINGERPRINT>().ok_or(TokenError::TooShort)?;
    let (_, address) = rest.split_first().ok_or(TokenError::TooShort)?;
    let server = String::from_utf8_lossy(address).parse()?;
    Ok(JoinToken {
        claim: TokenClaim { id: TokenId(*id), secret: TokenSecret(*secret) },
        ca_fingerprint: Digest::from_bytes(*fingerprint),
        server,
    })
}

/// Why a token whose checksum does not hold is wrong: its length tells.
fn length(bytes: &[u8]) -> TokenError {
    let Some(address) = bytes.get(HEAD - 1) else { return TokenError::TooShort };
    match bytes.len().cmp(&(HEAD + usize::from(*address) + CHECKSUM)) {
        std::cmp::Ordering::Less => TokenError::TooShort,
        std::cmp::Ordering::Equal => TokenError::Checksum,
        std::cmp::Ordering::Greater => TokenError::TooLong,
    }
}

impl TokenClaim {
    /// The text that the enrolment request carries, over the pinned connection only.
    #[must_use]
    pub fn expose(&self) -> String {
        format!("{}.{}", self.id, hex(&self.secret.0))
    }
}

impl FromStr for TokenClaim {
    type Err = TokenClaimError;

    fn from_str(text: &str) -> Result<Self, TokenClaimError> {
        let (id, secret) = text.split_once('.').ok_or(TokenClaimError)?;
        Ok(Self { id: TokenId(unhex(id)?), secret: TokenSecret(unhex(secret)?) })
    }
}

fn unhex<const N: usize>(text: &str) -> Result<[u8; N], TokenClaimError> {
    if text.len() != 2 * N || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(TokenClaimError);
    }
    let mut bytes = [0; N];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).map_err(|_| TokenClaimError)?;
    }
    Ok(bytes)
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSecret(hidden)")
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&hex(&self.0))
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for TokenId {
    type Err = TokenIdError;

    fn from_str(text: &str) -> Result<Self, TokenIdError> {
        // Longer than any identifier: not worth repeating.
        unhex(text).map(Self).map_err(|TokenClaimError| TokenIdError(text.chars().take(40).collect()))
    }
}

impl TryFrom<String> for TokenId {
    type Error = TokenIdError;

    fn try_from(text: String) -> Result<Self, TokenIdError> {
        text.parse()
    }
}

impl From<TokenId> for String {
    fn from(id: TokenId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests;
