//! What cannot be written down: it is not done, it is told, and it goes on by itself once there is room.
//!
//! What runs is looked after all the while: probes, shares, drains and restarts go on as far as they change what
//! stands in the journal already, for which there is room. What happened by itself (an instance is ready, has
//! ended) is true whether it is written or not; it is written later.

use super::{Instance, Supervisor, held};
use crate::{
    clock::now,
    gates::GatesError,
    journal::NotWritten,
    reconcile::Action,
    state::{BackingOff, State},
};
use handover_identity::wall_clock;
use handover_model::{Duration, InstanceId, InstancePhase, InstanceReport, Share, Target, Timestamp};
use std::error::Error;

/// Before what failed without a state that tells of it is tried again: at first, and at most.
const HOLD: Duration = Duration::from_secs(1);
const LONGEST_HOLD: Duration = Duration::from_secs(15);
/// Before it is looked again whether there is room for a release.
const ROOM_PAUSE: Duration = Duration::from_secs(10);

/// A target that could not be written down: nothing of it is done yet.
#[derive(Debug)]
pub(super) struct PutOff {
    target: Target,
    why: String,
    since: Timestamp,
}

/// Whether something was not done because it could not be written down.
pub(super) fn is_that(error: &(dyn Error + Send + Sync + 'static)) -> bool {
    let gates = error.downcast_ref::<GatesError>();
    error.is::<NotWritten>() || matches!(gates, Some(GatesError::Journal(_)))
}

impl Supervisor {
    /// Looks whether there is room (again), and goes on with what waited for it.
    pub(super) fn look_at_disks(&mut self) {
        if self.journal.disks().look() {
            self.held.clear();
            for id in std::mem::take(&mut self.unnoted) {
                self.note(&id);
            }
            for instance in self.instances.values_mut() {
                instance.forget_what_waited();
            }
        }
        if self.journal.disks().unwritten().is_none()
            && let Some(target) = self.put_off.as_ref().map(|put_off| put_off.target.clone())
            && let Err(reason) = self.accept(target)
        {
            tracing::debug!(reason, "the target waits");
        }
    }

    /// Keeps a target that could not be written down; a later one takes its place.
    pub(super) fn put_off(&mut self, target: Target, why: &str) {
        let same = self.put_off.as_ref().filter(|put_off| put_off.target == target);
        let since = same.map_or_else(now, |put_off| put_off.since);
        self.put_off = Some(PutOff { target, why: why.to_owned(), since });
    }

    /// How long an action that failed waits: longer and longer while nothing can be written down.
    pub(super) fn pause_of_held(&self) -> Duration {
        let age = self.journal.disks().unwritten().map(|unwritten| wall_clock().since(unwritten.since));
        age.map_or(HOLD, |age| (age / 4).clamp(HOLD, LONGEST_HOLD))
    }

    /// Says on the instances concerned why nothing moves.
    pub(super) fn tell_what_waits(&mut self, action: &Action, why: &str) {
        let concerned = held(action);
        for (id, instance) in &mut self.instances {
            let is_it = match &concerned {
                super::Held::Service(service) => instance.service() == service,
                super::Held::Instance(other) => other == id,
            };
            if is_it {
                instance.wait_because(why);
            }
        }
    }

    /// An instance that was not begun: there is no room for its files, or for a word about it. That is no failure of
    /// its own, so it does not count as one; it is looked at again until there is room or it is wanted no more.
    pub(super) fn wait_for_room(&mut self, id: &InstanceId, reason: String) {
        self.lives += 1;
        let Some(instance) = self.instances.get_mut(id) else { return };
        let was_told =
            matches!(&instance.state, State::BackingOff(BackingOff { reason: told, .. }) if *told == reason);
        if !was_told {
            tracing::warn!(instance = %id, reason, "waits for room");
        }
        instance.renew(self.lives);
        instance.held_up = true;
        let pause = ROOM_PAUSE.mul_f64(1.0 - 0.25 * rand::random::<f64>());
        instance.enter(State::BackingOff(BackingOff {
            until: now() + pause,
            since: now(),
            fetched: false,
            reason,
        }));
        self.note(id);
    }

    /// The instances of a target that waits to be written down, as the server is to see them: they are not begun.
    pub(super) fn put_off_instances(&self) -> Vec<(InstanceId, InstanceReport)> {
        let Some(PutOff { target, why, since }) = &self.put_off else { return Vec::new() };
        let wanted = target.services.values().flat_map(|service| &service.instances);
        let not_begun = wanted.map(|wanted| {
            let report = InstanceReport {
                service: wanted.release.name.service.clone(),
                release: wanted.release.name.clone(),
                phase: InstancePhase::BackingOff,
                share: Share::HIDDEN,
                pid: None,
                restarts: 0,
                connections: None,
                since: *since,
                until: None,
                detail: why.chars().take(1_000).collect(),
                flip_nanos: None,
                ready_millis: None,
                unready_probes: None,
                unserved: None,
                ledger: None,
                pin: None,
            };
            (wanted.instance.clone(), report)
        });
        not_begun.collect()
    }
}

impl Instance {
    fn wait_because(&mut self, why: &str) {
        match &mut self.state {
            State::BackingOff(back_off) if !back_off.reason.ends_with(why) => {
                back_off.reason = format!("{}; {why}", back_off.reason);
            }
            State::BackingOff(_) => {}
            State::Fetching
            | State::Fetched
            | State::GaveUp { .. }
            | State::Launching
            | State::Running { .. }
            | State::Exited(_) => {
                self.held_up = true;
                why.clone_into(&mut self.waits);
            }
        }
    }

    fn forget_what_waited(&mut self) {
        if !std::mem::take(&mut self.held_up) {
            return;
        }
        match &mut self.state {
            State::BackingOff(back_off) => back_off.until = now(),
            State::Fetching
            | State::Fetched
            | State::GaveUp { .. }
            | State::Launching
            | State::Running { .. }
            | State::Exited(_) => self.waits.clear(),
        }
    }
}
