//! Flips that hosts must have confirmed, or undo; and how far apart flips were. What the driver sends as a confirmation it
//! reads from reports: that one has come is all there is to confirm.

use crate::{Deployment, HostState, Moment, Skew, deployment::Track};
use handover_model::{ConfirmationState, Duration, HostName, Timestamp};
use std::collections::BTreeMap;

impl Deployment {
    /// How soon the flip to what is ordered for a host has to be confirmed, where it has to: it gives the new release a
    /// share, and there is something to go back to. A flip back needs none: it goes to what was there before.
    #[must_use]
    pub fn confirmation(&self, host: &HostName) -> Option<Duration> {
        let track = self.facts.tracks.get(host)?;
        let raises = match &track.state {
            HostState::Shifting { share, .. } | HostState::Baking { share, .. } => !share.is_hidden(),
            HostState::Pending
            | HostState::Offline { .. }
            | HostState::Starting { .. }
            | HostState::Retiring { .. }
            | HostState::Done { .. }
            | HostState::Skipped { .. }
            | HostState::Removed { .. }
            | HostState::Restarting { .. }
            | HostState::ShiftingBack { .. }
            | HostState::RetiringNew { .. }
            | HostState::Returned { .. }
            | HostState::Stuck { .. } => false,
        };
        Some(self.confirm_of(track)).filter(|within| raises && !within.is_zero())
    }

    fn confirm_of(&self, track: &Track) -> Duration {
        if track.from.is_some() { self.facts.plan.policy.confirm } else { Duration::ZERO }
    }

    /// When a host's flip counts as failed that is ordered now. One that asks for confirmation may be undone by then and
    /// told of: the host has that time besides.
    pub(crate) fn flips_until(&self, track: &Track, now: Timestamp) -> Timestamp {
        now + self.facts.plan.policy.flip_deadline + self.confirm_of(track)
    }

    /// When a host that was lost after the order to flip has undone it by itself; `None` where that cannot be, or not be
    /// told.
    pub(crate) fn undoes_by(&self, host: &HostName) -> Option<Timestamp> {
        let seen = self.observed.seen(host)?;
        let within = self.confirmation(host).filter(|_| seen.online == Some(false))?;
        match &seen.confirmation {
            Some(ConfirmationState::Awaited { until }) => Some(*until),
            Some(ConfirmationState::Given | ConfirmationState::Missed { .. }) => None,
            // It had the order at the latest when it was lost.
            None => Some(seen.gone_at? + within),
        }
    }

    /// Takes in when a host flipped, where its last report shows that it did as it is ordered.
    pub(crate) fn note_moment(&mut self, host: &HostName, moment: Option<Moment>) {
        let Some((track, seen)) = self.facts.tracks.get(host).zip(self.observed.seen(host)) else { return };
        let HostState::Shifting { since, share, .. } = &track.state else { return };
        let flipped = !share.is_hidden() && seen.serves(self.new_of(track), *share);
        let (since, in_this_stage) = (*since, track.stage == self.facts.stage);
        if let Some(moment) = moment.filter(|_| flipped && in_this_stage) {
            self.observed.flipped(host, since, moment);
        }
    }

    /// How far apart the hosts of the current stage flipped, where they did in one step and it does not stand in the
    /// journal. Of hosts that were ordered at different times the largest group is meant: others had to be started first.
    pub(crate) fn unrecorded_skew(&self) -> Option<Skew> {
        let stage = self.current_stage()?;
        if !stage.at_once || self.facts.skews.contains_key(&self.facts.stage) {
            return None;
        }
        let mut together: BTreeMap<Timestamp, Vec<Moment>> = BTreeMap::new();
        for (ordered, moment) in self.observed.moments.values() {
            together.entry(*ordered).or_default().push(*moment);
        }
        Skew::of(&together.into_values().max_by_key(Vec::len)?)
    }
}
