//! What is ordered for each host: a pure function of where the host is.

use crate::{Assignment, Deployment, Former, HostState, Placement, deployment::Track};
use handover_model::{HostName, Share};
use std::collections::BTreeMap;

impl Deployment {
    /// What the deployment orders for a host. `None` where it orders nothing: an untouched host, one that was
    /// removed, or one that is not in the plan.
    #[must_use]
    pub fn assignment(&self, host: &HostName) -> Option<Assignment> {
        self.order(self.facts.tracks.get(host)?)
    }

    /// What the deployment orders, for every host that it touched.
    #[must_use]
    pub fn assignments(&self) -> BTreeMap<HostName, Assignment> {
        let ordered = |(host, track): (&HostName, &Track)| Some((host.clone(), self.order(track)?));
        self.facts.tracks.iter().filter_map(ordered).collect()
    }

    /// What is ordered in a track's state: a pure function of it.
    pub(crate) fn order(&self, track: &Track) -> Option<Assignment> {
        let new = |share| self.new_placement(track, share);
        let former = |share| self.former_of(track).map(|former| former.with(share));
        let placements = match &track.state {
            HostState::Pending
            | HostState::Offline { .. }
            | HostState::Skipped { .. }
            | HostState::Removed { .. } => return None,
            HostState::Shifting { share, .. } | HostState::Baking { share, .. } => {
                [former(share.rest()), Some(new(*share))]
            }
            HostState::Done { standby: true, .. } => [former(Share::HIDDEN), Some(new(Share::ALL))],
            HostState::Retiring { .. } | HostState::Done { .. } => [None, Some(new(Share::ALL))],
            HostState::Restarting { .. } => [Some(new(Share::ALL)), former(Share::HIDDEN)],
            HostState::Starting { .. } | HostState::ShiftingBack { former: Former::Kept, .. } => {
                [former(Share::ALL), Some(new(Share::HIDDEN))]
            }
            HostState::ShiftingBack { former: Former::StartedAgain, .. } => {
                [Some(new(Share::HIDDEN)), former(Share::ALL)]
            }
            HostState::Returned { standby: true, .. } => [former(Share::ALL), Some(new(Share::HIDDEN))],
            HostState::RetiringNew { .. } | HostState::Returned { .. } | HostState::Stuck { .. } => {
                [former(Share::ALL), None]
            }
        };
        Some(Assignment(placements.into_iter().flatten().collect()))
    }

    fn new_placement(&self, track: &Track, share: Share) -> Placement {
        Placement { instance: self.new_of(track).clone(), release: self.facts.plan.release.clone(), share }
    }

    /// The former release's placement as the track's state has it; `None` where the host had none.
    pub(crate) fn former_of(&self, track: &Track) -> Option<Placement> {
        let from = track.from.as_ref()?;
        let former = match &track.state {
            HostState::Restarting { .. } => Former::StartedAgain,
            HostState::ShiftingBack { former, .. }
            | HostState::RetiringNew { former, .. }
            | HostState::Returned { former, .. }
            | HostState::Stuck { former, .. } => *former,
            HostState::Pending
            | HostState::Offline { .. }
            | HostState::Starting { .. }
            | HostState::Shifting { .. }
            | HostState::Baking { .. }
            | HostState::Retiring { .. }
            | HostState::Done { .. }
            | HostState::Skipped { .. }
            | HostState::Removed { .. } => Former::Kept,
        };
        Some(match former {
            Former::Kept => from.with(Share::ALL),
            Former::StartedAgain => {
                let instance = self.names_of(track).again.clone();
                Placement { instance, release: from.release.clone(), share: Share::ALL }
            }
        })
    }
}
