//! Where an instance is in its life, with what is valid there and nothing else.

use crate::{
    instance::{Group, GroupRecord, Process, ProcessKey},
    reconcile::{ObservedInstance, ObservedState},
};
use handover_model::{
    DrainLedger, InstanceId, InstancePhase, InstanceReport, Release, Share, Timestamp, config::ListenerName,
};
use serde::{Deserialize, Serialize};

/// What is written down of an instance.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InstanceRecord {
    /// Which.
    pub instance: InstanceId,
    /// What it runs.
    pub release: Release,
    /// The number of its pin, 1 to 254.
    pub pin: u8,
    /// The share that it was given last.
    pub share: Share,
    /// How often it was started again after ending by itself.
    pub restarts: u32,
    /// How often in a row it ended before it was ready for long.
    pub failures: u32,
    /// Whether it ever had a share. What has served is not verified again.
    #[serde(default)]
    pub had_share: bool,
    /// The boot in which this was written: process numbers, sockets and times mean nothing in another.
    pub boot_id: String,
    /// Where it is.
    pub life: Life,
}

/// Where an instance is, as it is written down.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Life {
    /// Its bundle is on its way.
    Fetching,
    /// Its files are here; it was never started.
    Fetched,
    /// It failed and is tried again.
    BackingOff(BackingOff),
    /// It is not tried again.
    GaveUp {
        /// Why.
        reason: String,
        /// Since when.
        since: Timestamp,
    },
    /// It has a process.
    Running {
        /// The main process.
        process: ProcessKey,
        /// All of its processes.
        group: GroupRecord,
        /// What it does.
        run: Run,
    },
    /// It is gone.
    Exited(Exited),
}

/// It failed and is tried again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BackingOff {
    /// When.
    pub until: Timestamp,
    /// Since when it waits.
    pub since: Timestamp,
    /// Whether its files are here.
    pub fetched: bool,
    /// Why it failed.
    pub reason: String,
}

/// It is gone, and this became of its connections.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Exited {
    /// When.
    pub at: Timestamp,
    /// What became of its connections.
    pub ledger: DrainLedger,
}

/// What a running instance does.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Run {
    /// It is not ready yet.
    Starting {
        /// When its program was executed.
        since: Timestamp,
        /// By then it must be ready.
        deadline: Timestamp,
        /// Whether its program was executed for sure: an agent that dies before it says so leaves a launcher, which
        /// ends.
        executed: bool,
    },
    /// It is ready.
    Ready {
        /// Since when.
        since: Timestamp,
        /// Milliseconds from exec.
        ready_millis: u64,
        /// Probes until then that were not answered well; `None` where that is not known.
        #[serde(default)]
        unready_probes: Option<u32>,
        /// Listeners on which it accepted nothing then, once somebody has looked.
        #[serde(default)]
        unserved: Option<Vec<ListenerName>>,
    },
    /// It fails its liveness probes.
    Unhealthy {
        /// Since when.
        since: Timestamp,
        /// What the last probe said.
        reason: String,
    },
    /// Its share is gone, its queues are being watched.
    Emptying {
        /// Since when.
        since: Timestamp,
        /// Until when at most.
        deadline: Timestamp,
    },
    /// It was told to drain.
    Draining {
        /// Since when.
        since: Timestamp,
        /// From then on it is killed.
        deadline: Timestamp,
        /// What is known of its connections already.
        ledger: DrainLedger,
        /// Whether the signal was sent for sure. Many programs take a second one for an order to end at once.
        signalled: bool,
    },
    /// All of its processes are being killed.
    Stopping {
        /// Since when.
        since: Timestamp,
        /// What comes then.
        then: Then,
    },
}

/// What comes when a killed instance is gone.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// It failed: it is tried again, or given up.
    Restart {
        /// Why it was killed.
        reason: String,
    },
    /// It did not fail: it is started anew, for a reason of the agent's own.
    Anew {
        /// Which.
        reason: String,
    },
    /// It failed in a way that trying again does not help: it is given up.
    GiveUp {
        /// Why it was killed.
        reason: String,
    },
    /// It was taken out.
    Gone {
        /// What is known of its connections.
        ledger: DrainLedger,
        /// When it was told to drain.
        drained_from: Timestamp,
    },
}

/// Where an instance is, with the handles that go with it.
#[derive(Debug)]
pub enum State {
    /// Its bundle is on its way.
    Fetching,
    /// Its files are here; it was never started.
    Fetched,
    /// It failed and is tried again.
    BackingOff(BackingOff),
    /// It is not tried again.
    GaveUp {
        /// Why.
        reason: String,
        /// Since when.
        since: Timestamp,
    },
    /// Its process is being made.
    Launching,
    /// It has a process.
    Running {
        /// The main process.
        process: Process,
        /// All of its processes.
        group: Group,
        /// What it does.
        run: Run,
    },
    /// It is gone.
    Exited(Exited),
}

impl State {
    /// What of it is written down.
    #[must_use]
    pub fn life(&self) -> Life {
        match self {
            Self::Fetching => Life::Fetching,
            // A launch that did not come to its end left no process: the launcher waits for the journal.
            Self::Fetched | Self::Launching => Life::Fetched,
            Self::BackingOff(back_off) => Life::BackingOff(back_off.clone()),
            Self::GaveUp { reason, since } => Life::GaveUp { reason: reason.clone(), since: *since },
            Self::Running { process, group, run } => {
                Life::Running { process: process.key(), group: group.record(), run: run.clone() }
            }
            Self::Exited(exited) => Life::Exited(*exited),
        }
    }

    /// What `reconcile` needs to know of it.
    #[must_use]
    pub fn observed(&self, share: Share, queues_empty: bool) -> ObservedInstance {
        let state = match self {
            Self::Fetching => ObservedState::Fetching,
            Self::Fetched => ObservedState::Fetched,
            Self::BackingOff(BackingOff { until, fetched, .. }) => {
                ObservedState::BackingOff { until: *until, fetched: *fetched }
            }
            Self::GaveUp { .. } => ObservedState::GaveUp,
            Self::Launching => ObservedState::Launching,
            Self::Running { run, .. } => match run {
                Run::Starting { deadline, .. } => ObservedState::Starting { deadline: *deadline },
                Run::Ready { .. } => ObservedState::Ready,
                Run::Unhealthy { .. } => ObservedState::Unhealthy,
                Run::Emptying { deadline, .. } => {
                    ObservedState::Emptying { empty: queues_empty, deadline: *deadline }
                }
                Run::Draining { deadline, .. } => ObservedState::Draining { deadline: *deadline },
                Run::Stopping { .. } => ObservedState::Stopping,
            },
            Self::Exited(_) => ObservedState::Exited,
        };
        ObservedInstance { share, state }
    }

    /// The processes, while there are some.
    #[must_use]
    pub fn group(&self) -> Option<&Group> {
        match self {
            Self::Running { group, .. } => Some(group),
            Self::Fetching
            | Self::Fetched
            | Self::BackingOff(_)
            | Self::GaveUp { .. }
            | Self::Launching
            | Self::Exited(_) => None,
        }
    }

    /// Fills in what a report says of the state. `waits` is what the agent's tasks say that they wait for, `entered`
    /// is since when the instance is in its state.
    pub fn describe(&self, report: &mut InstanceReport, waits: &str, entered: Timestamp) {
        let mut set = |phase, since, until, detail: &str| {
            report.phase = phase;
            report.since = since;
            report.until = until;
            report.detail = detail.chars().take(1_000).collect();
        };
        match self {
            Self::Fetching => set(InstancePhase::Fetching, entered, None, waits),
            Self::Fetched | Self::Launching => set(InstancePhase::Starting, entered, None, waits),
            Self::BackingOff(b) => set(InstancePhase::BackingOff, b.since, Some(b.until), &b.reason),
            Self::GaveUp { reason, since } => set(InstancePhase::GaveUp, *since, None, reason),
            Self::Running { process, run, .. } => {
                match run {
                    Run::Starting { since, deadline, .. } => {
                        set(InstancePhase::Starting, *since, Some(*deadline), waits);
                    }
                    Run::Ready { since, ready_millis, unready_probes, unserved } => {
                        set(InstancePhase::Ready, *since, None, waits);
                        report.ready_millis = Some(*ready_millis);
                        report.unready_probes = *unready_probes;
                        report.unserved.clone_from(unserved);
                    }
                    Run::Unhealthy { since, reason } => set(InstancePhase::Unhealthy, *since, None, reason),
                    Run::Emptying { since, deadline } => {
                        set(InstancePhase::Draining, *since, Some(*deadline), "its queues become empty");
                    }
                    Run::Draining { since, deadline, ledger, .. } => {
                        set(InstancePhase::Draining, *since, Some(*deadline), "it finishes its connections");
                        report.ledger = Some(*ledger);
                    }
                    Run::Stopping { since, then } => {
                        let reason = match then {
                            Then::Restart { reason } | Then::Anew { reason } | Then::GiveUp { reason } => {
                                reason.as_str()
                            }
                            Then::Gone { .. } => "its processes end",
                        };
                        set(InstancePhase::Stopping, *since, None, reason);
                    }
                }
                report.pid = Some(process.pid());
            }
            Self::Exited(exited) => {
                set(InstancePhase::Exited, exited.at, None, "");
                report.ledger = Some(exited.ledger);
            }
        }
    }
}
