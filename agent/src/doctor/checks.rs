//! What was found on a machine, and what that means: the lines of the doctor. Nothing is looked at here.

use super::Check;
use handover_model::{Disk, Room, in_bytes};
use nix::errno::Errno;
use std::path::Path;

/// Descriptors of the agent: three for each instance and its listeners, and the probes'.
const ENOUGH_DESCRIPTORS: u64 = 65_536;
const TOO_FEW_DESCRIPTORS: u64 = 1024;
const SHORT_QUEUE: u64 = 1024;
/// CAP_SYS_PTRACE, capabilities(7).
const SYS_PTRACE: u64 = 1 << 19;

/// Whether an agent uses a folder for its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OtherAgent {
    /// None ever did.
    Never,
    /// One did, and does not run.
    NotNow,
    /// One runs.
    Runs,
}

pub(super) fn gate(tried: Result<(), String>) -> Check {
    match tried {
        Ok(()) => Check::pass("gate", "a group of sockets was steered on 127.0.0.1, and sock_diag answers"),
        Err(error) => Check::fail(
            "gate",
            error,
            "no service with a listener can be deployed to this host",
            "Linux 5.10 or later with SO_REUSEPORT, BPF socket filters and inet_diag; in a container, a seccomp profile that allows them",
        ),
    }
}

pub(super) fn pidfd(opened: Result<(), String>) -> Check {
    match opened {
        Ok(()) => Check::pass("pidfd", "processes can be held by descriptor"),
        Err(error) => Check::fail(
            "pidfd",
            error,
            "an instance cannot be signalled safely, nor adopted after a restart of the agent",
            "Linux 5.3 or later; in a container, a seccomp profile that allows pidfd_open",
        ),
    }
}

const SOCKETS_COST: &str = "an agent that is started again cannot take back the listening sockets of instances: it does not see their queues, and a crash of one refuses clients until it runs again";

pub(super) fn pidfd_getfd(taken: Result<(), String>) -> Check {
    match taken {
        Ok(()) => Check::pass("pidfd_getfd", "descriptors can be taken out of a process"),
        Err(error) => Check::warn(
            "pidfd_getfd",
            error,
            SOCKETS_COST,
            "Linux 5.6 or later; in a container, a seccomp profile that allows pidfd_getfd",
        ),
    }
}

/// Instances are no children of an agent that was started again: Yama (ptrace_scope 1 and more) asks for a capability.
pub(super) fn taking_sockets_back(scope: Option<u64>, capabilities: Option<u64>) -> Check {
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

pub(super) fn cgroups(contained: Result<(), String>) -> Check {
    match contained {
        Ok(()) => Check::pass("cgroups", "cgroup v2 is writable"),
        Err(why) => Check::warn(
            "cgroups",
            why,
            "limits of memory, processor and tasks cannot be kept (a manifest that has them is refused), and a process that leaves its session is not found when its instance ends",
            "run the agent as root on a host with cgroup v2 (systemd.unified_cgroup_hierarchy=1), or delegate a cgroup to it",
        ),
    }
}

pub(super) fn journald(is_there: bool) -> Check {
    if is_there {
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

pub(super) fn migration(value: Option<u32>) -> Check {
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

pub(super) fn descriptors(limit: Result<(u64, u64), Errno>) -> Check {
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

pub(super) fn queues(somaxconn: Option<u64>) -> Check {
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

/// The disk of the state folder, which cannot be looked at.
pub(super) fn disk_unknown(there: &Path) -> Check {
    Check::fail("disk", format!("{} cannot be looked at", there.display()), DISK_COSTS, DISK_ADVICE)
}

/// The folders' names and what their disks' fullness costs.
pub(super) fn disk(disk: &Disk) -> Check {
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

pub(super) fn other_agent(state: &Path, found: OtherAgent) -> Check {
    let state = state.display();
    match found {
        OtherAgent::Never => Check::pass("other agent", format!("none has used {state}")),
        OtherAgent::NotNow => Check::pass("other agent", format!("none runs with {state}")),
        OtherAgent::Runs => Check::warn(
            "other agent",
            format!("an agent runs with {state}"),
            "a second one with this state does not start",
            "nothing, if that is this host's agent",
        ),
    }
}
