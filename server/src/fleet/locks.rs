//! Locks: an operator keeps others from changing a service, or the fleet, for a time. A lock always ends.

use super::{
    effects::Effects,
    records::{LockRecord, TakenLock, lock_key},
    refusal::Refusal,
    state::State,
};
use crate::store::Keyspace;
use handover_model::{Duration, ServiceName, Timestamp};
use std::fmt;

/// How long a lock holds where nothing is said.
pub(super) const LEASE: Duration = Duration::from_secs(3600);
/// How long it may hold.
const LONGEST_LEASE: Duration = Duration::from_secs(7 * 24 * 3600);
/// Longest reason, in characters.
const MAX_REASON: usize = 300;

/// What a lock is on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LockScope {
    /// Every service.
    Fleet,
    /// One service.
    Service(ServiceName),
}

impl fmt::Display for LockScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fleet => f.write_str("the fleet"),
            Self::Service(service) => write!(f, "service {service}"),
        }
    }
}

/// Who asks for a change, and whether a lock of somebody else is in the way.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Asker {
    /// The operator's name.
    pub by: String,
    /// The operator's name for the request; empty for none.
    pub request: String,
    /// Takes the locks of others that are in the way, for this reason; `None`: is refused by them.
    pub take_over: Option<String>,
    /// May change some services only: takes no lock of the fleet.
    pub limited: bool,
}

impl State {
    /// The lock on something that holds now.
    #[must_use]
    pub fn lock_on(&self, scope: &LockScope, now: Timestamp) -> Option<&LockRecord> {
        self.locks.get(scope).filter(|lock| lock.until > now)
    }

    /// That no lock of somebody else is in the way of a change to a service; gives those that are taken over by it.
    /// `command` is what the operator would have to say to take them over.
    ///
    /// # Errors
    /// When somebody else holds a lock and `asker` does not take it over, not with a reason, or may not.
    pub(super) fn pass_locks(
        &self,
        service: &ServiceName,
        asker: &Asker,
        command: &str,
        now: Timestamp,
    ) -> Result<Vec<LockScope>, Refusal> {
        let scopes = [LockScope::Fleet, LockScope::Service(service.clone())];
        let in_the_way = scopes.into_iter().filter_map(|scope| {
            let lock = self.lock_on(&scope, now).filter(|lock| lock.owner != asker.by)?;
            Some((scope, lock))
        });
        let mut taken = Vec::new();
        for (scope, lock) in in_the_way {
            match &asker.take_over {
                Some(reason) if reason_of(reason).is_empty() => return Err(no_reason()),
                Some(_) if asker.limited && scope == LockScope::Fleet => {
                    let why = format!(
                        "{} has locked the fleet ({}), and an operator who is limited to some services takes over no lock of all",
                        lock.owner, lock.reason
                    );
                    return Err(Refusal::NotAllowed { who: asker.by.clone(), why });
                }
                Some(_) => taken.push(scope),
                None => return Err(locked(scope, lock, command, now)),
            }
        }
        Ok(taken)
    }

    /// Makes the locks the asker's, for the time that a lock holds where nothing is said.
    pub(super) fn take_locks(
        &mut self,
        scopes: Vec<LockScope>,
        asker: &Asker,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let reason = reason_of(asker.take_over.as_deref().unwrap_or_default());
        for scope in scopes {
            self.put_lock(scope, &asker.by, &reason, now + LEASE, now, effects)?;
        }
        Ok(())
    }

    /// Locks a service or the fleet, or renews the asker's own lock; gives a sentence that says which.
    ///
    /// # Errors
    /// When there is no such service, no reason, or too long a lease; and when somebody else holds it.
    pub fn lock(
        &mut self,
        scope: LockScope,
        reason: &str,
        lease: Duration,
        asker: &Asker,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<String, Refusal> {
        let what = format!("lock {}", argument(&scope));
        if let Some(before) = self.answered(&asker.request, &what)? {
            return Ok(before.said.clone());
        }
        if let LockScope::Service(service) = &scope
            && !self.services.contains_key(service)
        {
            return Err(Refusal::NoService(service.clone()));
        }
        let reason = reason_of(reason);
        if reason.is_empty() {
            return Err(no_reason());
        }
        let lease = if lease.is_zero() { LEASE } else { lease };
        if lease > LONGEST_LEASE {
            return Err(Refusal::Invalid(
                "a lock holds for at most 7 days: lock it for less, and again before that ends".to_owned(),
            ));
        }
        let said = match self.lock_on(&scope, now) {
            None => format!("{scope} is locked"),
            Some(lock) if lock.owner == asker.by => format!("the lock on {scope} is renewed"),
            Some(lock) if asker.take_over.is_some() => {
                format!("the lock on {scope} is taken over from {} ({})", lock.owner, lock.reason)
            }
            Some(lock) => {
                let command = format!("handover lock {}", argument(&scope));
                return Err(locked(scope.clone(), lock, &command, now));
            }
        };
        self.put_lock(scope, &asker.by, &reason, now + lease, now, effects)?;
        self.remember(&asker.request, &what, None, &said, effects)?;
        Ok(said)
    }

    /// Takes a lock away; gives a sentence that says whether there was one.
    ///
    /// # Errors
    /// When somebody else holds it and it is not taken over.
    pub fn unlock(
        &mut self,
        scope: &LockScope,
        asker: &Asker,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<String, Refusal> {
        let what = format!("unlock {}", argument(scope));
        if let Some(before) = self.answered(&asker.request, &what)? {
            return Ok(before.said.clone());
        }
        let Some(lock) = self.lock_on(scope, now) else { return Ok(format!("{scope} was not locked")) };
        if lock.owner != asker.by {
            match &asker.take_over {
                None => {
                    let command = format!("handover unlock {}", argument(scope));
                    return Err(locked(scope.clone(), lock, &command, now));
                }
                Some(reason) if reason_of(reason).is_empty() => return Err(no_reason()),
                Some(reason) => {
                    tracing::warn!(%scope, owner = lock.owner, by = asker.by, reason = reason_of(reason), "lock of another operator taken away");
                }
            }
        }
        let said = format!("{scope} is not locked any more (it was by {}: {})", lock.owner, lock.reason);
        tracing::info!(%scope, by = asker.by, "unlocked");
        self.drop_lock(scope, effects);
        self.remember(&asker.request, &what, None, &said, effects)?;
        Ok(said)
    }

    /// Drops the locks that have ended.
    pub(super) fn end_locks(&mut self, now: Timestamp, effects: &mut Effects) {
        let ended = self.locks.iter().filter(|(_, lock)| lock.until <= now);
        for scope in ended.map(|(scope, _)| scope.clone()).collect::<Vec<_>>() {
            tracing::info!(%scope, "lock ended");
            self.drop_lock(&scope, effects);
        }
    }

    fn put_lock(
        &mut self,
        scope: LockScope,
        owner: &str,
        reason: &str,
        until: Timestamp,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let taken_from = self.lock_on(&scope, now).filter(|lock| lock.owner != owner).map(|lock| TakenLock {
            owner: lock.owner.clone(),
            reason: lock.reason.clone(),
            until: lock.until,
        });
        if let Some(from) = &taken_from {
            tracing::warn!(%scope, owner = from.owner, by = owner, reason, "lock of another operator taken over");
        } else {
            tracing::info!(%scope, by = owner, reason, "locked");
        }
        let record =
            LockRecord { owner: owner.to_owned(), reason: reason.to_owned(), since: now, until, taken_from };
        effects.put(Keyspace::Locks, lock_key(&scope), &record)?;
        effects.changed = true;
        self.locks.insert(scope, record);
        Ok(())
    }

    fn drop_lock(&mut self, scope: &LockScope, effects: &mut Effects) {
        self.locks.remove(scope);
        effects.delete(Keyspace::Locks, lock_key(scope));
        effects.changed = true;
    }
}

/// The scope as the command line names it.
fn argument(scope: &LockScope) -> String {
    match scope {
        LockScope::Fleet => "--fleet".to_owned(),
        LockScope::Service(service) => service.to_string(),
    }
}

fn locked(scope: LockScope, lock: &LockRecord, command: &str, now: Timestamp) -> Refusal {
    Refusal::Locked {
        scope,
        owner: lock.owner.clone(),
        reason: lock.reason.clone(),
        until: lock.until,
        left: lock.until.since(now),
        command: format!("{command} --take-over --reason WHY"),
    }
}

fn no_reason() -> Refusal {
    Refusal::Invalid(
        "a lock, and taking one over, needs a reason that others can act on: --reason WHY".to_owned(),
    )
}

/// What was given as a reason, without what would disturb a terminal.
pub(super) fn reason_of(text: &str) -> String {
    let clean: String = text.chars().filter(|c| !c.is_control()).take(MAX_REASON).collect();
    clean.trim().to_owned()
}
