//! The test is the service manager: READY, STATUS, WATCHDOG, STOPPING, of the real daemons.

use handover_tests::{
    fleet::{Cli, Fleet, Sample, UP, without_settings},
    http,
    manager::{Manager, Told},
    process::{Running, binary, wait_until},
};
use std::{
    fs::OpenOptions,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// So often the played manager wants to hear of the heart.
const WATCHDOG: Duration = Duration::from_secs(6);
/// An orderly end of either daemon takes less.
const END: Duration = Duration::from_secs(20);

fn ready(told: &Told) -> bool {
    told.says("READY=1")
}

/// The server, started by a manager, on this address and in this folder.
fn server(manager: &Manager, folder: &Path, listen: &str) -> Running {
    let mut command = Command::new(binary("handover"));
    command.args(["server", "--listen", listen, "--data"]).arg(folder.join("server"));
    command.arg("--unix").arg(folder.join("handover.sock")).stdin(Stdio::null());
    command.arg("--config").arg(without_settings(folder));
    manager.starts(&mut command);
    Running::start_command(folder, "server", command)
}

/// The first agent of a fleet, started again by a manager.
fn agent(manager: &Manager, fleet: &mut Fleet) -> Running {
    fleet.agents[0].kill();
    let mut command = Command::new(binary("handover-agent"));
    command.args(["run", "--config"]).arg(fleet.path("host-a/agent.toml")).stdin(Stdio::null());
    manager.starts(&mut command);
    Running::start_command(fleet.folder.path(), "agent", command)
}

/// Waits for beats over three times the manager's limit, and fails where one came too late.
fn beats_in_time(manager: &Manager) {
    let since = Instant::now();
    let end = since + WATCHDOG * 3;
    wait_until(WATCHDOG * 4, "three times the watchdog's limit", || Instant::now() > end);
    let mut last = since;
    for beat in manager.beats_since(since).into_iter().chain([Instant::now()]) {
        assert!(beat - last < WATCHDOG, "no WATCHDOG=1 for {:?}", beat - last);
        last = beat;
    }
}

#[test]
fn the_server_is_ready_when_it_answers_beats_in_time_and_says_that_it_stops() {
    let folder = tempfile::tempdir().unwrap();
    let manager = Manager::in_folder(folder.path(), WATCHDOG);
    let mut server = server(&manager, folder.path(), "127.0.0.1:0");
    let told = manager.until(UP, "READY=1", ready);
    let cli = Cli::on(folder.path().join("handover.sock"));
    cli.run(["hosts", "list"]).expect(0);
    assert_eq!(told.status(), Some("agents connected: 0 of 0; deployments running: 0"));
    beats_in_time(&manager);
    assert!(server.terminate(END).success());
    let last = manager.told().pop().unwrap();
    assert!(last.says("STOPPING=1"), "{last:?}");
}

#[test]
fn a_server_that_cannot_start_is_never_ready() {
    let running = Fleet::with_server();
    let folder = tempfile::tempdir().unwrap();
    let manager = Manager::in_folder(folder.path(), WATCHDOG);
    let mut second = server(&manager, folder.path(), &running.server.address());
    assert_eq!(second.wait(END).code(), Some(1));
    assert!(second.stderr().contains("is another server running?"), "{}", second.stderr());
    assert!(manager.told().is_empty(), "{:?}", manager.told());
}

#[test]
fn the_servers_status_counts_agents_and_deployments() {
    let mut fleet = Fleet::of(1);
    fleet.server.kill();
    let manager = Manager::in_folder(fleet.folder.path(), WATCHDOG);
    let _server = server(&manager, fleet.folder.path(), &fleet.server.address());
    let says = |status: &'static str| {
        let _ = manager.until(UP, status, |told| told.status() == Some(status));
    };
    says("agents connected: 1 of 1; deployments running: 0");
    fleet.push(&Sample::new("v1").rollout("bake = \"60s\""));
    let deploying = fleet.begin("v1");
    says("agents connected: 1 of 1; deployments running: 1");
    drop(deploying);
}

#[test]
fn the_agent_is_ready_when_it_has_taken_over_what_runs_and_stops_without_it() {
    let mut fleet = Fleet::of(1);
    fleet.push(&Sample::new("v1"));
    fleet.deploy("v1").expect(0);
    let pids = fleet.agents[0].pids();
    let manager = Manager::in_folder(fleet.folder.path(), WATCHDOG);
    let mut agent = agent(&manager, &mut fleet);
    let told = manager.until(UP, "READY=1", ready);
    let status = told.status().unwrap();
    assert!(status.starts_with("instances: 1 (1 ready, 0 given up); "), "{status}");
    let connected = format!("; in session with {}", fleet.server.address());
    let _ = manager.until(UP, "a session", |told| told.status().is_some_and(|s| s.ends_with(&connected)));
    beats_in_time(&manager);
    assert!(agent.terminate(END).success());
    let last = manager.told().pop().unwrap();
    assert!(last.says("STOPPING=1"), "{last:?}");
    assert_eq!(fleet.agents[0].pids(), pids);
    assert_eq!(http::version(fleet.addresses()[0]), "v1", "the instance went with the agent");
    fleet.agents[0].start();
    fleet.online(1);
}

#[test]
fn an_agent_whose_loop_is_stuck_stops_beating_says_why_and_beats_again_once_it_turns() {
    let mut fleet = Fleet::of(1);
    fleet.push(&Sample::new("v1"));
    fleet.deploy("v1").expect(0);
    let manager = Manager::in_folder(fleet.folder.path(), WATCHDOG);
    let _agent = agent(&manager, &mut fleet);
    let _ = manager.until(UP, "READY=1", ready);
    fleet.online(1);
    // The supervisor writes the next target down itself: opening a FIFO that nobody reads is a disk that hangs.
    let stuck = fleet.path("host-a/state/agent/spare/target.json");
    let _ = std::fs::remove_file(&stuck);
    nix::unistd::mkfifo(&stuck, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    fleet.push(&Sample::new("v2"));
    let deploying = fleet.begin("v2");
    let still = manager.until(UP, "a still heart", |told| {
        told.status().is_some_and(|status| status.starts_with("the supervisor has not moved for "))
    });
    assert!(!still.says("WATCHDOG=1"));
    let stopped = Instant::now();
    let end = stopped + WATCHDOG * 2;
    wait_until(WATCHDOG * 3, "twice the watchdog's limit", || Instant::now() > end);
    assert_eq!(manager.beats_since(stopped), Vec::<Instant>::new(), "a heart that is stuck has beaten");
    assert_eq!(fleet.versions(), ["v1"], "what runs goes on");
    // The session has a thread of its own: a disk that hangs is not taken for a host that is gone.
    fleet.online(1);
    // A reader lets it go on. A FIFO cannot be synced, so the target cannot be written down and is not worked on.
    let flags = nix::libc::O_NONBLOCK;
    let reader = OpenOptions::new().read(true).custom_flags(flags).open(&stuck).unwrap();
    let _ = std::fs::remove_file(&stuck);
    wait_until(UP, "a beat", || !manager.beats_since(stopped).is_empty());
    drop(reader);
    deploying.end().expect(3);
    assert_eq!(fleet.versions(), ["v1"]);
}
