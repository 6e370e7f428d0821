//! Errors of commands that no server hears of, as they are printed.

use crate::printed::{Told, is_as_agreed};
use handover_tests::{
    fleet::{Fleet, Sample},
    process::binary,
};
use std::{fs, path::Path, process::Command};

/// A program with nothing of this process's environment, in a folder that is its home.
fn alone(folder: &Path, program: &str, words: &[&str]) -> Command {
    let mut command = Command::new(binary(program));
    command.args(words).env_clear().env("HOME", folder).current_dir(folder);
    command
}

#[test]
fn a_command_line_that_makes_no_sense() {
    let folder = tempfile::tempdir().unwrap();
    let mut told = Told::new();
    for words in [
        &["deply", "web"][..],
        &["deploy"],
        &["deploy", "web", "--releas", "1"],
        &["deploy", "web", "--yes", "--plan"],
        &["status", "--socket", "/s", "--server", "a:1"],
        &["status", "--server", "a:1"],
        &["status", "--context", "prod"],
        &["token", "create", "--ttl", "soon"],
        &["logs", "web", "--since", "yesterday"],
        &["operator", "create", "ada", "--role", "boss"],
        &["audit", "verify", "--head", "nonsense"],
    ] {
        told.run(alone(folder.path(), "handover", words));
    }
    is_as_agreed!("errors-usage", told.text());
}

#[test]
fn a_server_that_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("empty")).unwrap();
    let mut told = Told::new().with(folder.path(), "[folder]");
    let socket = folder.path().join("nowhere.sock");
    for words in [
        &["status"][..],
        &["status", "--socket", socket.to_str().unwrap()],
        &["status", "--server", "127.0.0.1:1", "--identity", "nowhere"],
        &["status", "--server", "127.0.0.1:1", "--identity", "empty"],
    ] {
        told.run(alone(folder.path(), "handover", words));
    }
    is_as_agreed!("errors-no-server", told.text());
}

#[test]
fn a_manifest_with_mistakes() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = "service = \"Web\"\ncommand = [\"bin/web\"]\nusr = \"www-data\"\n\n[readiness]\nkind = \"htttp\"\n\n\
                    [rollout]\nbatch = 0\n";
    fs::write(folder.path().join("handover.toml"), manifest).unwrap();
    fs::create_dir(folder.path().join("empty")).unwrap();
    fs::write(folder.path().join("broken.toml"), "service = web\n").unwrap();
    let mut told = Told::new().with(folder.path(), "[folder]");
    for words in
        [&["check"][..], &["check", "broken.toml"], &["check", "empty"], &["check", "nowhere"], &["init"]]
    {
        told.run(alone(folder.path(), "handover", words));
    }
    is_as_agreed!("errors-manifest", told.text());
}

#[test]
fn a_server_or_an_agent_that_cannot_start_and_a_store_that_is_none() {
    let fleet = Fleet::with_server();
    let folder = fleet.folder.path();
    let told = Told::of(&fleet);
    let mut told = told.with(fleet.server.pid().to_string(), "[pid]");
    fs::write(folder.join("torn.backup"), "nothing that a server wrote").unwrap();
    fs::write(folder.join("agent.toml"), "server = \"a:1\"\nadress = \"127.0.0.1\"\n").unwrap();
    for words in [
        &["server", "--data", "server", "--unix", "other.sock", "--listen", "127.0.0.1:0"][..],
        &["server", "fsck", "--data", "server"],
        &["server", "fsck", "--data", "nowhere"],
        &["server", "restore", "torn.backup", "--data", "new"],
        &["server", "restore", "nowhere.backup", "--data", "new"],
        &["server", "backup", "fleet.backup"],
    ] {
        told.run(alone(folder, "handover", words));
    }
    for words in [
        &["run", "--config", "nowhere.toml"][..],
        &["run", "--config", "agent.toml"],
        &["stop", "--config", "nowhere.toml"],
        &["join", "--token", "nonsense", "--config", "new.toml"],
    ] {
        told.run(alone(folder, "handover-agent", words));
    }
    is_as_agreed!("errors-daemons", told.text());
}

#[test]
fn a_folder_that_is_no_release() {
    let fleet = Fleet::with_server();
    let folder = fleet.folder.path();
    fs::create_dir(folder.join("empty")).unwrap();
    for name in ["outside", "typo", "good"] {
        Sample::new("v1").write(&folder.join(name));
    }
    std::os::unix::fs::symlink("/etc/passwd", folder.join("outside/passwd")).unwrap();
    let typo = Sample::new("v1").manifest().replace("readiness", "readyness");
    fs::write(folder.join("typo/handover.toml"), typo).unwrap();
    fleet.cli().run(["release", "push", folder.join("good").to_str().unwrap(), "--version", "v1"]).expect(0);
    fs::write(folder.join("good/VERSION"), "another content").unwrap();
    let mut told = Told::of(&fleet);
    for (name, version) in [
        ("nowhere", "v1"),
        ("empty", "v1"),
        ("typo", "v1"),
        ("outside", "v2"),
        ("good", "v1"),
        ("good", "a b"),
    ] {
        let mut command = fleet.cli().command(["release", "push", name, "--version", version]);
        command.current_dir(folder);
        told.run(command);
    }
    is_as_agreed!("errors-release", told.text());
}
