//! One entry, and the bytes that its hash is of.

use handover_model::{Digest, Timestamp};
use serde::{Deserialize, Serialize};

/// The outcome of what was not refused.
pub const OK: &str = "ok";
/// What the hashed bytes begin with: another form gets another number.
const FORM: &[u8] = b"handover-audit 1\n";
/// Longest of the short fields, in characters.
const SHORT: usize = 100;
/// Longest of the fields with free text, in characters: an entry stays under 8 KiB, whatever the characters.
const LONG: usize = 300;

/// What somebody did or was refused, before it has its place in the chain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deed {
    /// An operator's name, `uid:0 (root)`, `host NAME`, `server` or `nobody`.
    pub who: String,
    /// viewer, deployer, admin, agent, server, none.
    pub role: String,
    /// What proved who it was: `certificate SERIAL`, `token ID`, `uid 0`; empty for the server itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub credential: String,
    /// Address and port, or `unix, pid 123`; empty for the server itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub from: String,
    /// The call, without its package and service.
    pub method: String,
    /// The service that it was about.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub service: String,
    /// What it was about, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub resource: String,
    /// [`OK`], or the reason of the refusal.
    pub outcome: String,
    /// What came of it, or why it was refused.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// The reason that was given: of an override, an abort, a revocation.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The operator's name for the request.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub request: String,
    /// For how many equal ones the entry stands, at least 1.
    pub count: u64,
}

impl Deed {
    /// The same with every field as long as an entry may have it, and without control characters.
    #[must_use]
    pub fn clipped(self) -> Self {
        let clip = |text: String, most: usize| -> String {
            text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(most).collect()
        };
        Self {
            who: clip(self.who, SHORT),
            role: clip(self.role, SHORT),
            credential: clip(self.credential, SHORT),
            from: clip(self.from, SHORT),
            method: clip(self.method, SHORT),
            service: clip(self.service, SHORT),
            resource: clip(self.resource, LONG),
            outcome: clip(self.outcome, SHORT),
            detail: clip(self.detail, LONG),
            reason: clip(self.reason, LONG),
            request: clip(self.request, SHORT),
            count: self.count.max(1),
        }
    }
}

/// A deed with its place in the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Counted from 1, without gaps.
    pub sequence: u64,
    /// When; never before the entry before it.
    pub at: Timestamp,
    /// The hash of the entry before it; 32 zeros for the first.
    pub previous: Digest,
    /// What was done.
    #[serde(flatten)]
    pub deed: Deed,
}

impl Entry {
    /// SHA-256 over `handover-audit 1\n` and then, in this order: sequence, time in Unix milliseconds and count, each as
    /// eight bytes, the most significant first; the previous hash, 32 bytes; who, role, credential, from, method, service,
    /// resource, outcome, detail, reason, request, each as its length in bytes (eight bytes, as above) and its UTF-8.
    #[must_use]
    pub fn hash(&self) -> Digest {
        let Self { sequence, at, previous, deed } = self;
        let Deed {
            who,
            role,
            credential,
            from,
            method,
            service,
            resource,
            outcome,
            detail,
            reason,
            request,
            count,
        } = deed;
        let mut bytes = FORM.to_vec();
        for number in [*sequence, at.unix_millis(), *count] {
            bytes.extend(number.to_be_bytes());
        }
        bytes.extend(previous.as_bytes());
        let texts =
            [who, role, credential, from, method, service, resource, outcome, detail, reason, request];
        for text in texts {
            bytes.extend((text.len() as u64).to_be_bytes());
            bytes.extend(text.as_bytes());
        }
        Digest::of(&bytes)
    }
}

/// An entry as it is kept: with its own hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// The entry.
    #[serde(flatten)]
    pub entry: Entry,
    /// What [`Entry::hash`] gave when it was written.
    pub hash: Digest,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        let deed = Deed {
            who: "ada".into(),
            role: "admin".into(),
            method: "RemoveHost".into(),
            outcome: OK.into(),
            count: 1,
            ..Deed::default()
        };
        Entry {
            sequence: 7,
            at: Timestamp::from_unix_millis(1_700_000_000_000),
            previous: Digest::from_bytes([0; 32]),
            deed,
        }
    }

    #[test]
    fn every_field_is_in_the_hash_and_no_two_fields_run_together() {
        let base = serde_json::to_value(entry()).unwrap();
        let mut hashes = std::collections::BTreeSet::from([entry().hash()]);
        let texts =
            ["who", "role", "credential", "from", "method", "service", "resource", "outcome", "detail"];
        for field in texts.into_iter().chain(["reason", "request"]) {
            let mut other = base.clone();
            other[field] = "x".into();
            let other: Entry = serde_json::from_value(other).unwrap();
            assert!(hashes.insert(other.hash()), "{field} is not in the hash");
        }
        for field in ["sequence", "at", "count"] {
            let mut other = base.clone();
            other[field] = 9.into();
            let other: Entry = serde_json::from_value(other).unwrap();
            assert!(hashes.insert(other.hash()), "{field} is not in the hash");
        }
        let other = Entry { previous: Digest::of(b"x"), ..entry() };
        assert!(hashes.insert(other.hash()), "the previous hash is not in the hash");
        let (mut left, mut right) = (entry(), entry());
        left.deed.service = "ab".into();
        left.deed.resource = "c".into();
        right.deed.service = "a".into();
        right.deed.resource = "bc".into();
        assert_ne!(left.hash(), right.hash());
    }

    #[test]
    fn the_hash_of_an_entry_never_changes_with_the_program() {
        // Computed with another program from the description at Entry::hash.
        assert_eq!(entry().hash().hex(), "d578e4a61396200ae0dd92dbb7bf0151b31d8a39181fab3c4620f6b8efcfeb9f");
    }

    #[test]
    fn the_longest_entry_fits_a_value_of_the_store() {
        let long = || "\u{10ffff}\"\\\n".repeat(1000);
        let deed = Deed {
            who: long(),
            role: long(),
            credential: long(),
            from: long(),
            method: long(),
            service: long(),
            resource: long(),
            outcome: long(),
            detail: long(),
            reason: long(),
            request: long(),
            count: u64::MAX,
        };
        let entry = Entry { sequence: u64::MAX, deed: deed.clipped(), ..entry() };
        let hash = entry.hash();
        let value = serde_json::to_vec(&Sealed { entry, hash }).unwrap();
        assert!(value.len() <= crate::store::MAX_VALUE_BYTES, "{} bytes", value.len());
    }
}
