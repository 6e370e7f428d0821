//! What can be derived from the facts, kept up to date so that no event has to look at every host.

use crate::{HostState, Plan, deployment::Track, host::Kind};
use handover_model::{HostName, Share, Timestamp};
use std::collections::BTreeSet;

/// Sets and counts over the hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Index {
    /// Every host's own deadline.
    pub(crate) deadlines: BTreeSet<(Timestamp, HostName)>,
    /// All hosts by kind.
    pub(crate) all: Counts,
    /// The hosts of the current stage by kind.
    pub(crate) here: Counts,
    /// Positions in the current stage of the hosts whose turn has not come.
    pub(crate) queue: BTreeSet<u32>,
    /// The hosts of the current stage that bake.
    pub(crate) baking_here: BTreeSet<HostName>,
    /// Hosts that the deployment touched or waits for, and that are not on their way back.
    pub(crate) open: BTreeSet<HostName>,
    /// Hosts that failed and have not been sent back yet.
    pub(crate) must_leave: BTreeSet<HostName>,
}

/// How many hosts are in each kind of state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts([usize; Kind::COUNT]);

impl Counts {
    pub(crate) fn of(&self, kind: Kind) -> usize {
        self.0.get(kind as usize).copied().unwrap_or_default()
    }

    fn add(&mut self, kind: Kind) {
        if let Some(count) = self.0.get_mut(kind as usize) {
            *count += 1;
        }
    }

    fn subtract(&mut self, kind: Kind) {
        if let Some(count) = self.0.get_mut(kind as usize) {
            *count = count.saturating_sub(1);
        }
    }
}

impl Index {
    /// Takes a host out, before its track changes.
    pub(crate) fn remove(&mut self, host: &HostName, track: &Track, stage: u32) {
        let kind = track.state.kind();
        self.all.subtract(kind);
        if let Some(at) = track.state.deadline() {
            self.deadlines.remove(&(at, host.clone()));
        }
        self.open.remove(host);
        self.must_leave.remove(host);
        if track.stage == stage {
            self.here.subtract(kind);
            self.queue.remove(&track.position);
            self.baking_here.remove(host);
        }
    }

    /// Takes a host in, after its track changed.
    pub(crate) fn insert(&mut self, host: &HostName, track: &Track, stage: u32, plan: &Plan) {
        self.insert_anywhere(host, track);
        if track.stage == stage {
            self.insert_here(host, track, plan);
        }
    }

    /// The part of taking a host in that does not depend on the stage.
    pub(crate) fn insert_anywhere(&mut self, host: &HostName, track: &Track) {
        let kind = track.state.kind();
        self.all.add(kind);
        if let Some(at) = track.state.deadline() {
            self.deadlines.insert((at, host.clone()));
        }
        if track.state.is_open() {
            self.open.insert(host.clone());
        }
        if track.failure.is_some() && (track.state.is_open() || kind == Kind::Pending) {
            self.must_leave.insert(host.clone());
        }
    }

    /// The part of taking a host in that is about the current stage: it is one of its hosts.
    pub(crate) fn insert_here(&mut self, host: &HostName, track: &Track, plan: &Plan) {
        let kind = track.state.kind();
        self.here.add(kind);
        if awaits_turn(track, plan) {
            self.queue.insert(track.position);
        }
        if kind == Kind::Baking {
            self.baking_here.insert(host.clone());
        }
    }

    /// Another stage begins: it has no hosts yet.
    pub(crate) fn leave_stage(&mut self) {
        self.here = Counts::default();
        self.queue.clear();
        self.baking_here.clear();
    }
}

/// The share that the new release gets on a host in its stage.
pub(crate) fn wanted_share(track: &Track, plan: &Plan) -> Share {
    let share = plan
        .stages
        .get(usize::try_from(track.stage).unwrap_or(usize::MAX))
        .map_or(Share::HIDDEN, |stage| stage.share);
    // Where nothing else can take the rest, the new one takes it.
    if track.from.is_none() && !share.is_hidden() { Share::ALL } else { share }
}

/// Whether a host of the current stage is still to be changed in it.
pub(crate) fn awaits_turn(track: &Track, plan: &Plan) -> bool {
    match &track.state {
        HostState::Pending => true,
        HostState::Baking { share, .. } => *share != wanted_share(track, plan),
        HostState::Offline { .. }
        | HostState::Starting { .. }
        | HostState::Shifting { .. }
        | HostState::Retiring { .. }
        | HostState::Done { .. }
        | HostState::Skipped { .. }
        | HostState::Removed { .. }
        | HostState::Restarting { .. }
        | HostState::ShiftingBack { .. }
        | HostState::RetiringNew { .. }
        | HostState::Returned { .. }
        | HostState::Stuck { .. } => false,
    }
}
