//! Stores of another format: older ones are brought up, newer ones are left as they are.

use crate::fixture::{Place, Server, can_trace, contents, until};
use std::{fs, time::Duration};

const CHANGES: &str = "the store's format changes";

/// Everything that was in the first servers' store.
#[track_caller]
fn has_everything(place: &Place) {
    let history = place.run(&["history", "--json"]).expect(0).stdout;
    let states: Vec<String> = history
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["state"].as_str().unwrap().into()
        })
        .collect();
    assert_eq!(states, ["succeeded", "rolled back", "succeeded", "succeeded"]);
    let host = place.run(&["hosts", "show", "old-1", "--json"]).expect(0).last();
    assert_eq!(host["assignments"][0]["version"], "v1");
    assert_eq!(place.run(&["release", "list", "--json"]).expect(0).stdout.lines().count(), 3);
}

#[test]
fn a_store_of_the_first_servers_is_backed_up_and_brought_up_once() {
    let place = Place::with_layout_0();
    let server = place.serve();
    assert!(server.log().contains(CHANGES), "{}", server.log());
    has_everything(&place);
    server.kill();
    let backup = place.data().join("before-format-1.backup");
    let server = place.serve();
    assert!(!server.log().contains(CHANGES), "{}", server.log());
    server.kill();
    place.run(&["server", "fsck"]).expect(0);

    // The backup is of the store as it was: restored, it is brought up again.
    let other = Place::new();
    other.run(&["server", "restore", backup.to_str().unwrap()]).expect(0);
    let server = other.serve();
    assert!(server.log().contains(CHANGES), "{}", server.log());
    has_everything(&other);
    server.kill();
}

#[test]
fn a_kill_in_the_middle_of_bringing_a_store_up_loses_nothing() {
    if !can_trace() {
        return;
    }
    const DELAY: Duration = Duration::from_millis(40);
    let (mut before, mut between, mut after) = (0, 0, 0);
    for step in 1_u32.. {
        assert!(step < 300, "the server is never ready");
        let place = Place::with_layout_0();
        // Each step towards the disk takes a while, so that kills in even distances hit each of them.
        let mut command = place.command("strace");
        let calls = "fsync,fdatasync,sync_file_range,rename,renameat,renameat2";
        command.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={calls}")]);
        command.args(["-e", &format!("inject={calls}:delay_enter={}", DELAY.as_micros())]);
        command.args([env!("CARGO_BIN_EXE_handover"), "server"]);
        let mut tracer = Server::of(command);
        let mut pid = None;
        until("the server to begin", || {
            pid = tracer.traced();
            pid.is_some()
        });
        // Not a wait for something to happen: the moment of the kill is what is tried.
        // In steps that are shorter than one delay, so that none of them falls between two kills.
        std::thread::sleep(DELAY * step / 2);
        let ready = tracer.log().contains("handover server ready");
        nix::sys::signal::kill(pid.unwrap(), nix::sys::signal::Signal::SIGKILL).unwrap();
        tracer.wait();

        let backed_up = place.data().join("before-format-1.backup").exists();
        let server = place.serve();
        let changes = server.log().contains(CHANGES);
        has_everything(&place);
        server.kill();
        place.run(&["server", "fsck"]).expect(0);
        match (backed_up, changes) {
            (false, true) => before += 1,
            (true, true) => between += 1,
            (true, false) => after += 1,
            (false, false) => panic!("step {step}: the format changed without a backup"),
        }
        if ready {
            break;
        }
    }
    assert!(before > 0 && between > 0 && after > 0, "{before} {between} {after}");
}

#[test]
fn a_store_of_a_newer_server_is_refused_by_name_and_left_as_it_is() {
    const AT: &str = "HANDOVER_TEST_STORE";
    if let Some(store) = std::env::var_os(AT) {
        // As the next server would write it.
        let store = handover::store::SledStore::open(store.as_ref()).unwrap();
        let mut batch = handover::store::Batch::new();
        let record = r#"{"version":2,"oldest_reader":"0.3.0","written_by":"0.3.1","more":[]}"#;
        batch.put(handover::store::Keyspace::Meta, "format", record).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(handover::store::Store::commit(&store, batch)).unwrap();
        store.close();
        return;
    }
    let place = Place::with_layout_0();
    place.serve().kill();
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    let test = "migration::a_store_of_a_newer_server_is_refused_by_name_and_left_as_it_is";
    command.args([test, "--exact"]).env(AT, place.data().join("store"));
    assert!(command.output().unwrap().status.success());
    let db = fs::read(place.data().join("store/db")).unwrap();
    let said = place.refused();
    for words in ["format 2", "handover 0.3.1", env!("CARGO_PKG_VERSION"), "start handover 0.3.0 or later"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert_eq!(fs::read(place.data().join("store/db")).unwrap(), db);
    assert!(contents(&place.data()).keys().all(|path| !path.to_string_lossy().contains("aside")));
}
