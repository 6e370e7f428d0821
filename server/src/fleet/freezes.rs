//! Freezes: times in which nothing new is deployed to a service, or to the fleet. A rollback always goes.

use super::{
    effects::Effects,
    locks::{Asker, LockScope, reason_of},
    records::{FreezeRecord, freeze_key},
    refusal::Refusal,
    state::State,
};
use crate::store::Keyspace;
use handover_model::{Duration, ServiceName, Timestamp};

/// How many freezes there may be, those to come included.
const MOST: usize = 100;
/// How far ahead one may end.
const FARTHEST: Duration = Duration::from_secs(400 * 24 * 3600);

/// A freeze that is asked for.
#[derive(Clone, Debug)]
pub struct FreezeRequest {
    /// Of what.
    pub scope: LockScope,
    /// Why.
    pub reason: String,
    /// From when on; one in the past means now.
    pub from: Timestamp,
    /// Until when; `None`: until somebody ends it.
    pub until: Option<Timestamp>,
}

impl State {
    /// The freezes that hold or are to come, by number.
    pub fn freezes(&self, now: Timestamp) -> impl Iterator<Item = (u64, &FreezeRecord)> {
        let lasts = move |freeze: &FreezeRecord| freeze.until.is_none_or(|until| until > now);
        self.freezes.iter().filter(move |(_, freeze)| lasts(freeze)).map(|(number, freeze)| (*number, freeze))
    }

    /// That no freeze forbids a deployment to a service, or that it is overridden with a reason.
    ///
    /// # Errors
    /// When a freeze holds and is not overridden, not with a reason, or not by somebody who may.
    pub(super) fn pass_freezes(
        &self,
        service: &ServiceName,
        overridden: Option<&str>,
        asker: &Asker,
        command: &str,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let concerns = |freeze: &FreezeRecord| match &freeze.service {
            None => true,
            Some(frozen) => frozen == service,
        };
        let holding = self.freezes(now).filter(|(_, freeze)| freeze.from <= now && concerns(freeze));
        let holding: Vec<_> = holding.collect();
        let Some((number, freeze)) = holding.first() else { return Ok(()) };
        match overridden.map(reason_of) {
            None => Err(Refusal::Frozen {
                scope: scope_of(freeze),
                number: *number,
                by: freeze.by.clone(),
                reason: freeze.reason.clone(),
                until: freeze.until,
                command: format!("{command} --override-freeze --reason WHY").into(),
            }),
            Some(reason) if reason.is_empty() => Err(Refusal::Invalid(
                "overriding a freeze needs a reason, which goes into the audit: --reason WHY".to_owned(),
            )),
            Some(_) if asker.limited && holding.iter().any(|(_, freeze)| freeze.service.is_none()) => {
                let why = "the fleet is frozen, and an operator who is limited to some services overrides no freeze of all";
                Err(Refusal::NotAllowed { who: asker.by.clone(), why: why.to_owned() })
            }
            Some(_) => Ok(()),
        }
    }

    /// Freezes a service or the fleet for a time; gives its number and a sentence.
    ///
    /// # Errors
    /// When there is no such service, no reason, an end that is no end, or too many freezes.
    pub fn freeze(
        &mut self,
        request: &FreezeRequest,
        asker: &Asker,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<String, Refusal> {
        let FreezeRequest { scope, reason, from, until } = request;
        let what = format!("freeze {scope} {from:?} {until:?}");
        if let Some(before) = self.answered(&asker.request, &what)? {
            return Ok(before.said.clone());
        }
        let service = match scope {
            LockScope::Fleet => None,
            LockScope::Service(service) if self.services.contains_key(service) => Some(service.clone()),
            LockScope::Service(service) => return Err(Refusal::NoService(service.clone())),
        };
        let (reason, from) = (reason_of(reason), (*from).max(now));
        let wrong = |why: &str| Err(Refusal::Invalid(why.to_owned()));
        if reason.is_empty() {
            return wrong("a freeze needs a reason that others can act on: --reason WHY");
        }
        if until.is_some_and(|until| until <= from) {
            return wrong(
                "the freeze would end before it begins, or has ended already: give a later --until",
            );
        }
        if from.max(until.unwrap_or(from)) > now + FARTHEST {
            return wrong("a freeze lies within the next 400 days");
        }
        self.end_freezes(now, effects);
        if self.freezes.len() >= MOST {
            return Err(Refusal::TooMany(format!(
                "there are {MOST} freezes: end some with `handover unfreeze`"
            )));
        }
        let number = self.last_freeze + 1;
        let record = FreezeRecord { service, by: asker.by.clone(), reason, since: now, from, until: *until };
        effects.put(Keyspace::Freezes, freeze_key(number), &record)?;
        effects.changed = true;
        self.last_freeze = number;
        self.freezes.insert(number, record);
        tracing::info!(%scope, number, by = asker.by, "frozen");
        let said = format!("f{number}: {scope} is frozen");
        self.remember(&asker.request, &what, None, &said, effects)?;
        Ok(said)
    }

    /// Ends a freeze; gives a sentence.
    ///
    /// # Errors
    /// When there is none of this number.
    pub fn unfreeze(&mut self, number: u64, asker: &Asker, effects: &mut Effects) -> Result<String, Refusal> {
        let freeze = self.freezes.remove(&number).ok_or(Refusal::NoFreeze(number))?;
        self.forget_freeze(number, effects);
        let said = format!(
            "f{number} has ended: {} is not frozen by it any more (it was by {}: {})",
            scope_of(&freeze),
            freeze.by,
            freeze.reason
        );
        tracing::info!(number, by = asker.by, "freeze ended");
        Ok(said)
    }

    /// What a freeze is on.
    ///
    /// # Errors
    /// When there is none of this number.
    pub fn frozen_by(&self, number: u64) -> Result<LockScope, Refusal> {
        self.freezes.get(&number).map(scope_of).ok_or(Refusal::NoFreeze(number))
    }

    /// Drops the freezes that have ended.
    pub(super) fn end_freezes(&mut self, now: Timestamp, effects: &mut Effects) {
        let ended = self.freezes.iter().filter(|(_, freeze)| freeze.until.is_some_and(|until| until <= now));
        for number in ended.map(|(number, _)| *number).collect::<Vec<_>>() {
            tracing::info!(number, "freeze ended");
            self.freezes.remove(&number);
            self.forget_freeze(number, effects);
        }
    }

    fn forget_freeze(&self, number: u64, effects: &mut Effects) {
        effects.delete(Keyspace::Freezes, freeze_key(number));
        effects.changed = true;
        debug_assert!(!self.freezes.contains_key(&number), "it is still there");
    }
}

fn scope_of(freeze: &FreezeRecord) -> LockScope {
    freeze.service.clone().map_or(LockScope::Fleet, LockScope::Service)
}
