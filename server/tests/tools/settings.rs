//! A server that goes by its `server.toml`.

use crate::fixture::{Place, Server, until};
use std::process::{Command, Stdio};

/// A server's command with nothing of this process's environment but the configuration.
fn command(place: &Place) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_handover"));
    command.env_clear().env("HANDOVER_SERVER_CONFIG", place.path("server.toml")).stdin(Stdio::null());
    command
}

fn write(place: &Place, more: &str) {
    let (data, unix) = (place.data(), place.path("sock"));
    let text = format!(
        "data = \"{}\"\nunix = \"{}\"\nlisten = \"127.0.0.1:0\"\nfleet = \"filed\"\n{more}",
        data.display(),
        unix.display()
    );
    std::fs::write(place.path("server.toml"), text).unwrap();
}

#[test]
fn a_server_runs_by_its_file_alone_and_a_change_holds_from_the_next_start() {
    let place = Place::new();
    write(&place, "metrics = \"off\"\nlog_format = \"json\"\n");
    let mut first = command(&place);
    first.arg("server");
    let mut server = Server::of(first);
    assert!(server.is_ready(), "{}", server.log());
    let log = server.log();
    assert!(log.contains("TLS on 127.0.0.1:") && log.contains("fleet filed"), "{log}");
    assert!(!log.contains("metrics on"), "{log}");
    let line = log.lines().find(|line| line.contains("configuration is read")).unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["file"], place.path("server.toml").display().to_string());
    place.token();

    write(&place, "metrics = \"127.0.0.1:0\"\naddress = \"changed.example.org:7443\"\n");
    let made = place.run(&["token", "create"]).expect(0);
    server.kill();
    let mut again = command(&place);
    again.arg("server");
    let mut server = Server::of(again);
    assert!(server.is_ready(), "{}", server.log());
    until("the metrics' address", || server.log().contains(", metrics on 127.0.0.1:"));
    // A token carries the address that the server was started with.
    assert!(place.run(&["token", "create"]).expect(0).stdout.len() > made.stdout.len());
}

#[test]
fn the_tools_look_where_the_servers_file_says() {
    let place = Place::new();
    write(&place, "metrics = \"off\"\n");
    let mut start = command(&place);
    start.arg("server");
    let mut server = Server::of(start);
    assert!(server.is_ready(), "{}", server.log());
    server.kill();
    let looked = command(&place).args(["server", "fsck", "--json"]).output().unwrap();
    let said = String::from_utf8_lossy(&looked.stdout).into_owned();
    assert_eq!(looked.status.code(), Some(0), "{said}{}", String::from_utf8_lossy(&looked.stderr));
    let elsewhere = command(&place).args(["server", "fsck", "--data", "/nonexistent"]).output().unwrap();
    assert_eq!(elsewhere.status.code(), Some(1), "the flag comes first");
    std::fs::write(place.path("server.toml"), "dta = \"/x\"\n").unwrap();
    let wrong = command(&place).args(["server", "fsck"]).output().unwrap();
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert_eq!(wrong.status.code(), Some(1), "{said}");
    assert!(said.contains("dta: unknown key") && said.contains("did you mean \"data\"?"), "{said}");
}
