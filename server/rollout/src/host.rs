//! One host in a deployment: where it is on its way from the old instance to the new one, or back.

use handover_model::{DrainLedger, Share, Timestamp};
use serde::{Deserialize, Serialize};

/// Where a host is. A is the instance that ran before the deployment, B the new one.
///
/// Forward: pending, (offline), starting, shifting, baking, retiring, done.
/// Back: (restarting), shifting back, retiring the new one, returned; or stuck.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostState {
    /// Its turn has not come; nothing was ordered.
    Pending,
    /// Its turn came while it was offline; nothing was ordered.
    Offline {
        /// Since its turn.
        since: Timestamp,
        /// Then it counts as failed.
        until: Timestamp,
    },
    /// B is started with share 0 beside A, until it is ready.
    Starting {
        /// When it was ordered.
        since: Timestamp,
        /// Then it counts as failed.
        until: Timestamp,
    },
    /// B is ready and is being given its share.
    Shifting {
        /// When it was ordered.
        since: Timestamp,
        /// Then it counts as failed.
        until: Timestamp,
        /// B's share; A has the rest.
        share: Share,
    },
    /// B has its share in the kernel; A stands by with the rest.
    Baking {
        /// Since when.
        since: Timestamp,
        /// B's share; A has the rest.
        share: Share,
    },
    /// B has everything; A finishes its connections.
    Retiring {
        /// When it was ordered.
        since: Timestamp,
        /// Then the host is done, with a note.
        until: Timestamp,
    },
    /// B has everything, alone or with A standing by.
    Done {
        /// Since when.
        at: Timestamp,
        /// What became of A's connections, where the agent told.
        ledger: Option<DrainLedger>,
        /// What an operator should know besides; empty where there is nothing.
        note: String,
        /// Whether A stands by, hidden, after the deployment.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        standby: bool,
    },
    /// Left out; nothing was ordered.
    Skipped {
        /// Why.
        reason: String,
    },
    /// Taken out of the fleet; nothing can be ordered.
    Removed {
        /// When.
        at: Timestamp,
    },
    /// On the way back where A was retired already: its release is started again beside B, which keeps everything.
    Restarting {
        /// When it was ordered.
        since: Timestamp,
        /// Then the host is stuck.
        until: Timestamp,
    },
    /// On the way back: everything is given to the former release; B stands by hidden.
    ShiftingBack {
        /// When it was ordered.
        since: Timestamp,
        /// Then the host is stuck.
        until: Timestamp,
        /// Which instance runs the former release.
        former: Former,
    },
    /// On the way back: B finishes its connections.
    RetiringNew {
        /// When it was ordered.
        since: Timestamp,
        /// Then the host is returned with a note; or stuck, where there was nothing before B.
        until: Timestamp,
        /// Which instance runs the former release.
        former: Former,
    },
    /// Back on the former release alone, or without the service where it had none.
    Returned {
        /// Since when.
        at: Timestamp,
        /// Which instance runs the former release.
        former: Former,
        /// What became of B's connections, where the agent told.
        ledger: Option<DrainLedger>,
        /// What an operator should know besides; empty where there is nothing.
        note: String,
        /// Whether B, which stood by before the deployment, does so again.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        standby: bool,
    },
    /// It could not be shown to be back in time. The former release stays ordered, so that it heals when it can.
    Stuck {
        /// Since when.
        at: Timestamp,
        /// Which instance should run the former release.
        former: Former,
        /// What is in the way.
        reason: String,
    },
}

/// Which instance runs the former release. Means nothing where the host had none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Former {
    /// A itself: it never ended.
    Kept,
    /// One that was started again, since A was retired: `<service>-<deployment>-r`.
    StartedAgain,
}

/// The states without what they hold, to be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Pending,
    Offline,
    Starting,
    Shifting,
    Baking,
    Retiring,
    Done,
    Skipped,
    Removed,
    Returning,
    Returned,
    Stuck,
}

impl Kind {
    /// How many kinds there are.
    pub(crate) const COUNT: usize = 12;
}

impl HostState {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Pending => Kind::Pending,
            Self::Offline { .. } => Kind::Offline,
            Self::Starting { .. } => Kind::Starting,
            Self::Shifting { .. } => Kind::Shifting,
            Self::Baking { .. } => Kind::Baking,
            Self::Retiring { .. } => Kind::Retiring,
            Self::Done { .. } => Kind::Done,
            Self::Skipped { .. } => Kind::Skipped,
            Self::Removed { .. } => Kind::Removed,
            Self::Restarting { .. } | Self::ShiftingBack { .. } | Self::RetiringNew { .. } => Kind::Returning,
            Self::Returned { .. } => Kind::Returned,
            Self::Stuck { .. } => Kind::Stuck,
        }
    }

    /// The state in one word, as the protocol has it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self.kind() {
            Kind::Pending => "pending",
            Kind::Offline => "offline",
            Kind::Starting => "starting",
            Kind::Shifting => "shifting",
            Kind::Baking => "baking",
            Kind::Retiring => "retiring",
            Kind::Done => "done",
            Kind::Skipped | Kind::Removed => "skipped",
            Kind::Returning => "returning",
            Kind::Returned => "returned",
            Kind::Stuck => "stuck",
        }
    }

    /// Why it was skipped or is stuck, or what is to be noted of it; empty where there is nothing to say.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Done { note, .. } | Self::Returned { note, .. } => note,
            Self::Skipped { reason } | Self::Stuck { reason, .. } => reason,
            Self::Removed { .. } => "removed from the fleet",
            Self::Pending
            | Self::Offline { .. }
            | Self::Starting { .. }
            | Self::Shifting { .. }
            | Self::Baking { .. }
            | Self::Retiring { .. }
            | Self::Restarting { .. }
            | Self::ShiftingBack { .. }
            | Self::RetiringNew { .. } => "",
        }
    }

    /// What became of the connections of the instance that was retired last, where the agent told.
    #[must_use]
    pub fn ledger(&self) -> Option<DrainLedger> {
        match self {
            Self::Done { ledger, .. } | Self::Returned { ledger, .. } => *ledger,
            Self::Pending
            | Self::Offline { .. }
            | Self::Starting { .. }
            | Self::Shifting { .. }
            | Self::Baking { .. }
            | Self::Retiring { .. }
            | Self::Skipped { .. }
            | Self::Removed { .. }
            | Self::Restarting { .. }
            | Self::ShiftingBack { .. }
            | Self::RetiringNew { .. }
            | Self::Stuck { .. } => None,
        }
    }

    /// When something happens by itself, where it does.
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        match self {
            Self::Offline { until, .. }
            | Self::Starting { until, .. }
            | Self::Shifting { until, .. }
            | Self::Retiring { until, .. }
            | Self::Restarting { until, .. }
            | Self::ShiftingBack { until, .. }
            | Self::RetiringNew { until, .. } => Some(*until),
            Self::Pending
            | Self::Baking { .. }
            | Self::Done { .. }
            | Self::Skipped { .. }
            | Self::Removed { .. }
            | Self::Returned { .. }
            | Self::Stuck { .. } => None,
        }
    }

    /// The same state with its deadline at `earliest` or later.
    pub(crate) fn lift(&mut self, earliest: Timestamp) {
        match self {
            Self::Offline { until, .. }
            | Self::Starting { until, .. }
            | Self::Shifting { until, .. }
            | Self::Retiring { until, .. }
            | Self::Restarting { until, .. }
            | Self::ShiftingBack { until, .. }
            | Self::RetiringNew { until, .. } => *until = earliest.max(*until),
            Self::Pending
            | Self::Baking { .. }
            | Self::Done { .. }
            | Self::Skipped { .. }
            | Self::Removed { .. }
            | Self::Returned { .. }
            | Self::Stuck { .. } => {}
        }
    }

    /// Whether the deployment has something here that it must undo, finish or give up.
    pub(crate) fn is_open(&self) -> bool {
        match self.kind() {
            Kind::Offline | Kind::Starting | Kind::Shifting | Kind::Baking | Kind::Retiring | Kind::Done => {
                true
            }
            Kind::Pending
            | Kind::Skipped
            | Kind::Removed
            | Kind::Returning
            | Kind::Returned
            | Kind::Stuck => false,
        }
    }

    /// Whether a host in this state can come into state `to`.
    pub(crate) fn can_become(&self, to: &Self) -> bool {
        use Former::{Kept, StartedAgain};
        if matches!(to, Self::Removed { .. }) {
            return !matches!(self, Self::Removed { .. } | Self::Skipped { .. });
        }
        match self {
            Self::Pending => {
                matches!(
                    to,
                    Self::Offline { .. }
                        | Self::Starting { .. }
                        | Self::Shifting { .. }
                        | Self::Skipped { .. }
                )
            }
            Self::Offline { .. } => matches!(to, Self::Pending | Self::Skipped { .. }),
            Self::Starting { .. } => {
                matches!(
                    to,
                    Self::Shifting { .. } | Self::Baking { .. } | Self::RetiringNew { former: Kept, .. }
                )
            }
            Self::Shifting { .. } => matches!(
                to,
                Self::Baking { .. }
                    | Self::ShiftingBack { former: Kept, .. }
                    | Self::RetiringNew { former: Kept, .. }
            ),
            Self::Baking { .. } => matches!(
                to,
                Self::Shifting { .. }
                    | Self::Retiring { .. }
                    | Self::Done { .. }
                    | Self::ShiftingBack { former: Kept, .. }
                    | Self::RetiringNew { former: Kept, .. }
            ),
            Self::Retiring { .. } => matches!(to, Self::Done { .. } | Self::Restarting { .. }),
            Self::Done { standby, .. } => match to {
                Self::Restarting { .. } => !standby,
                Self::ShiftingBack { former: Kept, .. } => *standby,
                Self::RetiringNew { former: Kept, .. } => true,
                Self::Pending
                | Self::Offline { .. }
                | Self::Starting { .. }
                | Self::Shifting { .. }
                | Self::Baking { .. }
                | Self::Retiring { .. }
                | Self::Done { .. }
                | Self::Skipped { .. }
                | Self::Removed { .. }
                | Self::ShiftingBack { .. }
                | Self::RetiringNew { .. }
                | Self::Returned { .. }
                | Self::Stuck { .. } => false,
            },
            Self::Restarting { .. } => matches!(
                to,
                Self::ShiftingBack { former: StartedAgain, .. } | Self::Stuck { former: StartedAgain, .. }
            ),
            Self::ShiftingBack { former, .. } => match to {
                Self::RetiringNew { former: other, .. }
                | Self::Stuck { former: other, .. }
                | Self::Returned { former: other, standby: true, .. } => former == other,
                Self::Pending
                | Self::Offline { .. }
                | Self::Starting { .. }
                | Self::Shifting { .. }
                | Self::Baking { .. }
                | Self::Retiring { .. }
                | Self::Done { .. }
                | Self::Skipped { .. }
                | Self::Removed { .. }
                | Self::Restarting { .. }
                | Self::ShiftingBack { .. }
                | Self::Returned { .. } => false,
            },
            Self::RetiringNew { former, .. } | Self::Stuck { former, .. } => match to {
                Self::Returned { former: other, standby: false, .. } => former == other,
                Self::Stuck { former: other, .. } => {
                    former == other && matches!(self, Self::RetiringNew { .. })
                }
                Self::Pending
                | Self::Offline { .. }
                | Self::Starting { .. }
                | Self::Shifting { .. }
                | Self::Baking { .. }
                | Self::Retiring { .. }
                | Self::Done { .. }
                | Self::Skipped { .. }
                | Self::Removed { .. }
                | Self::Restarting { .. }
                | Self::ShiftingBack { .. }
                | Self::RetiringNew { .. }
                | Self::Returned { .. } => false,
            },
            Self::Skipped { .. } | Self::Removed { .. } | Self::Returned { .. } => false,
        }
    }
}
