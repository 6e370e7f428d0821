//! Parts that this test binary plays as another process: it is started again for one of these "tests".

use crate::support::{Room, SOON, launcher, listener, session};
use handover_agent::logs::{LogRequest, Piece};
use std::{
    collections::BTreeSet,
    fs,
    os::unix::net::UnixDatagram,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

/// Which part to play.
const ROLE: &str = "HANDOVER_TEST_ROLE";
/// The folder in which the agent leaves what it did.
const FOLDER: &str = "HANDOVER_TEST_FOLDER";

fn plays(role: &str) -> bool {
    std::env::var(ROLE).is_ok_and(|played| played == role)
}

/// The command line with which this binary plays a role.
pub(crate) fn command_of(role: &str) -> Vec<String> {
    let exe = std::env::current_exe().unwrap().display().to_string();
    [&exe, "--exact", &format!("roles::{role}"), "--ignored", "--nocapture"].map(ToString::to_string).to_vec()
}

/// Starts another agent that does `role` in `folder` and then hangs.
pub(crate) fn another_agent(role: &str, folder: &Path) -> Child {
    let command = command_of(role);
    Command::new(&command[0])
        .args(&command[1..])
        .env(ROLE, role)
        .env(FOLDER, folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// For the instance's environment.
pub(crate) fn playing(role: &str) -> (String, String) {
    (ROLE.to_owned(), role.to_owned())
}

fn hang() -> ! {
    loop {
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Written under another name first, so that a reader sees all or nothing.
fn leave(folder: &Path, name: &str, text: &str) {
    fs::write(folder.join("unfinished"), text).unwrap();
    fs::rename(folder.join("unfinished"), folder.join(name)).unwrap();
}

#[tokio::test]
#[ignore = "a role that other tests play"]
async fn agent_before_go() {
    if !plays("agent_before_go") {
        return;
    }
    let folder = std::path::PathBuf::from(std::env::var(FOLDER).unwrap());
    let room = Room::new();
    let spec = room.shell(&format!("touch {}", folder.join("ran").display()));
    let prepared = launcher().prepare(&spec, Vec::new(), session()).await.unwrap();
    leave(&folder, "key", &serde_json::to_string(&prepared.key()).unwrap());
    hang();
}

#[tokio::test]
#[ignore = "a role that other tests play"]
async fn agent_after_go() {
    if !plays("agent_after_go") {
        return;
    }
    let folder = std::path::PathBuf::from(std::env::var(FOLDER).unwrap());
    let room = Room::new();
    // Like a program that moves its socket to another descriptor.
    let spec = room.shell(&format!(
        "exec 7<&3 3<&-; sleep 300 & while ! [ -e {} ]; do sleep 0.02; done; exit 7",
        folder.join("end").display()
    ));
    let (mine, passed) = listener("http");
    let running = launcher().prepare(&spec, vec![passed], session()).await.unwrap().go().await.unwrap();
    let inode = handover_agent::instance::sockets::inode(&mine).unwrap();
    let left = (running.process.key(), running.group.record(), inode, mine.local_addr().unwrap());
    leave(&folder, "left", &serde_json::to_string(&left).unwrap());
    hang();
}

#[test]
#[ignore = "a role that other tests play"]
fn program_that_notifies() {
    if !plays("program_that_notifies") {
        return;
    }
    let socket = UnixDatagram::unbound().unwrap();
    let path = std::env::var("NOTIFY_SOCKET").unwrap();
    socket.send_to(b"READY=1\nSTATUS=from the instance", path).unwrap();
    hang();
}

#[tokio::test]
#[ignore = "a role that other tests play"]
async fn program_that_prints_to_journald() {
    if !plays("program_that_prints_to_journald") {
        return;
    }
    let room = Room::new();
    let mut spec = room.shell("echo hello from $HANDOVER_INSTANCE");
    spec.log = handover_agent::instance::logs::journald_sink("web", "web-1");
    let running = crate::support::start(&spec, Vec::new()).await.unwrap();
    crate::support::within("the program's end", running.process.exited()).await;
}

/// Runs a program whose output goes to journald.
async fn print_to_journald(instance: &str, script: &str) {
    let room = Room::new();
    let mut spec = room.shell(script);
    spec.instance = instance.into();
    spec.log = handover_agent::instance::logs::journald_sink("web", instance);
    let running = crate::support::start(&spec, Vec::new()).await.unwrap();
    crate::support::within("the program's end", running.process.exited()).await;
}

/// The texts of a request that is not followed. Their instances depend on whether the program, which is in no cgroup of its
/// own here, is gone when journald looks.
async fn read_journald(request: &LogRequest) -> Vec<Vec<u8>> {
    let (out, mut pieces) = tokio::sync::mpsc::channel(1_000);
    handover_agent::logs::read(Path::new("/nonexistent"), request, &out).await;
    drop(out);
    let mut lines = Vec::new();
    while let Some(piece) = pieces.recv().await {
        lines.extend(lines_of(piece));
    }
    lines
}

fn lines_of(piece: Piece) -> Vec<Vec<u8>> {
    match piece {
        Piece::Lines(lines) => lines
            .into_iter()
            .map(|line| {
                assert!(line.micros.is_some() && !line.seen, "journald writes the time down");
                line.text
            })
            .collect(),
        Piece::Failed(why) => panic!("{why}"),
        Piece::CaughtUp | Piece::Note(_) => Vec::new(),
    }
}

#[tokio::test]
#[ignore = "a role that other tests play"]
async fn agent_that_reads_journald() {
    if !plays("agent_that_reads_journald") {
        return;
    }
    let all = LogRequest {
        service: "web".parse().unwrap(),
        instances: BTreeSet::new(),
        since_millis: 0,
        follow: false,
        lines: 100,
    };
    print_to_journald("web-d1", "echo one; printf 'two \\033[31m\\377\\n'").await;
    print_to_journald("web-d2", "echo three").await;
    let expected = [b"one".as_slice(), b"two \x1b[31m\xff", b"three"].map(<[u8]>::to_vec);
    let end = std::time::Instant::now() + SOON;
    let mut read = Vec::new();
    while read != expected {
        assert!(std::time::Instant::now() < end, "{read:?}");
        read = read_journald(&all).await;
    }
    let newest = LogRequest { lines: 2, ..all.clone() };
    assert_eq!(read_journald(&newest).await, expected[1..]);

    let follow = LogRequest { follow: true, lines: 1, ..all };
    let (out, mut pieces) = tokio::sync::mpsc::channel(1);
    let reading = tokio::spawn(async move {
        handover_agent::logs::read(Path::new("/nonexistent"), &follow, &out).await;
    });
    let mut followed = Vec::new();
    while followed.is_empty() {
        followed = lines_of(crate::support::within("what was there", pieces.recv()).await.unwrap());
    }
    assert_eq!(followed, expected[2..]);
    print_to_journald("web-d3", "echo four").await;
    while followed.len() < 2 {
        followed.extend(lines_of(crate::support::within("a new line", pieces.recv()).await.unwrap()));
    }
    assert_eq!(followed[1], b"four");
    // Nobody reads any more: the next line ends the reading.
    drop(pieces);
    print_to_journald("web-d3", "echo five").await;
    crate::support::within("the end of the reading", reading).await.unwrap();
    println!("journald was read and followed");
}
