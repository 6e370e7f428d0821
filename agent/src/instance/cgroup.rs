//! Containment: how the agent finds and ends all processes of an instance, whatever they forked.
//!
//! Drivers behind one interface: a cgroup of its own for each instance, or, where no cgroup is writable, its
//! session. (A systemd scope for each is to become a third: it is a cgroup made by somebody else.)
//! Everything here reads and writes small files of /proc and cgroupfs and blocks for microseconds.

use super::{
    cgroup2::{CgroupDir, Hierarchy},
    error::LaunchError,
    process::{ProcessKey, signal_through},
    process_group::ProcessGroup,
    sockets,
};
use nix::sys::signal::Signal;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeSet,
    fmt, io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// How often a group that was killed is looked at until it is empty.
const EMPTY_STEP: Duration = Duration::from_millis(2);

/// Limits of all processes of an instance together, kept by its cgroup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CgroupLimits {
    /// Bytes of memory: memory.max.
    pub memory: Option<u64>,
    /// Percent of one processor: cpu.max. 150 is one and a half.
    pub cpu: Option<u32>,
    /// Processes and threads: pids.max.
    pub tasks: Option<u64>,
}

impl CgroupLimits {
    /// The limits that are set: the manifest's word, the controller, the file, and what is written to it.
    pub(super) fn settings(self) -> impl Iterator<Item = (&'static str, &'static str, &'static str, String)> {
        // cpu.max is "quota period" in microseconds; the period is the kernel's default.
        let cpu = self
            .cpu
            .map(|percent| ("cpu", "cpu", "cpu.max", format!("{} 100000", u64::from(percent) * 1000)));
        let memory = self.memory.map(|bytes| ("memory", "memory", "memory.max", bytes.to_string()));
        let tasks = self.tasks.map(|count| ("tasks", "pids", "pids.max", count.to_string()));
        [memory, cpu, tasks].into_iter().flatten()
    }
}

/// What this host offers for keeping an instance together.
#[derive(Clone, Debug)]
pub enum Containment {
    /// A cgroup for each instance.
    Cgroup(Hierarchy),
    /// A session for each instance. A process that begins a session of its own (setsid(2) after a double fork) is
    /// no longer found; operators see `why` in the agent's log.
    ProcessGroup {
        /// Why there are no cgroups.
        why: String,
    },
}

impl Containment {
    /// Finds out what can be used: cgroups below `<cgroup2>/<root>` if they can be made and joined. Agents that
    /// share a machine (as in tests) need different roots.
    #[must_use]
    pub fn detect(root: &str) -> Self {
        match Hierarchy::open(root) {
            Ok(hierarchy) => Self::Cgroup(hierarchy),
            Err(why) => Self::ProcessGroup { why },
        }
    }

    /// Sessions, even where there are cgroups.
    #[must_use]
    pub fn process_groups(why: impl Into<String>) -> Self {
        Self::ProcessGroup { why: why.into() }
    }

    /// Makes the place for a new instance, with its limits.
    ///
    /// # Errors
    /// When a limit cannot be kept on this host, or the cgroup cannot be made. No limit is ever left out silently.
    pub fn place(&self, instance: &str, limits: CgroupLimits) -> Result<Place, LaunchError> {
        match self {
            Self::Cgroup(hierarchy) => Ok(Place(Spot::Cgroup(hierarchy.make(instance, limits)?))),
            Self::ProcessGroup { why } => match limits.settings().next() {
                None => Ok(Place(Spot::Session)),
                Some((limit, controller, ..)) => Err(LaunchError::Limit {
                    limit,
                    controller,
                    why: format!(
                        "no cgroup is writable on this host ({why}); leave the limit out or give the agent one"
                    ),
                    source: None,
                }),
            },
        }
    }

    /// Removes what was made for all instances, once none is left. Best effort: an empty folder does no harm.
    pub fn give_back(&self) {
        if let Self::Cgroup(hierarchy) = self {
            hierarchy.give_back();
        }
    }

    /// The session that `leader` began, whatever cgroup it is in.
    pub(super) fn session_of(leader: ProcessKey, instance: &str) -> Group {
        Group(Kind::ProcessGroup(ProcessGroup::led_by(leader, instance)))
    }

    /// The names of all instances that have a cgroup here, also of ones that the journal does not know any more.
    ///
    /// # Errors
    /// When cgroupfs cannot be read.
    pub fn instances(&self) -> io::Result<BTreeSet<String>> {
        match self {
            Self::Cgroup(hierarchy) => hierarchy.instances(),
            Self::ProcessGroup { .. } => Ok(BTreeSet::new()),
        }
    }

    /// The group of an instance that has a cgroup here: for ending one that nobody knows.
    #[must_use]
    pub fn leftover(&self, instance: &str) -> Option<Group> {
        match self {
            Self::Cgroup(hierarchy) => hierarchy.existing(instance).map(|dir| Group(Kind::Cgroup(dir))),
            Self::ProcessGroup { .. } => None,
        }
    }
}

impl fmt::Display for Containment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cgroup(hierarchy) => write!(f, "cgroups below {}", hierarchy.root().display()),
            Self::ProcessGroup { why } => write!(f, "process groups, as no cgroup is writable: {why}"),
        }
    }
}

/// Where a new instance goes.
#[derive(Clone, Debug)]
pub struct Place(Spot);

#[derive(Clone, Debug)]
enum Spot {
    Cgroup(CgroupDir),
    Session,
}

impl Place {
    /// The cgroup that the launcher joins.
    pub(super) fn cgroup(&self) -> Option<&Path> {
        match &self.0 {
            Spot::Cgroup(dir) => Some(dir.path()),
            Spot::Session => None,
        }
    }

    /// The group that the launcher, a session's leader, is in.
    pub(super) fn group_of(self, leader: ProcessKey, instance: &str) -> Group {
        Group(match self.0 {
            Spot::Cgroup(dir) => Kind::Cgroup(dir),
            Spot::Session => Kind::ProcessGroup(ProcessGroup::led_by(leader, instance)),
        })
    }
}

/// A group in a form for the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupRecord {
    /// The cgroup's folder.
    Cgroup {
        /// Absolute.
        path: PathBuf,
    },
    /// The session.
    ProcessGroup {
        /// Its first process.
        leader: ProcessKey,
        /// The instance, by which an orphan's environment is known.
        instance: String,
    },
}

/// All processes of one instance.
#[derive(Clone, Debug)]
pub struct Group(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Cgroup(CgroupDir),
    ProcessGroup(ProcessGroup),
}

/// Processes that did not go away.
#[derive(Debug, thiserror::Error)]
pub enum KillError {
    /// Some are left: stuck in the kernel (state D), most likely on a file system that hangs.
    #[error("after {after:?} of SIGKILL these processes are left, stuck in the kernel most likely: {left:?}")]
    Left {
        /// The deadline.
        after: Duration,
        /// Their pids.
        left: Vec<i32>,
    },
    /// The group cannot be read or written.
    #[error("cannot end the processes of {group}")]
    Io {
        /// Which group.
        group: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl Group {
    /// For the journal.
    #[must_use]
    pub fn record(&self) -> GroupRecord {
        match &self.0 {
            Kind::Cgroup(dir) => GroupRecord::Cgroup { path: dir.path().to_owned() },
            Kind::ProcessGroup(group) => {
                GroupRecord::ProcessGroup { leader: group.leader(), instance: group.instance().to_owned() }
            }
        }
    }

    /// From the journal, after the agent started again during the same boot.
    ///
    /// # Errors
    /// When /proc cannot be read.
    pub fn reopen(record: GroupRecord) -> io::Result<Self> {
        Ok(Self(match record {
            GroupRecord::Cgroup { path } => Kind::Cgroup(CgroupDir::at(path)),
            GroupRecord::ProcessGroup { leader, instance } => {
                Kind::ProcessGroup(ProcessGroup::reopen(leader, instance)?)
            }
        }))
    }

    /// The place of this group, for what is to run beside it: a probe's command. Where there is no cgroup, a session
    /// of its own.
    #[must_use]
    pub fn place_beside(&self) -> Place {
        Place(match &self.0 {
            Kind::Cgroup(dir) => Spot::Cgroup(dir.clone()),
            Kind::ProcessGroup(_) => Spot::Session,
        })
    }

    /// The pids of all living processes, zombies left out; in no order.
    ///
    /// # Errors
    /// When cgroupfs or /proc cannot be read.
    pub fn members(&self) -> io::Result<Vec<i32>> {
        match &self.0 {
            Kind::Cgroup(dir) => dir.members(),
            Kind::ProcessGroup(group) => group.members(),
        }
    }

    /// Whether `pid` is one of the living processes.
    ///
    /// # Errors
    /// When cgroupfs or /proc cannot be read.
    pub fn contains(&self, pid: i32) -> io::Result<bool> {
        Ok(self.members()?.contains(&pid))
    }

    /// Whether no process is left.
    ///
    /// # Errors
    /// When cgroupfs or /proc cannot be read.
    pub fn is_empty(&self) -> io::Result<bool> {
        match &self.0 {
            Kind::Cgroup(dir) => dir.is_empty(),
            Kind::ProcessGroup(group) => Ok(group.members()?.is_empty()),
        }
    }

    /// Ends every process with SIGKILL and waits until none is left.
    ///
    /// # Errors
    /// When some are left after `deadline`, or the group cannot be reached.
    pub async fn kill(&self, deadline: Duration) -> Result<(), KillError> {
        let failed = |source| KillError::Io { group: self.to_string(), source };
        let began = Instant::now();
        let at_once = match &self.0 {
            Kind::Cgroup(dir) => dir.kill().map_err(failed)?,
            Kind::ProcessGroup(_) => false,
        };
        loop {
            if self.is_empty().map_err(failed)? {
                return Ok(());
            }
            let left = self.members().map_err(failed)?;
            if began.elapsed() >= deadline {
                return Err(KillError::Left { after: deadline, left });
            }
            if !at_once {
                // What forks while it is being killed is found in the next round.
                self.kill_each(&left).map_err(failed)?;
            }
            tokio::time::sleep(EMPTY_STEP).await;
        }
    }

    /// SIGKILL to every process that is there now; does not wait.
    pub(crate) fn kill_once(&self) -> io::Result<()> {
        if let Kind::Cgroup(dir) = &self.0
            && dir.kill()?
        {
            return Ok(());
        }
        self.kill_each(&self.members()?)
    }

    fn kill_each(&self, pids: &[i32]) -> io::Result<()> {
        pids.iter().try_for_each(|&pid| self.kill_member(pid))
    }

    /// SIGKILL through a pidfd, after another look: `pid` may have become somebody else's since it was listed.
    fn kill_member(&self, pid: i32) -> io::Result<()> {
        let Some(target) = Pid::from_raw(pid) else { return Ok(()) };
        match pidfd_open(target, PidfdFlags::empty()) {
            Ok(pidfd) if self.contains(pid)? => signal_through(pidfd.as_fd(), Signal::SIGKILL).map(drop),
            Ok(_) | Err(rustix::io::Errno::SRCH | rustix::io::Errno::INVAL) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes what was made for it: the cgroup's folder, once it is empty.
    ///
    /// # Errors
    /// When processes are left in it.
    pub fn remove(&self) -> io::Result<()> {
        match &self.0 {
            Kind::Cgroup(dir) => dir.remove(),
            Kind::ProcessGroup(_) => Ok(()),
        }
    }

    /// The inodes of all sockets that its processes have open. Walks all their descriptors: with a hundred thousand
    /// of them this takes a good part of a second, so call it off the runtime.
    ///
    /// # Errors
    /// When /proc cannot be read.
    pub fn sockets(&self) -> io::Result<BTreeSet<u64>> {
        sockets::inodes_of(&self.members()?)
    }

    /// Whether one of its processes has the socket with this inode open.
    ///
    /// # Errors
    /// When /proc cannot be read.
    pub fn has_socket(&self, inode: u64) -> io::Result<bool> {
        Ok(sockets::holder_of(&self.members()?, inode)?.is_some())
    }

    /// A duplicate of the socket with this inode; `None` where no process has it open any more. For an agent that
    /// started again and lost its own.
    ///
    /// # Errors
    /// When the agent may not take it (ptrace(2) access mode), or /proc cannot be read.
    pub fn take_socket(&self, inode: u64) -> io::Result<Option<OwnedFd>> {
        sockets::take(&self.members()?, inode)
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Cgroup(dir) => write!(f, "cgroup {}", dir.path().display()),
            Kind::ProcessGroup(group) => write!(f, "the session of process {}", group.leader().pid),
        }
    }
}
