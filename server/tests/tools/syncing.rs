//! What is confirmed is on the disk: seen by strace.

use crate::fixture::{Place, Server, can_trace};
use std::fs;

/// The lines of a trace that say a file was synced, or got its name.
fn calls(trace: &str) -> Vec<&str> {
    trace.lines().filter(|line| line.contains(" = 0") && !line.contains("resumed")).collect()
}

/// How often a file was synced, by a call that ended well.
fn syncs(trace: &str, file: &str) -> usize {
    let named = |line: &&str| line.contains(&format!("{file}>)"));
    let whole =
        calls(trace).iter().filter(|line| line.contains(" fsync(")).filter(|line| named(line)).count();
    // A call that others came in between of: its beginning names the file, its end says that it went well.
    let mut waiting = std::collections::BTreeSet::new();
    let mut resumed = 0;
    for line in trace.lines() {
        let thread = line.split_whitespace().next();
        if line.contains(" fsync(") && line.contains(&format!("{file}> <unfinished")) {
            waiting.insert(thread);
        } else if line.contains("fsync resumed") && line.contains(" = 0") && waiting.remove(&thread) {
            resumed += 1;
        }
    }
    whole + resumed
}

#[test]
fn what_is_confirmed_was_synced_before() {
    if !can_trace() {
        return;
    }
    let place = Place::new();
    let trace = place.path("trace");
    let mut command = place.command("strace");
    command.args(["-f", "-y", "-qq", "-o", trace.to_str().unwrap()]);
    command.args(["-e", "trace=fsync,fdatasync,sync_file_range,rename"]);
    command.args([env!("CARGO_BIN_EXE_handover"), "server"]);
    let mut tracer = Server::of(command);
    assert!(tracer.is_ready(), "{}", tracer.log());
    let db = place.data().join("store/db");
    let synced = || syncs(&fs::read_to_string(&trace).unwrap(), db.to_str().unwrap());
    for round in 0..10 {
        let before = synced();
        place.token();
        // The tracer writes a line down before it lets the call return: the answer came after the fsync.
        assert!(
            synced() > before,
            "round {round}: a change was confirmed without an fsync of {}",
            db.display()
        );
    }
    // The engine alone would not have done it.
    let text = fs::read_to_string(&trace).unwrap();
    assert!(text.contains("sync_file_range("), "the engine syncs otherwise now: see FACTS of sled");
    // The folder was synced once the engine had made its files.
    assert!(syncs(&text, place.data().join("store").to_str().unwrap()) > 0);
    let pid = tracer.traced().expect("the server is gone");
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    tracer.wait();
}

#[test]
fn a_backup_is_synced_before_it_has_its_name_and_the_folder_after() {
    if !can_trace() {
        return;
    }
    let place = Place::new();
    let _server = place.serve();
    let (trace, file) = (place.path("trace"), place.path("fleet.backup"));
    let mut command = place.command("strace");
    command.args(["-f", "-y", "-qq", "-o", trace.to_str().unwrap()]);
    command.args(["-e", "trace=fsync,rename,renameat,renameat2,link,linkat"]);
    command.args([env!("CARGO_BIN_EXE_handover"), "server", "backup"]).arg(&file);
    assert!(command.output().unwrap().status.success());
    let trace = fs::read_to_string(&trace).unwrap();
    let calls = calls(&trace);
    let at = |words: &[&str]| {
        let found = calls.iter().position(|line| words.iter().all(|word| line.contains(word)));
        found.unwrap_or_else(|| panic!("no {words:?} in:\n{trace}"))
    };
    let synced = at(&["fsync(", ".handover-backup-"]);
    let named = at(&["fleet.backup\""]);
    let folder = at(&["fsync(", &format!("{}>", file.parent().unwrap().display())]);
    assert!(synced < named && named < folder, "{trace}");
}
