//! The launcher: what a program gets, what it does not get, and what is said when it cannot start.

use crate::{
    roles,
    support::{Room, end, is_root, launcher, listener, session, start, until, within},
};
use handover_agent::instance::{
    ExitStatus, LaunchError, LaunchStep, Launcher, LogSink, ProcessKey, ResourceLimits, sockets::inode,
};
use handover_skips::Lack;
use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::{fs::PermissionsExt, net::UnixListener},
    time::Duration,
};

/// Whether the process is there, as itself, and no zombie.
fn lives(key: ProcessKey) -> bool {
    fs::read_to_string(format!("/proc/{}/stat", key.pid)).is_ok_and(|stat| {
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        fields[19] == key.start_time.to_string() && fields[0] != "Z"
    })
}

fn status_line(pid: u32, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(&format!("{name}:"))).unwrap();
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn a_program_gets_its_sockets_and_environment_and_nothing_else() {
    let room = Room::new();
    // A descriptor of the agent that is not close-on-exec, as a careless library leaves them.
    let leak = rustix::io::dup(fs::File::open("/dev/null").unwrap()).unwrap();
    rustix::io::fcntl_setfd(&leak, rustix::io::FdFlags::empty()).unwrap();
    let (http, passed_http) = listener("http");
    let (admin, passed_admin) = listener("admin");
    http.set_nonblocking(true).unwrap();
    let mut spec = room.shell("tr '\\0' '\\n' </proc/$$/environ; echo done; exec sleep 300");
    spec.environment = [("ZONE", "a"), ("LISTEN_FDS", "9"), ("HANDOVER_SERVICE", "forged")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let running = start(&spec, vec![passed_http, passed_admin]).await.unwrap();
    let pid = running.process.pid();
    until("the program's output", || room.log().contains("done")).await;
    let log = room.log();
    let mut lines: Vec<&str> = log.lines().filter(|line| *line != "done").collect();
    lines.sort_unstable();
    let listen_pid = format!("LISTEN_PID={pid}");
    let expected = [
        "HANDOVER_INSTANCE=web-1",
        "HANDOVER_RELEASE=1.0",
        "HANDOVER_SERVICE=web",
        "LISTEN_FDNAMES=http:admin",
        "LISTEN_FDS=2",
        &listen_pid,
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "ZONE=a",
    ];
    assert_eq!(lines, expected);
    until("the shell becoming sleep", || {
        fs::read_to_string(format!("/proc/{pid}/comm")).unwrap() == "sleep\n"
    })
    .await;
    let mut descriptors: Vec<(String, String)> = fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            let link = fs::read_link(entry.path()).unwrap();
            (entry.file_name().into_string().unwrap(), link.display().to_string())
        })
        .collect();
    descriptors.sort();
    let out = room.path().join("out.log").display().to_string();
    let socket = |listener| format!("socket:[{}]", inode(listener).unwrap());
    let expected = ["/dev/null".to_owned(), out.clone(), out, socket(&http), socket(&admin)];
    let expected: Vec<_> = expected.into_iter().enumerate().map(|(n, link)| (n.to_string(), link)).collect();
    assert_eq!(descriptors, expected);
    let flags = rustix::fs::fcntl_getfl(&http).unwrap();
    assert!(!flags.contains(rustix::fs::OFlags::NONBLOCK), "the program got a socket that does not block");
    end(&running.group).await;
}

#[tokio::test]
async fn a_program_starts_in_a_clean_state() {
    let room = Room::new();
    fs::create_dir(room.release().join("data")).unwrap();
    let mut spec = room.spec(&["/bin/sleep", "300"]);
    spec.working_directory = "data".into();
    spec.limits = ResourceLimits { open_files: Some(123), processes: None, core: Some(0) };
    let running = start(&spec, Vec::new()).await.unwrap();
    let pid = running.process.pid();
    assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).unwrap(), room.release().join("data"));
    assert_eq!(status_line(pid, "Umask"), "0022");
    assert_eq!(status_line(pid, "SigIgn"), "0000000000000000");
    assert_eq!(status_line(pid, "SigBlk"), "0000000000000000");
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let limit = |name: &str| {
        let line = limits.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().take(2).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(limit("Max open files"), ["123", "123"]);
    assert_eq!(limit("Max core file size"), ["0", "0"]);
    let raw = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap());
    assert_eq!(nix::unistd::getsid(Some(raw)).unwrap(), raw, "it is in the agent's session");
    end(&running.group).await;
    let ended = within("its end", running.process.exited()).await;
    assert_eq!(ended, ExitStatus::Signal { signal: 9, core: false });
}

#[tokio::test]
async fn a_program_runs_as_its_user_with_that_users_groups() {
    if !is_root() {
        return Lack::Root.skips("a program as another user");
    }
    let room = Room::new();
    let mut spec = room.spec(&["/bin/sleep", "300"]);
    spec.user = Some("nobody".into());
    let running = start(&spec, Vec::new()).await.unwrap();
    let user = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    let (uid, gid) = (user.uid.to_string(), user.gid.to_string());
    let pid = running.process.pid();
    assert_eq!(status_line(pid, "Uid"), format!("{uid} {uid} {uid} {uid}"));
    assert_eq!(status_line(pid, "Gid"), format!("{gid} {gid} {gid} {gid}"));
    assert_eq!(status_line(pid, "Groups"), gid);
    assert_eq!(status_line(pid, "CapEff"), "0000000000000000");
    let environment = fs::read_to_string(format!("/proc/{pid}/environ")).unwrap();
    assert!(environment.split('\0').any(|line| line == "USER=nobody"), "{environment:?}");
    end(&running.group).await;
}

#[tokio::test]
async fn nothing_runs_before_the_word_and_dropping_it_is_saying_no() {
    let room = Room::new();
    let marker = room.path().join("ran");
    let spec = room.shell(&format!("touch {}; exec sleep 300", marker.display()));
    let prepared = launcher().prepare(&spec, Vec::new(), session()).await.unwrap();
    let key = prepared.key();
    assert!(lives(key));
    drop(prepared);
    until("the launcher's end", || !lives(key)).await;
    assert!(!marker.exists());
    // The counterpart: with the word it does run.
    let running = start(&spec, Vec::new()).await.unwrap();
    until("the program's first act", || marker.exists()).await;
    end(&running.group).await;
}

#[tokio::test]
async fn an_agent_that_dies_before_go_leaves_no_process() {
    let room = Room::new();
    let mut agent = roles::another_agent("agent_before_go", room.path());
    until("the other agent's preparation", || room.path().join("key").exists()).await;
    let key: ProcessKey =
        serde_json::from_str(&fs::read_to_string(room.path().join("key")).unwrap()).unwrap();
    assert!(lives(key));
    agent.kill().unwrap();
    agent.wait().unwrap();
    until("the launcher's end", || !lives(key)).await;
    assert!(!room.path().join("ran").exists(), "a program ran that no journal knows");
}

async fn failure(spec: &handover_agent::instance::LaunchSpec) -> (LaunchStep, String, Option<i32>) {
    match start(spec, Vec::new()).await {
        Ok(running) => panic!("{running:?} was started"),
        Err(LaunchError::Step { step, what, source }) => {
            (step, what, source.and_then(|error| error.raw_os_error()))
        }
        Err(other) => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_cannot_be_executed_is_told_with_its_path_and_reason() {
    let room = Room::new();
    let (step, what, errno) = failure(&room.spec(&["bin/missing"])).await;
    assert_eq!((step, errno), (LaunchStep::Execute, Some(2)));
    assert!(what.contains("release/bin/missing: there is no such file"), "{what}");
    let file = room.release().join("bin/web");
    fs::write(&file, "#!/no/such/interpreter\n").unwrap();
    let (step, what, errno) = failure(&room.spec(&["bin/web"])).await;
    assert_eq!((step, errno), (LaunchStep::Execute, Some(13)));
    assert!(what.contains("may not execute it"), "{what}");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    let (step, what, errno) = failure(&room.spec(&["bin/web"])).await;
    assert_eq!((step, errno), (LaunchStep::Execute, Some(2)));
    assert!(what.contains("interpreter"), "{what}");
    fs::write(&file, "no program").unwrap();
    let (step, _, errno) = failure(&room.spec(&["bin/web"])).await;
    assert_eq!((step, errno), (LaunchStep::Execute, Some(8)));
    let (step, _, _) = failure(&room.spec(&["../elsewhere/bin/web"])).await;
    assert_eq!(step, LaunchStep::BuildEnvironment);
}

#[tokio::test]
async fn each_step_of_the_setup_is_told_by_name() {
    let room = Room::new();
    let mut spec = room.shell("true");
    spec.user = Some("nobody-has-this-name".into());
    let (step, what, _) = failure(&spec).await;
    assert_eq!(step, LaunchStep::ChangeUser);
    assert!(what.contains("nobody-has-this-name"), "{what}");
    let mut spec = room.shell("true");
    spec.working_directory = "not-there".into();
    assert_eq!(failure(&spec).await.0, LaunchStep::ChangeDirectory);
    let mut spec = room.shell("true");
    spec.log = LogSink::File { path: room.path().join("no-folder/out.log") };
    assert_eq!(failure(&spec).await.0, LaunchStep::OpenLog);
    let mut spec = room.shell("true");
    spec.environment.insert("A".into(), "nul\0byte".into());
    let (step, what, _) = failure(&spec).await;
    assert_eq!(step, LaunchStep::BuildEnvironment);
    assert!(what.contains("NUL"), "{what}");
    let mut spec = room.shell("true");
    spec.limits.open_files = Some(u64::MAX - 1);
    assert_eq!(failure(&spec).await.0, LaunchStep::SetLimit);
}

#[tokio::test]
async fn a_launcher_that_hangs_or_ends_silently_is_told_apart() {
    let room = Room::new();
    let hanging = room.path().join("hanging");
    fs::write(&hanging, "#!/bin/sh\nexec sleep 300\n").unwrap();
    fs::set_permissions(&hanging, fs::Permissions::from_mode(0o755)).unwrap();
    let launcher = Launcher::of_program(hanging).with_deadline(Duration::from_millis(100));
    let error = launcher.prepare(&room.shell("true"), Vec::new(), session()).await.unwrap_err();
    assert!(matches!(error, LaunchError::Deadline { .. }), "{error:?}");
    let launcher = Launcher::of_program("/bin/true".into());
    let error = launcher.prepare(&room.shell("true"), Vec::new(), session()).await.unwrap_err();
    assert!(matches!(error, LaunchError::Vanished { status: ExitStatus::Code(0), .. }), "{error:?}");
    let error =
        Launcher::of_program("/no/agent".into()).prepare(&room.shell("true"), Vec::new(), session()).await;
    assert!(matches!(error, Err(LaunchError::Launcher { .. })), "{error:?}");
}

#[tokio::test]
async fn an_order_over_its_bound_is_refused() {
    let room = Room::new();
    let mut spec = room.shell("true");
    spec.environment.insert("BIG".into(), "x".repeat(2 << 20));
    let error = start(&spec, Vec::new()).await.unwrap_err();
    assert!(matches!(error, LaunchError::TooMuch { .. }), "{error:?}");
    let (_listener, mut passed) = listener("http");
    passed.name = "a:b".into();
    assert!(start(&room.shell("true"), vec![passed]).await.is_err());
}

#[tokio::test]
async fn output_goes_to_journald_by_itself() {
    let room = Room::new();
    let socket = room.path().join("journal");
    let journal = UnixListener::bind(&socket).unwrap();
    let mut spec = room.shell("echo hello; echo oops >&2");
    spec.log = LogSink::Journald { socket, identifier: "web".into(), unit: "handover-web-1.service".into() };
    let running = start(&spec, Vec::new()).await.unwrap();
    assert_eq!(within("its end", running.process.exited()).await, ExitStatus::Code(0));
    let (stream, _) = journal.accept().unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let lines: Vec<String> = BufReader::new(stream).lines().map(Result::unwrap).collect();
    assert_eq!(lines, ["web", "handover-web-1.service", "6", "1", "0", "0", "0", "hello", "oops"]);
}
