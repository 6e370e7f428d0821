//! Reading the audit from the store, in bounded pieces.

use super::{Break, Head, Sealed, Walk, audit_key};
use crate::store::{Keyspace, MAX_PAGE, Store, StoreError, get_json};
use handover_model::{Digest, Timestamp};
use std::sync::Arc;

/// How many entries one search looks at.
const SEARCHED: u64 = 200_000;

/// The audit as it lies in the store.
#[derive(Clone)]
pub struct AuditLog {
    store: Arc<dyn Store>,
}

impl std::fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuditLog").finish_non_exhaustive()
    }
}

/// Which entries are wanted.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Of this moment or later.
    pub since: Timestamp,
    /// Of this operator, host or user; empty for all.
    pub who: String,
    /// About this service; empty for all.
    pub service: String,
    /// The newest so many.
    pub limit: usize,
}

impl Query {
    fn wants(&self, sealed: &Sealed) -> bool {
        let deed = &sealed.entry.deed;
        let who = self.who.is_empty()
            || deed.who == self.who
            || deed.who.strip_prefix("host ").is_some_and(|host| host == self.who)
            || deed.who.strip_prefix("uid:").is_some_and(|user| {
                let (uid, name) = user.split_once(' ').unwrap_or((user, ""));
                uid == self.who || name.trim_matches(['(', ')']) == self.who
            });
        who && (self.service.is_empty() || deed.service == self.service)
    }
}

/// What a search found.
#[derive(Clone, Debug, Default)]
pub struct Listed {
    /// The newest last.
    pub entries: Vec<Sealed>,
    /// Set where the search ended before the oldest entry: entries before this one were not looked at.
    pub searched_from: Option<u64>,
}

impl AuditLog {
    /// The audit in this store.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// The newest entries that are wanted, searched from `head` back. Blocks.
    ///
    /// # Errors
    /// When an entry cannot be read. One that is missing is left out: finding that is the verification's work.
    pub fn newest(&self, head: Head, query: &Query) -> Result<Listed, StoreError> {
        let mut listed = Listed::default();
        let last = head.sequence.saturating_sub(SEARCHED);
        for sequence in (last + 1..=head.sequence).rev() {
            let found = get_json::<Sealed>(&*self.store, Keyspace::Audit, &audit_key(sequence))?;
            let Some(sealed) = found else { continue };
            // Entries' times never go back.
            if sealed.entry.at < query.since {
                listed.entries.reverse();
                return Ok(listed);
            }
            if query.wants(&sealed) {
                listed.entries.push(sealed);
                if listed.entries.len() >= query.limit {
                    listed.entries.reverse();
                    return Ok(listed);
                }
            }
        }
        listed.searched_from = (last > 0).then_some(last + 1);
        listed.entries.reverse();
        Ok(listed)
    }

    /// Takes a walk one page further, at most to `head`; `true` where that is reached. Blocks.
    ///
    /// # Errors
    /// Where the chain is broken.
    pub fn walk(&self, walk: &mut Walk, head: Head) -> Result<bool, Break> {
        let after = audit_key(walk.checked());
        // The first page also finds what stands before the first entry.
        let after = (walk.checked() > 0).then_some(&*after);
        let page = self.store.scan_prefix(Keyspace::Audit, &[], after, MAX_PAGE);
        let page = page.map_err(|error| Break {
            sequence: walk.checked() + 1,
            what: format!("the entries from {} on cannot be read: {error}", walk.checked() + 1),
        })?;
        for (key, value) in &page.entries {
            if walk.checked() >= head.sequence {
                break;
            }
            let read = serde_json::from_slice::<Sealed>(value).map_err(|error| error.to_string());
            walk.step(key, read.as_ref().map_err(Clone::clone))?;
        }
        if page.more && walk.checked() < head.sequence {
            return Ok(false);
        }
        walk.end(head).map(|()| true)
    }

    /// Walks the whole chain. Blocks.
    ///
    /// # Errors
    /// Where the chain is broken.
    pub fn verify(&self, head: Head, noted: Option<(u64, Digest)>) -> Result<u64, Break> {
        let mut walk = Walk::new(noted);
        while !self.walk(&mut walk, head)? {}
        Ok(walk.checked())
    }
}
