//! What the machine itself offers. Things that can be tried are tried.

use super::Check;
use crate::{
    disks::{Disks, nearest},
    facts,
    instance::{Containment, logs::journald_is_there},
};
use handover_model::{Disk, Room, chain, in_bytes};
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    sys::resource::{Resource, getrlimit},
};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use std::{
    fs::{self, File},
    os::fd::AsRawFd as _,
    path::Path,
};

/// Descriptors of the agent: three for each instance and its listeners, and the probes'.
const ENOUGH_DESCRIPTORS: u64 = 65_536;
const TOO_FEW_DESCRIPTORS: u64 = 1024;
const SHORT_QUEUE: u64 = 1024;
/// CAP_SYS_PTRACE, capabilities(7).
const SYS_PTRACE: u64 = 1 << 19;

pub(super) fn checks(state: &Path, disks: &Disks) -> Vec<Check> {
    let mut checks = vec![
        gate(),
        pidfd(),
        pidfd_getfd_works(),
        taking_sockets_back(number("/proc/sys/kernel/yama/ptrace_scope"), capabilities()),
        cgroups(),
        journald(),
        migration(facts::tcp_migrate_req()),
        descriptors(getrlimit(Resource::RLIMIT_NOFILE)),
        queues(number("/proc/sys/net/core/somaxconn")),
        other_agent(state),
    ];
    let found = disks.now();
    if !found.iter().any(|disk| disk.folders.iter().any(|folder| folder == "state")) {
        let there = nearest(state).display().to_string();
        checks.push(Check::fail("disk", format!("{there} cannot be looked at"), DISK_COSTS, DISK_ADVICE));
    }
    checks.extend(found.iter().map(disk));
    checks
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

const SOCKETS_COST: &str = "an agent that is started again cannot take back the listening sockets of instances: it does not see their queues, and a crash of one refuses clients until it runs again";

/// Takes a descriptor of this process out of it: what seccomp forbids, it forbids here too.
fn pidfd_getfd_works() -> Check {
    let taken = pidfd_open(getpid(), PidfdFlags::empty()).and_then(|pidfd| {
        let own = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?.0;
        pidfd_getfd(&pidfd, own.as_raw_fd(), PidfdGetfdFlags::empty())
    });
    match taken {
        Ok(_) => Check::pass("pidfd_getfd", "descriptors can be taken out of a process"),
        Err(error) => Check::warn(
            "pidfd_getfd",
            error.to_string(),
            SOCKETS_COST,
            "Linux 5.6 or later; in a container, a seccomp profile that allows pidfd_getfd",
        ),
    }
}

/// Instances are no children of an agent that was started again: Yama (ptrace_scope 1 and more) asks for a capability.
fn taking_sockets_back(scope: Option<u64>, capabilities: Option<u64>) -> Check {
    let may = capabilities.is_some_and(|effective| effective & SYS_PTRACE != 0);
    match scope {
        // No Yama in this kernel.
        None | Some(0) => Check::pass("ptrace", "processes of the agent's user can be looked into"),
        Some(1 | 2) if may => Check::pass("ptrace", "CAP_SYS_PTRACE is there"),
        Some(scope @ (1 | 2)) => Check::warn(
            "ptrace",
            format!("kernel.yama.ptrace_scope is {scope}, and CAP_SYS_PTRACE is missing"),
            SOCKETS_COST,
            "run the agent (and this command) as root, in a container with CAP_SYS_PTRACE, or `sysctl kernel.yama.ptrace_scope=0`",
        ),
        Some(scope) => Check::warn(
            "ptrace",
            format!("kernel.yama.ptrace_scope is {scope}: nobody may look into a process"),
            SOCKETS_COST,
            "another value of kernel.yama.ptrace_scope, which this one forbids until the next boot",
        ),
    }
}

/// The effective capabilities of this process, proc_pid_status(5).
fn capabilities() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(effective.trim(), 16).ok()
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

const DISK_COSTS: &str =
    "releases are unpacked there, some at once: a deployment to this host fails for want of room";
const DISK_ADVICE: &str = "make room, or give the agent another --state";

/// The folders' names and what their disks' fullness costs.
fn disk(disk: &Disk) -> Check {
    let first = disk.folders.first().map(String::as_str);
    let (name, costs, advice) = match first {
        Some("logs") => {
            let costs = "what services write to log files is lost once it is full";
            ("disk of logs", costs, "make room, or give the agent another --logs")
        }
        Some("runtime") => {
            let costs = "services that say READY=1 may not start once it is full";
            ("disk of runtime", costs, "make room, or give the agent another --runtime")
        }
        Some(_) | None => ("disk", DISK_COSTS, DISK_ADVICE),
    };
    let found = format!(
        "{} free of {} at {} ({})",
        in_bytes(disk.free),
        in_bytes(disk.total),
        disk.path,
        disk.folders.join(", ")
    );
    match disk.room() {
        Room::Enough => Check::pass(name, found),
        Room::Low => Check::warn(name, found, costs, advice),
        Room::Full => Check::fail(name, found, costs, advice),
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

    fn of(folder: &str, free: u64) -> Disk {
        Disk { folders: vec![folder.to_owned()], path: "/x".into(), free, total: 1000 }
    }

    #[test]
    fn what_lacks_is_told_with_its_cost_and_what_to_do() {
        let lacking = [
            (migration(None), Outcome::Warn),
            (migration(Some(0)), Outcome::Warn),
            (descriptors(Ok((1023, 4096))), Outcome::Fail),
            (descriptors(Ok((1024, 4096))), Outcome::Warn),
            (queues(Some(128)), Outcome::Warn),
            (queues(None), Outcome::Warn),
            (taking_sockets_back(Some(1), Some(0)), Outcome::Warn),
            (taking_sockets_back(Some(2), None), Outcome::Warn),
            (taking_sockets_back(Some(3), Some(u64::MAX)), Outcome::Warn),
            (disk(&of("state", 90)), Outcome::Warn),
            (disk(&of("state", 10)), Outcome::Fail),
            (disk(&of("logs", 10)), Outcome::Fail),
            (disk(&of("runtime", 10)), Outcome::Fail),
        ];
        for (check, outcome) in lacking {
            assert_eq!(check.outcome, outcome, "{check:?}");
            assert!(!check.costs.is_empty() && !check.advice.is_empty(), "{check:?}");
        }
        let good = [
            migration(Some(1)),
            descriptors(Ok((65_536, 65_536))),
            queues(Some(4096)),
            taking_sockets_back(None, None),
            taking_sockets_back(Some(1), Some(SYS_PTRACE)),
            disk(&of("state", 1000)),
        ];
        for check in good {
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
