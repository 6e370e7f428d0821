//! The launcher: the agent's binary, started again, that turns itself into the program.
//!
//! It does here what must happen between fork(2) and execve(2), as an ordinary single-threaded program: looking up
//! users and opening logs is not allowed in a forked copy of a process with threads. Everything is ready before it
//! waits for the agent's word, so that the agent can write its pid down first: if the agent dies before, the word
//! never comes and the launcher ends without having executed anything.

use super::{
    error::{Failure, LaunchError, LaunchStep, Message},
    logs,
    spec::{LaunchSpec, LogSink, MAX_SOCKETS, MAX_SPEC_BYTES, Order},
    sys,
};
use command_fds::inherited::take_fd_ownership;
use nix::{
    sys::{
        resource::{Resource, setrlimit},
        signal::{SigSet, SigmaskHow, sigprocmask},
        stat::{Mode, umask},
    },
    unistd::{
        Gid, Group, Uid, User, dup2_stderr, dup2_stdin, dup2_stdout, execve, initgroups, setgid, setgroups,
        setsid, setuid,
    },
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    io::{FdFlags, fcntl_setfd},
};
use std::{
    collections::BTreeMap,
    convert::Infallible,
    env,
    ffi::CString,
    fs::File,
    io::{Read, Write},
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::Path,
    process::exit,
};

/// How long it waits for the agent's word. An agent that is alive and does not get to it in this time is stuck.
const GO_WAIT: Timespec = Timespec { tv_sec: 60, tv_nsec: 0 };
/// What systemd gives to services as well.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The descriptors that the agent passed besides the sockets.
struct Wires {
    order: File,
    go: OwnedFd,
    status: File,
}

/// Becomes the program that the agent ordered, or ends: with code 0 where the agent died before it said go, 1 where
/// a step failed (told to the agent), 2 where it was not the agent that started it.
///
/// `main` calls this first of all when its first argument is `launch`: before a runtime, a thread or a log exists.
pub fn child_main() -> ! {
    let taken = sys::own_inherited_descriptors();
    let count = env::args().nth(2).and_then(|count| count.parse().ok()).filter(|&count| count <= MAX_SOCKETS);
    let Some((wires, sockets)) = count.filter(|_| taken.is_ok()).and_then(take_descriptors) else {
        // Standard error is the operator's terminal here; if it is closed, nobody wants to know.
        let _ = writeln!(std::io::stderr(), "`launch` is for the agent itself: it starts instances with it");
        exit(2);
    };
    let mut status = wires.status;
    let failure = match become_program(wires.order, &wires.go, &mut status, &sockets) {
        Ok(None) => exit(0),
        Err(failure) => failure,
        Ok(Some(never)) => match never {},
    };
    // An agent that has gone does not read this, and does not need to: nothing was executed.
    let _ = send(&mut status, &Message::Failed(failure));
    exit(1);
}

/// Sockets from 3 on, then the order, the go pipe and the status pipe.
fn take_descriptors(count: usize) -> Option<(Wires, Vec<OwnedFd>)> {
    let mut numbers = 3_i32..;
    let mut next = || take_fd_ownership(numbers.next()?).ok();
    let sockets = (0..count).map(|_| next()).collect::<Option<Vec<_>>>()?;
    Some((Wires { order: next()?.into(), go: next()?, status: next()?.into() }, sockets))
}

fn send(status: &mut File, message: &Message) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    status.write_all(&line)
}

/// The whole story. `Ok(None)`: the agent is gone.
fn become_program(
    order: File,
    go: &OwnedFd,
    status: &mut File,
    sockets: &[OwnedFd],
) -> Result<Option<Infallible>, Failure> {
    let order = read_order(order)?;
    let spec = &order.spec;
    setsid().map_err(|error| Failure::of(LaunchStep::NewSession, "setsid", error))?;
    if let Some(cgroup) = &order.cgroup {
        join_cgroup(cgroup)?;
    }
    redirect_output(&spec.log)?;
    umask(Mode::from_bits_truncate(0o022));
    undo_oom_protection();
    set_limits(spec)?;
    let account = Account::find(spec)?;
    account.enter()?;
    change_directory(spec)?;
    let program =
        spec.program().map_err(|error| Failure::refused(LaunchStep::BuildEnvironment, error.to_string()))?;
    let mut arguments = vec![c_string(program.as_os_str().as_bytes(), "the program's path")?];
    for argument in spec.command.iter().skip(1) {
        arguments.push(c_string(argument.as_bytes(), "an argument")?);
    }
    let environment = environment(&order, &account)?;
    pass_sockets(sockets)?;
    send(status, &Message::Prepared)
        .map_err(|error| Failure::of(LaunchStep::AwaitGo, "the agent does not read", error))?;
    if !word_came(go)? {
        return Ok(None);
    }
    sys::reset_signal_dispositions();
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)
        .map_err(|error| Failure::of(LaunchStep::Execute, "the signal mask", error))?;
    match execve(&arguments[0], &arguments, &environment) {
        Ok(never) => Ok(Some(never)),
        Err(error) => Err(Failure::of(LaunchStep::Execute, explain_exec(&program, error, &account), error)),
    }
}

fn read_order(order: File) -> Result<Order, Failure> {
    let mut bytes = Vec::new();
    let failed = |error| Failure::of(LaunchStep::ReadOrder, "the order", error);
    order.take(MAX_SPEC_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    serde_json::from_slice(&bytes).map_err(|error| Failure::refused(LaunchStep::ReadOrder, error.to_string()))
}

fn join_cgroup(cgroup: &Path) -> Result<(), Failure> {
    std::fs::write(cgroup.join("cgroup.procs"), std::process::id().to_string())
        .map_err(|error| Failure::of(LaunchStep::JoinCgroup, cgroup.display().to_string(), error))
}

fn redirect_output(log: &LogSink) -> Result<(), Failure> {
    let failed = |what: &str, error| Failure::of(LaunchStep::OpenLog, what, error);
    let null = File::open("/dev/null").map_err(|error| failed("/dev/null", error))?;
    dup2_stdin(&null).map_err(|error| failed("/dev/null", error.into()))?;
    let (sink, what) = match log {
        LogSink::Inherited => return Ok(()),
        LogSink::File { path } => (logs::open_file(path), path.display().to_string()),
        LogSink::Journald { socket, identifier, unit } => {
            (logs::open_journald(socket, identifier, unit), socket.display().to_string())
        }
    };
    let sink = sink.map_err(|error| failed(&what, error))?;
    dup2_stdout(&sink).map_err(|error| failed(&what, error.into()))?;
    dup2_stderr(&sink).map_err(|error| failed(&what, error.into()))
}

/// An agent that its unit protects from the OOM killer must not protect all its instances with it. Best effort: a
/// kernel that refuses has other worries, and the instance is no worse off than the agent.
fn undo_oom_protection() {
    let path = "/proc/self/oom_score_adj";
    if std::fs::read_to_string(path).is_ok_and(|score| score.starts_with('-')) {
        let _ = std::fs::write(path, "0");
    }
}

fn set_limits(spec: &LaunchSpec) -> Result<(), Failure> {
    let limits = [
        (Resource::RLIMIT_NOFILE, "open_files", spec.limits.open_files),
        (Resource::RLIMIT_NPROC, "processes", spec.limits.processes),
        (Resource::RLIMIT_CORE, "core", spec.limits.core),
    ];
    for (resource, name, limit) in limits {
        if let Some(limit) = limit {
            setrlimit(resource, limit, limit)
                .map_err(|error| Failure::of(LaunchStep::SetLimit, format!("{name} = {limit}"), error))?;
        }
    }
    Ok(())
}

/// The numbers of the user and the group that a program runs as; `None` where they stay the agent's.
///
/// # Errors
/// When this host has no such user or group.
pub(crate) fn account(spec: &LaunchSpec) -> Result<(Option<u32>, Option<u32>), LaunchError> {
    let account = Account::find(spec)?;
    Ok((account.uid.map(Uid::as_raw), account.gid.map(Gid::as_raw)))
}

/// Whom the program runs as.
struct Account {
    uid: Option<Uid>,
    gid: Option<Gid>,
    /// The user's entry in the user database, where there is one.
    user: Option<User>,
}

impl Account {
    fn find(spec: &LaunchSpec) -> Result<Self, Failure> {
        let failed = |what: String, error: nix::Error| Failure::of(LaunchStep::ChangeUser, what, error);
        let unknown = |what: String| Failure::refused(LaunchStep::ChangeUser, what);
        let mut account = Self { uid: None, gid: None, user: None };
        if let Some(name) = &spec.user {
            let by_name = User::from_name(name).map_err(|error| failed(format!("user {name}"), error))?;
            let number = name.parse().map(Uid::from_raw).ok();
            account.user = match (by_name, number) {
                (Some(user), _) => Some(user),
                (None, Some(uid)) => {
                    User::from_uid(uid).map_err(|error| failed(format!("user {name}"), error))?
                }
                (None, None) => {
                    return Err(unknown(format!("this host has no user {name}; create it or change `user`")));
                }
            };
            account.uid = account.user.as_ref().map(|user| user.uid).or(number);
            account.gid = account.user.as_ref().map(|user| user.gid);
        }
        if let Some(name) = &spec.group {
            let by_name = Group::from_name(name).map_err(|error| failed(format!("group {name}"), error))?;
            let gid = by_name.map(|group| group.gid).or_else(|| name.parse().map(Gid::from_raw).ok());
            let none = || unknown(format!("this host has no group {name}; create it or change `group`"));
            account.gid = Some(gid.ok_or_else(none)?);
        }
        if let (Some(uid), None) = (account.uid, account.gid) {
            return Err(unknown(format!("user {uid} has no entry in the user database: give a `group` too")));
        }
        Ok(account)
    }

    /// Groups first, then the group, then the user: each step needs a privilege that the last one gives up.
    fn enter(&self) -> Result<(), Failure> {
        let who = self.describe();
        let failed = |error| {
            let what = if Uid::effective().is_root() {
                who.clone()
            } else {
                format!("{who}; the agent is not root")
            };
            Failure::of(LaunchStep::ChangeUser, what, error)
        };
        let already = self.uid.is_none_or(|uid| uid == Uid::effective())
            && self.gid.is_none_or(|gid| gid == Gid::effective())
            && !Uid::effective().is_root();
        if already {
            return Ok(());
        }
        if let Some(gid) = self.gid {
            match &self.user {
                Some(user) => {
                    initgroups(&c_string(user.name.as_bytes(), "the user's name")?, gid).map_err(failed)?;
                }
                None => setgroups(&[gid]).map_err(failed)?,
            }
            setgid(gid).map_err(failed)?;
        }
        if let Some(uid) = self.uid {
            setuid(uid).map_err(failed)?;
        }
        Ok(())
    }

    fn describe(&self) -> String {
        match (&self.user, self.uid, self.gid) {
            (Some(user), _, _) => format!("user {}", user.name),
            (None, Some(uid), _) => format!("user {uid}"),
            (None, None, Some(gid)) => format!("group {gid}"),
            (None, None, None) => format!("user {}", Uid::effective()),
        }
    }
}

fn change_directory(spec: &LaunchSpec) -> Result<(), Failure> {
    let directory = spec.release_dir.join(&spec.working_directory);
    env::set_current_dir(&directory)
        .map_err(|error| Failure::of(LaunchStep::ChangeDirectory, directory.display().to_string(), error))
}

fn c_string(bytes: &[u8], what: &str) -> Result<CString, Failure> {
    CString::new(bytes)
        .map_err(|_| Failure::refused(LaunchStep::BuildEnvironment, format!("{what} has a NUL byte")))
}

/// From nothing: what the user's entry says, then the manifest's, then what is the agent's to say.
fn environment(order: &Order, account: &Account) -> Result<Vec<CString>, Failure> {
    let spec = &order.spec;
    let mut variables = BTreeMap::from([("PATH", DEFAULT_PATH.to_owned())]);
    if let Some(user) = &account.user {
        variables.insert("USER", user.name.clone());
        variables.insert("LOGNAME", user.name.clone());
        variables.insert("HOME", user.dir.display().to_string());
    }
    for (name, value) in &spec.environment {
        if name.is_empty() || name.contains('=') {
            return Err(Failure::refused(
                LaunchStep::BuildEnvironment,
                format!("no name of a variable: {name:?}"),
            ));
        }
        variables.insert(name, value.clone());
    }
    variables.insert("HANDOVER_SERVICE", spec.service.clone());
    variables.insert("HANDOVER_RELEASE", spec.release.clone());
    variables.insert("HANDOVER_INSTANCE", spec.instance.clone());
    for name in ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET"] {
        variables.remove(name);
    }
    if !order.socket_names.is_empty() {
        variables.insert("LISTEN_FDS", order.socket_names.len().to_string());
        variables.insert("LISTEN_PID", std::process::id().to_string());
        variables.insert("LISTEN_FDNAMES", order.socket_names.join(":"));
    }
    if let Some(path) = &spec.notify_socket {
        variables.insert("NOTIFY_SOCKET", path.display().to_string());
    }
    variables.iter().map(|(name, value)| c_string(format!("{name}={value}").as_bytes(), name)).collect()
}

/// Every descriptor is close-on-exec since the start; these alone are not from here on. Blocking, as systemd passes
/// them too: a program that wants it otherwise sets it.
fn pass_sockets(sockets: &[OwnedFd]) -> Result<(), Failure> {
    for socket in sockets {
        fcntl_getfl(socket)
            .and_then(|flags| fcntl_setfl(socket, flags - OFlags::NONBLOCK))
            .and_then(|()| fcntl_setfd(socket, FdFlags::empty()))
            .map_err(|error| Failure::of(LaunchStep::PassSockets, "fcntl", error))?;
    }
    Ok(())
}

/// Waits for one byte; false where the agent is gone.
fn word_came(go: &OwnedFd) -> Result<bool, Failure> {
    let failed = |error: rustix::io::Errno| Failure::of(LaunchStep::AwaitGo, "the go pipe", error);
    let ready = rustix::io::retry_on_intr(|| poll(&mut [PollFd::new(go, PollFlags::IN)], Some(&GO_WAIT)));
    if ready.map_err(failed)? == 0 {
        return Err(Failure::refused(LaunchStep::AwaitGo, format!("no word within {} s", GO_WAIT.tv_sec)));
    }
    let mut byte = [0_u8; 1];
    Ok(rustix::io::retry_on_intr(|| rustix::io::read(go, &mut byte)).map_err(failed)? == 1)
}

/// The errors of execve(2) that mislead without a word of explanation.
fn explain_exec(program: &Path, error: nix::Error, account: &Account) -> String {
    let path = program.display();
    match error {
        nix::Error::ENOENT if program.exists() => {
            format!("{path}: it exists, but the interpreter of its first line or its dynamic loader does not")
        }
        nix::Error::ENOENT => format!("{path}: there is no such file"),
        nix::Error::ENOEXEC => {
            format!("{path}: no program of this architecture, and no script with a \"#!\" line")
        }
        nix::Error::EACCES => {
            format!(
                "{path}: {} may not execute it, or may not enter one of the folders above it",
                account.describe()
            )
        }
        nix::Error::EAGAIN => {
            format!("{path}: {} already has as many processes as its limit allows", account.describe())
        }
        nix::Error::E2BIG => format!("{path}: arguments and environment are too long"),
        _ => path.to_string(),
    }
}
