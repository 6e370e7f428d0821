//! The driver for hosts without a writable cgroup: an instance is a session.
//!
//! The launcher begins a session, so the session's number is its pid. The kernel does not give that number away as
//! long as a process of the session or the group is left (pid(7) keeps a number that is in use as one of them).

use super::{process::ProcessKey, procfs};
use std::io;

/// The session that one launcher began.
#[derive(Clone, Debug)]
pub(super) struct ProcessGroup {
    leader: ProcessKey,
    instance: String,
    /// The leader was gone before this agent looked: the number may have been given to a stranger meanwhile, who
    /// began a session and went away too. What is left in it must then prove by its environment whose it is.
    doubtful: bool,
}

impl ProcessGroup {
    /// The session of a launcher that is alive.
    pub(super) fn led_by(leader: ProcessKey, instance: &str) -> Self {
        Self { leader, instance: instance.to_owned(), doubtful: false }
    }

    /// The session of a launcher that an earlier agent started.
    pub(super) fn reopen(leader: ProcessKey, instance: String) -> io::Result<Self> {
        let alive = procfs::stat(pid_of(leader))?.is_some_and(|stat| stat.start_time == leader.start_time);
        Ok(Self { leader, instance, doubtful: !alive })
    }

    pub(super) fn leader(&self) -> ProcessKey {
        self.leader
    }

    pub(super) fn instance(&self) -> &str {
        &self.instance
    }

    /// All living processes of the session, and of its first process group.
    pub(super) fn members(&self) -> io::Result<Vec<i32>> {
        let session = pid_of(self.leader);
        let taken = procfs::stat(session)?.is_some_and(|stat| stat.start_time != self.leader.start_time);
        if taken {
            // Somebody else has the number: so nothing of ours is left that had kept it.
            return Ok(Vec::new());
        }
        let mark = format!("HANDOVER_INSTANCE={}", self.instance);
        let mut members = Vec::new();
        for pid in procfs::pids()? {
            let Some(stat) = procfs::stat(pid)? else { continue };
            let inside = stat.session == session || stat.group == session;
            if inside && !stat.is_dead() && (!self.doubtful || procfs::was_started_with(pid, &mark)) {
                members.push(pid);
            }
        }
        Ok(members)
    }
}

/// A pid that cannot be is that of nobody.
fn pid_of(key: ProcessKey) -> i32 {
    i32::try_from(key.pid).unwrap_or(i32::MAX)
}
