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
    /// What is counted for the limits of its manifest alone.
    pub limited: Limited,
    /// Where it listens.
    pub listeners: Vec<SocketAddr>,
    /// Its processes.
    pub group: Group,
}

/// What is counted only where somebody has set a limit on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limited {
    /// How connections end (`judge.max_resets`).
    pub resets: bool,
    /// How many are turned away (`judge.max_refused`).
    pub refused: bool,
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
        let Self { instance, life, run, share, asked, config, limited, listeners, group: _ } = self;
        *instance == other.instance
            && *life == other.life
            && *run == other.run
            && *share == other.share
            && *asked == other.asked
            && *config == other.config
            && *limited == other.limited
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

/// Whether one of a service's instances is compared with another one.
pub(super) const fn are_compared(subjects: &[Subject]) -> bool {
    subjects.len() > 1
}

/// What is counted of all of them: what the limits of one need, old or new, of both.
pub(super) fn limited(subjects: &[Subject]) -> Limited {
    let any = |limit: fn(&Limited) -> bool| {
        are_compared(subjects) && subjects.iter().any(|subject| limit(&subject.limited))
    };
    Limited { resets: any(|limited| limited.resets), refused: any(|limited| limited.refused) }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::instance::{GroupRecord, ProcessKey};

    /// An instance in its so manieth life.
    pub(in crate::measuring) fn subject(life: u64) -> Subject {
        let leader = ProcessKey { pid: std::process::id(), start_time: 0 };
        let record = GroupRecord::ProcessGroup { leader, instance: String::new() };
        Subject {
            instance: "web-1".parse().unwrap(),
            life,
            run: 0,
            share: Share::HIDDEN,
            asked: Asked::NotYet,
            config: None,
            limited: Limited::default(),
            listeners: Vec::new(),
            group: Group::reopen(record).unwrap(),
        }
    }

    #[test]
    fn what_the_limits_of_one_need_is_counted_of_both_and_of_nobody_who_is_alone() {
        let with = |resets, refused| Subject { limited: Limited { resets, refused }, ..subject(1) };
        assert_eq!(limited(&[with(true, true)]), Limited::default());
        assert_eq!(
            limited(&[with(false, false), with(false, true)]),
            Limited { resets: false, refused: true }
        );
        assert_eq!(
            limited(&[with(true, false), with(false, false)]),
            Limited { resets: true, refused: false }
        );
    }
}
