//! What the machine itself offers. Things that can be tried are tried.

use super::Check;
use crate::{
    facts,
    instance::{Containment, logs::journald_is_there},
};
use handover_model::chain;
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    sys::resource::{Resource, getrlimit},
};
use rustix::process::{PidfdFlags, getpid, pidfd_open};
use std::{
    fs::{self, File},
    path::Path,
};

/// Descriptors of the agent: three for each instance and its listeners, and the probes'.
const ENOUGH_DESCRIPTORS: u64 = 65_536;
const TOO_FEW_DESCRIPTORS: u64 = 1024;
const SHORT_QUEUE: u64 = 1024;
const MIB: u64 = 1 << 20;
/// Free space below which a release or two fit at most.
const LITTLE_DISK: u64 = 1024 * MIB;
/// Free space below which hardly any release fits.
const NO_DISK: u64 = 100 * MIB;

pub(super) fn checks(state: &Path) -> Vec<Check> {
    vec![
        gate(),
        pidfd(),
        cgroups(),
        journald(),
        migration(facts::tcp_migrate_req()),
        descriptors(getrlimit(Resource::RLIMIT_NOFILE)),
        queues(number("/proc/sys/net/core/somaxconn")),
        disk(state),
        other_agent(state),
    ]
}

fn gate() -> Check {
    match handover_gate::try_gate() {
        Ok(()) => Check::pass("gate", "a group of sockets was steered on 127.0.0.1, and sock_diag answers"),
        Err(error) => Check::fail(
            "gate",
            chain(&error),
            "no service with a listener can be deployed to this host",
            "Linux 5.10 or later with SO_REUSEPORT, BPF socket filters and inet_diag; in a container, a seccomp profile that allows them",
        ),
    }
}

fn pidfd() -> Check {
    match pidfd_open(getpid(), PidfdFlags::empty()) {
        Ok(_) => Check::pass("pidfd", "processes can be held by descriptor"),
        Err(error) => Check::fail(
            "pidfd",
            error.to_string(),
            "an instance cannot be signalled safely, nor adopted after a restart of the agent",
            "Linux 5.3 or later; in a container, a seccomp profile that allows pidfd_open",
        ),
    }
}

fn cgroups() -> Check {
    let found = Containment::detect(&format!("handover-doctor-{}", std::process::id()));
    found.give_back();
    match &found {
        Containment::Cgroup(_) => Check::pass("cgroups", "cgroup v2 is writable"),
        Containment::ProcessGroup { why } => Check::warn(
            "cgroups",
            why.clone(),
            "limits of memory, processor and tasks cannot be kept (a manifest that has them is refused), and a process that leaves its session is not found when its instance ends",
            "run the agent as root on a host with cgroup v2 (systemd.unified_cgroup_hierarchy=1), or delegate a cgroup to it",
        ),
    }
}

fn journald() -> Check {
    if journald_is_there() {
        Check::pass("journald", "its socket is there")
    } else {
        Check::warn(
            "journald",
            "its socket is not there",
            "a manifest whose logs go to journald cannot be kept here",
            "logs = { to = \"files\" } in manifests, or start systemd-journald",
        )
    }
}

fn migration(value: Option<u32>) -> Check {
    const COSTS: &str = "connections in the queue of an instance that dies together with its agent are reset instead of moved to a survivor";
    match value {
        Some(0) => Check::warn(
            "tcp_migrate_req",
            "net.ipv4.tcp_migrate_req is 0",
            COSTS,
            "the agent sets it where it may write it; else `sysctl net.ipv4.tcp_migrate_req=1`",
        ),
        Some(_) => Check::pass("tcp_migrate_req", "net.ipv4.tcp_migrate_req is 1"),
        None => {
            Check::warn("tcp_migrate_req", "this kernel has no such setting", COSTS, "Linux 5.14 or later")
        }
    }
}

fn descriptors(limit: Result<(u64, u64), Errno>) -> Check {
    const COSTS: &str = "the agent holds sockets and connections of all services and runs out of descriptors";
    const ADVICE: &str = "LimitNOFILE=65536 in the agent's unit, or `ulimit -n 65536` before it";
    match limit {
        Ok((soft, _)) if soft >= ENOUGH_DESCRIPTORS => {
            Check::pass("descriptors", format!("{soft} may be open"))
        }
        Ok((soft, _)) if soft >= TOO_FEW_DESCRIPTORS => {
            Check::warn("descriptors", format!("{soft} may be open"), COSTS, ADVICE)
        }
        Ok((soft, _)) => Check::fail("descriptors", format!("{soft} may be open"), COSTS, ADVICE),
        Err(error) => Check::warn("descriptors", error.to_string(), COSTS, ADVICE),
    }
}

fn queues(somaxconn: Option<u64>) -> Check {
    const COSTS: &str =
        "connections that come at once while an instance starts or is busy are dropped earlier";
    match somaxconn {
        Some(value) if value >= SHORT_QUEUE => {
            Check::pass("somaxconn", format!("net.core.somaxconn is {value}"))
        }
        Some(value) => Check::warn(
            "somaxconn",
            format!("net.core.somaxconn is {value}"),
            COSTS,
            "`sysctl net.core.somaxconn=4096`",
        ),
        None => Check::warn("somaxconn", "net.core.somaxconn cannot be read", COSTS, "mount /proc"),
    }
}

fn disk(state: &Path) -> Check {
    // Before the first join the folder is not there: its nearest parent has the same file system.
    let there = state.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    const COSTS: &str =
        "releases are unpacked there, some at once: a deployment to this host fails for want of space";
    const ADVICE: &str = "make room, or give the agent another --state";
    match facts::disk(there) {
        Ok((free, _)) => {
            let found = format!("{} MiB free at {}", free / MIB, there.display());
            if free >= LITTLE_DISK {
                Check::pass("disk", found)
            } else if free >= NO_DISK {
                Check::warn("disk", found, COSTS, ADVICE)
            } else {
                Check::fail("disk", found, COSTS, ADVICE)
            }
        }
        Err(error) => Check::fail("disk", format!("{}: {error}", there.display()), COSTS, ADVICE),
    }
}

fn other_agent(state: &Path) -> Check {
    let Ok(file) = File::open(state.join("agent.lock")) else {
        return Check::pass("other agent", format!("none has used {}", state.display()));
    };
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(_) => Check::pass("other agent", format!("none runs with {}", state.display())),
        Err(_) => Check::warn(
            "other agent",
            format!("an agent runs with {}", state.display()),
            "a second one with this state does not start",
            "nothing, if that is this host's agent",
        ),
    }
}

fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{super::Outcome, *};

    #[test]
    fn what_lacks_is_told_with_its_cost_and_what_to_do() {
        let lacking = [
            (migration(None), Outcome::Warn),
            (migration(Some(0)), Outcome::Warn),
            (descriptors(Ok((1023, 4096))), Outcome::Fail),
            (descriptors(Ok((1024, 4096))), Outcome::Warn),
            (queues(Some(128)), Outcome::Warn),
            (queues(None), Outcome::Warn),
        ];
        for (check, outcome) in lacking {
            assert_eq!(check.outcome, outcome, "{check:?}");
            assert!(!check.costs.is_empty() && !check.advice.is_empty(), "{check:?}");
        }
        for check in [migration(Some(1)), descriptors(Ok((65_536, 65_536))), queues(Some(4096))] {
            assert_eq!(check.outcome, Outcome::Pass, "{check:?}");
        }
    }

    #[test]
    fn an_agent_that_runs_is_seen_by_its_lock() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(other_agent(folder.path()).outcome, Outcome::Pass);
        let file = File::create(folder.path().join("agent.lock")).unwrap();
        let held = Flock::lock(file, FlockArg::LockExclusiveNonblock).unwrap();
        assert_eq!(other_agent(folder.path()).outcome, Outcome::Warn);
        drop(held);
        assert_eq!(other_agent(folder.path()).outcome, Outcome::Pass);
    }
}
