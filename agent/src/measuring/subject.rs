//! Who is measured.

use crate::{instance::Group, supervisor::Way};
use handover_model::{InstanceId, ServiceName, Share, config::MetricsConfig};
use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

/// Everybody who is measured on this host.
pub type Roster = BTreeMap<ServiceName, Vec<Subject>>;

/// One instance.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Which.
    pub instance: InstanceId,
    /// Counted up with each start: what was counted of an earlier one is not its.
    pub life: u64,
    /// How often it was started again, as reports have it.
    pub run: u32,
    /// What the kernel gives it.
    pub share: Share,
    /// How it is asked for its metrics.
    pub asked: Asked,
    /// What its manifest says; `None` where that has no `[metrics]`.
    pub config: Option<MetricsConfig>,
    /// Where it listens.
    pub listeners: Vec<SocketAddr>,
    /// Its processes.
    pub group: Group,
}

/// How an instance is asked for its metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// This way.
    By(Way),
    /// Not while it is starting: all that it is asked then is whether it is ready.
    NotYet,
    /// It has no way, or has lost its listening sockets.
    Unreachable,
}

/// One life of an instance has one group of processes.
impl PartialEq for Subject {
    fn eq(&self, other: &Self) -> bool {
        let Self { instance, life, run, share, asked, config, listeners, group: _ } = self;
        *instance == other.instance
            && *life == other.life
            && *run == other.run
            && *share == other.share
            && *asked == other.asked
            && *config == other.config
            && *listeners == other.listeners
    }
}

impl Eq for Subject {}

/// How often all of them are measured together: as often as the one that wants it most.
pub(super) fn interval(subjects: &[Subject]) -> Duration {
    const LONGEST: Duration = Duration::from_secs(60);
    let wanted = subjects.iter().filter_map(|subject| subject.config.as_ref()).map(|config| config.interval);
    wanted.min().unwrap_or(LONGEST)
}
