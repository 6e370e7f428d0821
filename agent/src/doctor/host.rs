//! What the machine itself offers. Things that can be tried are tried; what that means is said in `checks`.

use super::{
    Check,
    checks::{
        OtherAgent, cgroups, descriptors, disk, disk_unknown, gate, journald, migration, other_agent, pidfd,
        pidfd_getfd, queues, taking_sockets_back,
    },
};
use crate::{
    disks::{Disks, nearest},
    facts,
    instance::{Containment, logs::journald_is_there},
};
use handover_model::chain;
use nix::{
    fcntl::{Flock, FlockArg},
    sys::resource::{Resource, getrlimit},
};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd as take_fd, pidfd_open};
use std::{
    fs::{self, File},
    os::fd::AsRawFd as _,
    path::Path,
};

pub(super) fn checks(state: &Path, disks: &Disks) -> Vec<Check> {
    let mut checks = vec![
        gate(handover_gate::try_gate().map_err(|error| chain(&error))),
        pidfd(pidfd_open(getpid(), PidfdFlags::empty()).map(drop).map_err(|error| error.to_string())),
        pidfd_getfd(taken_from_itself()),
        taking_sockets_back(number("/proc/sys/kernel/yama/ptrace_scope"), capabilities()),
        cgroups(contained()),
        journald(journald_is_there()),
        migration(facts::tcp_migrate_req()),
        descriptors(getrlimit(Resource::RLIMIT_NOFILE)),
        queues(number("/proc/sys/net/core/somaxconn")),
        other_agent(state, look_for_another(state)),
    ];
    let found = disks.now();
    if !found.iter().any(|disk| disk.folders.iter().any(|folder| folder == "state")) {
        checks.push(disk_unknown(nearest(state)));
    }
    checks.extend(found.iter().map(disk));
    checks
}

/// Takes a descriptor of this process out of it: what seccomp forbids, it forbids here too.
fn taken_from_itself() -> Result<(), String> {
    let taken = pidfd_open(getpid(), PidfdFlags::empty()).and_then(|pidfd| {
        let own = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?.0;
        take_fd(&pidfd, own.as_raw_fd(), PidfdGetfdFlags::empty())
    });
    taken.map(drop).map_err(|error| error.to_string())
}

/// Whether instances get a cgroup each, or why not.
fn contained() -> Result<(), String> {
    let found = Containment::detect(&format!("handover-doctor-{}", std::process::id()));
    found.give_back();
    match found {
        Containment::Cgroup(_) => Ok(()),
        Containment::ProcessGroup { why } => Err(why),
    }
}

/// The effective capabilities of this process, proc_pid_status(5).
fn capabilities() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(effective.trim(), 16).ok()
}

fn look_for_another(state: &Path) -> OtherAgent {
    let Ok(file) = File::open(state.join("agent.lock")) else { return OtherAgent::Never };
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(_) => OtherAgent::NotNow,
        Err(_) => OtherAgent::Runs,
    }
}

fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_that_runs_is_seen_by_its_lock() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(look_for_another(folder.path()), OtherAgent::Never);
        let file = File::create(folder.path().join("agent.lock")).unwrap();
        let held = Flock::lock(file, FlockArg::LockExclusiveNonblock).unwrap();
        assert_eq!(look_for_another(folder.path()), OtherAgent::Runs);
        drop(held);
        assert_eq!(look_for_another(folder.path()), OtherAgent::NotNow);
    }
}
