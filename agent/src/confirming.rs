//! Flips that ask for confirmation: what is remembered of one, and what follows from it. Pure, as `reconcile`, of which it
//! is a part.
//!
//! The flip is written down before it is made, with the shares from before and a deadline on the agent's clock, which no
//! one sets and which goes on over the agent's own end. The server confirms what a report shows. Where no confirmation
//! comes in time, the agent goes back to the former shares, as soon as who had them is ready, and stays there: only
//! another order flips again.

use crate::reconcile::{ObservedInstance, ObservedState};
use handover_model::{Duration, InstanceId, ServiceName, ServiceTarget, Share, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Shares by instance.
pub(crate) type Shares = BTreeMap<InstanceId, Share>;
type Instances = BTreeMap<InstanceId, ObservedInstance>;

/// A flip that asked for confirmation, as it is written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskedFlip {
    /// Whose.
    pub service: ServiceName,
    /// The order that it was made for: see [`handover_model::Confirm::revision`].
    pub revision: u64,
    /// How soon it had to be confirmed.
    pub within: Duration,
    /// What was ordered. A server that was restored from a backup may give a number a second time.
    pub wanted: BTreeMap<InstanceId, Share>,
    /// Who had a share before, and which.
    pub former: BTreeMap<InstanceId, Share>,
    /// What became of it.
    pub state: AskedState,
}

/// What became of a flip that asked for confirmation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AskedState {
    /// It is about to be made, or made, and its confirmation is waited for.
    Awaited {
        /// Then it is undone.
        deadline: Timestamp,
    },
    /// It was confirmed: it stands.
    Given,
    /// It was not: the former shares are the ones to have.
    Missed {
        /// Why, in an operator's words.
        why: String,
    },
}

/// What has to be done about the confirmation of a service's flip, before anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// The flip that is remembered belongs to an order that is none any more.
    Forget,
    /// The confirmation did not come in time.
    Miss,
}

/// What a service's shares are to be at the moment, as far as confirmation goes.
#[derive(Debug)]
pub(crate) struct Course {
    /// What has to be done about what is remembered.
    pub(crate) due: Option<Due>,
    /// The shares to strive for.
    pub(crate) aim: Shares,
    /// Whether a flip to the aim has to be written down first, to be confirmed.
    pub(crate) asks: bool,
}

impl Course {
    /// The course of a service with this target (`None`: it is to be stopped), of whose flip this is remembered.
    pub(crate) fn of(target: Option<&ServiceTarget>, flip: Option<&AskedFlip>, now: Timestamp) -> Self {
        let wanted = target.map(wanted).unwrap_or_default();
        let confirm = target.and_then(|target| target.confirm);
        let Some(flip) = flip else { return Self { due: None, aim: wanted, asks: confirm.is_some() } };
        if confirm.is_none_or(|confirm| confirm.revision != flip.revision) || wanted != flip.wanted {
            return Self { due: Some(Due::Forget), aim: wanted, asks: confirm.is_some() };
        }
        match &flip.state {
            AskedState::Given => Self { due: None, aim: wanted, asks: false },
            AskedState::Awaited { deadline } if now < *deadline => {
                Self { due: None, aim: with_former(wanted, &flip.former), asks: false }
            }
            AskedState::Awaited { .. } => {
                Self { due: Some(Due::Miss), aim: back(&wanted, &flip.former), asks: false }
            }
            AskedState::Missed { .. } => Self { due: None, aim: back(&wanted, &flip.former), asks: false },
        }
    }
}

/// What a target wants of a service.
fn wanted(target: &ServiceTarget) -> Shares {
    target.instances.iter().map(|wanted| (wanted.instance.clone(), wanted.share)).collect()
}

/// Who had a share before stays, hidden, while the flip may have to be undone.
fn with_former(mut aim: Shares, former: &Shares) -> Shares {
    for instance in former.keys() {
        aim.entry(instance.clone()).or_insert(Share::HIDDEN);
    }
    aim
}

/// The shares from before the flip; whoever else is wanted has none.
fn back(wanted: &Shares, former: &Shares) -> Shares {
    let hidden = wanted.keys().map(|instance| (instance.clone(), Share::HIDDEN));
    hidden.chain(former.iter().map(|(instance, share)| (instance.clone(), *share))).collect()
}

impl AskedFlip {
    /// The flip from the shares that are to these, where it has to be written down to be confirmed: it raises an instance
    /// while another one has a share that could be given back.
    pub(crate) fn to(
        service: &ServiceName,
        target: &ServiceTarget,
        shares: &Shares,
        instances: &Instances,
        now: Timestamp,
    ) -> Option<Self> {
        let confirm = target.confirm?;
        let has = |instance: &InstanceId| instances.get(instance).map_or(Share::HIDDEN, |found| found.share);
        let raised: Vec<&InstanceId> =
            shares.iter().filter(|(instance, share)| **share > has(instance)).map(|(i, _)| i).collect();
        let former: Shares = instances
            .iter()
            .filter(|(_, found)| !found.share.is_hidden())
            .map(|(instance, found)| (instance.clone(), found.share))
            .collect();
        let can_go_back = former.keys().any(|instance| !raised.contains(&instance));
        (!raised.is_empty() && can_go_back).then(|| Self {
            service: service.clone(),
            revision: confirm.revision,
            within: confirm.within,
            wanted: wanted(target),
            former,
            state: AskedState::Awaited { deadline: now + confirm.within },
        })
    }

    /// The confirmation did not come in time.
    pub(crate) fn miss(&mut self) {
        self.state =
            AskedState::Missed { why: format!("the flip was not confirmed within {:?}", self.within) };
    }

    /// What of it belongs to another boot of the machine: the flip is gone with the kernel that it was made in, and who
    /// would have confirmed it may have been out of reach all the while.
    pub(crate) fn after_reboot(&mut self) {
        if let AskedState::Awaited { .. } = self.state {
            let why = "the machine was started again before the flip was confirmed".to_owned();
            self.state = AskedState::Missed { why };
        }
    }

    /// When something follows from it although nothing happens.
    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        match self.state {
            AskedState::Awaited { deadline } => Some(deadline),
            AskedState::Given | AskedState::Missed { .. } => None,
        }
    }

    /// Why it does not stand, with whether it is undone; for one that was not confirmed.
    pub(crate) fn missed(&self, why: &str, instances: &Instances) -> String {
        let back = |(instance, share): (&InstanceId, &Share)| {
            instances.get(instance).is_some_and(|found| found.share == *share)
        };
        if self.former.iter().all(back) {
            return format!("undone: {why}");
        }
        let in_the_way = |(instance, _): (&InstanceId, &Share)| match instances.get(instance) {
            None => Some(format!("{instance} is gone")),
            Some(found) if found.state != ObservedState::Ready && found.share.is_hidden() => {
                Some(format!("{instance} is not ready"))
            }
            Some(_) => None,
        };
        match self.former.iter().find_map(in_the_way) {
            Some(obstacle) => format!("{why}, and it cannot be undone: {obstacle}"),
            None => format!("{why}, and it is being undone"),
        }
    }
}

#[cfg(test)]
mod tests;
