//! Entries of the audit: written in the commit of what they tell of.

use super::{effects::Effects, refusal::Refusal, state::State};
use crate::{
    audit::{Deed, HEAD_KEY, Head, OK, Sealed, audit_key},
    store::{Keyspace, Store, StoreError, get_json, scan_json},
};
use handover_model::Timestamp;

impl State {
    /// The end of the chain.
    #[must_use]
    pub const fn audit_head(&self) -> Head {
        self.audit
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// When it cannot be written as JSON, which is a mistake of this program.
    pub fn record(&mut self, deed: Deed, now: Timestamp, effects: &mut Effects) -> Result<(), Refusal> {
        let sealed = self.audit.next(deed, now);
        let head = Head::of(&sealed);
        effects.put(Keyspace::Audit, audit_key(head.sequence), &sealed)?;
        effects.put(Keyspace::Fleet, HEAD_KEY.to_vec(), &head)?;
        self.audit = head;
        Ok(())
    }

    /// Adds an entry of what the server did by itself.
    pub(super) fn record_own(
        &mut self,
        method: &str,
        service: &str,
        detail: String,
        outcome: &str,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let deed = Deed {
            who: "server".to_owned(),
            role: "server".to_owned(),
            method: method.to_owned(),
            service: service.to_owned(),
            resource: format!("service {service}"),
            outcome: if outcome.is_empty() { OK } else { outcome }.to_owned(),
            detail,
            count: 1,
            ..Deed::default()
        };
        self.record(deed, now, effects)
    }
}

/// The chain's end as the store has it. The record of it may be behind: it is written with an entry or after it.
pub(super) fn load(store: &dyn Store) -> Result<Head, StoreError> {
    let mut head = get_json::<Head>(store, Keyspace::Fleet, HEAD_KEY)?.unwrap_or_default();
    if head.sequence == 0 {
        for entry in scan_json::<Sealed>(store, Keyspace::Audit, &[]) {
            head = Head::of(&entry?.1);
        }
    }
    while let Some(next) = get_json::<Sealed>(store, Keyspace::Audit, &audit_key(head.sequence + 1))? {
        head = Head::of(&next);
    }
    Ok(head)
}
