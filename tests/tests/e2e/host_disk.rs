//! A host's disk is full: what runs goes on, nothing new is begun, everybody is told, and room is all it needs.

use handover_tests::{
    exposition::Exposition,
    fleet::{Cli, Fleet, Sample, Traffic, UP},
    http,
    process::{binary, wait_until},
    small_disk::SmallDisk,
};
use serde_json::Value;
use std::{
    fs,
    process::{Command, Stdio},
};

const MIB: u64 = 1024 * 1024;
/// Room for some releases of the sample service, whose program has some 20 MiB. A tenth of it is worth a warning, a
/// thirty-second part is what releases leave free.
const SIZE: u64 = 256 * MIB;

/// A fleet with a host whose state, logs and runtime folder are on a small disk.
fn fleet() -> Option<(Fleet, SmallDisk)> {
    let folder = tempfile::Builder::new().prefix("handover-").tempdir().unwrap();
    let disk = SmallDisk::mount(&folder.path().join("disk"), SIZE)?;
    for name in ["state", "log", "run"] {
        disk.show(name, &folder.path().join("host-a").join(name));
    }
    let mut fleet = Fleet::in_folder(folder);
    fleet.add_host();
    fleet.online(1);
    Some((fleet, disk))
}

fn shown(fleet: &Fleet) -> Value {
    fleet.cli().run(["hosts", "show", &fleet.agents[0].host, "--json"]).expect(0).last()
}

fn told(fleet: &Fleet, name: &str, labels: &[(&str, &str)]) -> f64 {
    let told = http::get(fleet.agents[0].metrics(), "/metrics").unwrap();
    let told = Exposition::parse(&told.body);
    assert_eq!(told.mistakes(), Vec::<String>::new());
    told.value(name, labels).unwrap_or_else(|| panic!("no {name}"))
}

/// Waits for a line of `handover hosts` about this host.
fn until_noted(fleet: &Fleet, note: &str) {
    let line = format!("host {}: {note}", fleet.agents[0].host);
    wait_until(UP, &line, || fleet.cli().run(["hosts"]).expect(0).stdout.contains(&line));
}

fn explained(cli: &Cli, deployment: &str) -> String {
    cli.run(["explain", deployment]).expect(0).stdout
}

/// What lies in a folder of the agent's state.
fn count(fleet: &Fleet, folder: &str) -> usize {
    fs::read_dir(fleet.path("host-a/state").join(folder)).map_or(0, Iterator::count)
}

fn serves_all_the_while(fleet: &Fleet, disk: &SmallDisk) {
    let traffic = Traffic::on(fleet);
    let pids = fleet.agents[0].pids();

    // Getting full: a warning, before anything fails.
    disk.fill_but(20 * MIB);
    until_noted(fleet, "its disk is getting full: ");
    assert_eq!(shown(fleet)["facts"]["disks"][0]["room"], "low");
    assert!(told(fleet, "handover_agent_disk_free_bytes", &[("folder", "logs")]) <= 20.0 * MIB as f64);
    assert!(told(fleet, "handover_agent_disk_size_bytes", &[("folder", "state")]) >= SIZE as f64);

    // There is room for the archive, and not for the files: refused before a byte is fetched.
    fleet.push(&Sample::new("v2"));
    let done = fleet.deploy("v2").expect(3).last();
    let reason = done["reason"].as_str().unwrap().to_owned();
    for part in
        [&fleet.agents[0].host, "host-a/state/releases", "has no room", "unpacked", "are free", "make room"]
    {
        assert!(reason.contains(part), "{part}: {reason}");
    }
    assert!(explained(&fleet.cli(), "d2").contains("has no room for bundle"));
    assert_eq!((count(fleet, "fetching"), count(fleet, "releases")), (0, 1), "something is left of it");

    // Full to the last byte: not even that an instance is wanted can be written down. It is not begun.
    disk.fill();
    until_noted(fleet, "its disk is full: ");
    fleet.push(&Sample::new("v3").rollout("on_failure = \"pause\"\nbake = \"200ms\""));
    assert_eq!(fleet.deploy("v3").expect(4).last()["state"], "paused");
    let status = fleet.cli().run(["status", "web"]).stdout;
    assert!(status.contains("cannot be written down") && status.contains("make room"), "{status}");
    assert!(explained(&fleet.cli(), "d3").contains("make room"));
    until_noted(fleet, "its agent cannot write down what it does (");
    assert!(shown(fleet)["facts"]["unwritten"]["what"].as_str().unwrap().contains("host-a/state/agent"));
    assert!((told(fleet, "handover_agent_journal_unwritten", &[]) - 1.0).abs() < f64::EPSILON);
    let healthy = http::get(fleet.agents[0].metrics(), "/healthz").unwrap();
    assert!(healthy.status == 200 && healthy.body.contains("cannot be written down"), "{}", healthy.body);
    let said = |fleet: &Fleet| fleet.agents[0].log().matches("cannot be written down (").count();
    traffic.go_on_for(5_000);
    assert_eq!(said(fleet), 1, "a flood: {}", fleet.agents[0].log());
    assert!(fleet.agents[0].log().matches("ERROR").count() <= 2, "a flood: {}", fleet.agents[0].log());
    assert_eq!((fleet.agents[0].pids(), fleet.versions()), (pids, vec!["v1".to_owned()]));
    traffic.stop().assert_no_failures();
}

fn restarts_what_crashes(fleet: &Fleet) {
    let traffic = Traffic::one_connection_each(fleet);
    let before = fleet.agents[0].pids();
    let pid = nix::unistd::Pid::from_raw(before[0]);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    // What the journal says is what these pids come from: it was changed on the full disk.
    wait_until(UP, "another process of the instance", || {
        let now = fleet.agents[0].pids();
        now.len() == 1 && now != before
    });
    fleet.until_version(0, "v1");
    traffic.stop().assert_lost_only_what_was_being_worked_on(1);
}

#[test]
fn a_host_whose_disk_is_full_serves_on_begins_nothing_says_so_and_goes_on_once_there_is_room() {
    let Some((mut fleet, disk)) = fleet() else { return };
    fleet.push(&Sample::new("v1"));
    fleet.deploy("v1").expect(0);
    serves_all_the_while(&fleet, &disk);
    restarts_what_crashes(&fleet);

    // Room again: nothing is restarted for it, and the deployment that waits for a person goes on.
    let traffic = Traffic::on(&fleet);
    disk.empty();
    wait_until(UP, "the agent to say that it goes on", || {
        fleet.agents[0].log().contains("can be written down again")
    });
    wait_until(UP, "the notes to go", || {
        let facts = &shown(&fleet)["facts"];
        facts["unwritten"].is_null() && facts["disks"][0]["room"] == "enough"
    });
    let cli = fleet.cli();
    cli.run(["retry", "web"]).expect(4);
    assert_eq!(cli.run(["resume", "web", "--json"]).expect(0).last()["state"], "succeeded");
    assert_eq!(fleet.versions(), ["v3"]);

    // An agent that is started on a full disk takes over what runs, and does not fall.
    disk.fill();
    let pids = fleet.agents[0].pids();
    fleet.agents[0].kill();
    fleet.agents[0].start();
    wait_until(UP, "a session", || fleet.agents[0].log().contains("session server="));
    fleet.online(1);
    until_noted(&fleet, "its disk is full: ");
    assert_eq!(fleet.agents[0].log().matches("handover-agent ready").count(), 1);
    traffic.stop().assert_no_failures();
    assert_eq!((fleet.agents[0].pids(), fleet.versions()), (pids, vec!["v3".to_owned()]));
}

#[test]
fn a_host_that_returns_to_a_full_disk_is_brought_up_to_date_once_there_is_room() {
    let Some((mut fleet, disk)) = fleet() else { return };
    let release = |version: &str| Sample::new(version).rollout("bake = \"100ms\"\noffline = \"skip\"");
    fleet.push(&release("v1"));
    fleet.deploy("v1").expect(0);
    // Another host takes the next release, so that it is the service's.
    fleet.add_host();
    fleet.online(2);
    fleet.until_versions(&["v1", "v1"]);
    fleet.agents[0].kill();
    fleet.offline(0);
    fleet.push(&release("v2"));
    fleet.deploy("v2").expect(0);
    disk.fill();
    let traffic = Traffic::on(&fleet);
    fleet.agents[0].start();
    wait_until(UP, "the deployment of its own to fail", || {
        let told = explained(&fleet.cli(), "web");
        told.contains("make room")
    });
    assert_eq!(fleet.versions(), ["v1", "v2"]);
    disk.empty();
    fleet.until_versions(&["v2", "v2"]);
    traffic.stop().assert_no_failures();
}

#[test]
fn an_agent_whose_standard_error_is_a_full_disk_runs() {
    let mut fleet = Fleet::of(1);
    fleet.push(&Sample::new("v1"));
    fleet.deploy("v1").expect(0);
    fleet.agents[0].kill();
    fleet.offline(0);
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut agent = Command::new(binary("handover-agent"))
        .args(["run", "--config"])
        .arg(fleet.path("host-a/agent.toml"))
        .stdin(Stdio::null())
        .stderr(full)
        .spawn()
        .unwrap();
    fleet.online(1);
    fleet.push(&Sample::new("v2"));
    let done = fleet.deploy("v2");
    agent.kill().unwrap();
    agent.wait().unwrap();
    done.expect(0);
    assert_eq!(fleet.versions(), ["v2"]);
}
