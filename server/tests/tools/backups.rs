//! Backups of a running server, and what is restored from them.

use crate::fixture::{Place, contents};
use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_backup_of_a_running_server_is_restored_elsewhere_with_everything() {
    let place = Place::with_layout_0();
    let server = place.serve();
    let token = place.token();
    let file = place.path("fleet.backup");
    let done = place.run(&["server", "backup", text(&file)]).expect(0);
    assert!(done.stdout.contains("backup of fleet test"), "{}", done.stdout);
    assert!(done.stderr.contains("keep the file secret"), "{}", done.stderr);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    // What comes later is not in it.
    let later = place.token();
    let (history, hosts) = (told(&place, "history"), told(&place, "hosts"));
    server.kill();

    let other = Place::new();
    let done = other.run(&["server", "restore", text(&file), "--json"]).expect(0).last();
    assert_eq!(done["problems"].as_array().unwrap().len(), 0, "{done}");
    let _server = other.serve();
    assert_eq!((told(&other, "history"), told(&other, "hosts")), (history, hosts));
    let tokens = other.tokens();
    assert!(tokens.contains(&token) && !tokens.contains(&later), "{tokens:?}");
    // Agents know the fleet by its CA.
    let ca = |place: &Place| contents(&place.data().join("ca")).into_values().collect::<Vec<_>>();
    assert_eq!(ca(&place), ca(&other));
    let key = other.data().join("ca/ca-key.pem");
    assert_eq!(fs::metadata(key).unwrap().permissions().mode() & 0o777, 0o600);
}

fn told(place: &Place, command: &str) -> String {
    place.run(&[command, "--json"]).expect(0).stdout
}

#[test]
fn a_backup_while_changes_are_made_is_of_one_moment() {
    let place = Place::new();
    let server = place.serve();
    let confirmed = std::sync::Mutex::new(Vec::new());
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let token = place.token();
                    confirmed.lock().unwrap().push(token);
                }
            });
        }
        for round in 0..5 {
            let before = confirmed.lock().unwrap().clone();
            let file = place.path(&format!("{round}.backup"));
            place.run(&["server", "backup", text(&file)]).expect(0);
            let after = confirmed.lock().unwrap().len();
            let other = Place::new();
            let done = other.run(&["server", "restore", text(&file), "--json"]).expect(0).last();
            let entries = usize::try_from(done["entries"].as_u64().unwrap()).unwrap();
            // The format's record, the audit's end, an entry of the audit for each backup before this one, and the tokens,
            // each with its entry of the audit: all that were confirmed before, and at most one more on its way for each
            // of the two.
            let others = usize::from(entries > 1) + 1 + round;
            let (least, most) = (2 * before.len() + others, 2 * (after + 2) + others);
            assert!((least..=most).contains(&entries), "{entries} are not {least} to {most}");
            assert_eq!((entries - others) % 2, 0, "a token without its entry of the audit");
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    server.kill();
}

#[test]
fn a_backup_replaces_no_file_unless_told_to_and_leaves_none_behind_that_is_not_whole() {
    let place = Place::new();
    let server = place.serve();
    let file = place.path("fleet.backup");
    fs::write(&file, "something else").unwrap();
    let done = place.run(&["server", "backup", text(&file)]).expect(1);
    assert!(done.stderr.contains("exists already") && done.stderr.contains("--force"), "{}", done.stderr);
    assert_eq!(fs::read_to_string(&file).unwrap(), "something else");
    place.run(&["server", "backup", text(&file), "--force"]).expect(0);
    assert!(fs::read(&file).unwrap().starts_with(b"HANDOVER-BACKUP\n"));
    server.kill();
    place.run(&["server", "backup", text(&place.path("none"))]).expect(5);
    let names =
        |folder: &Path| fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name()).collect::<Vec<_>>();
    let names = names(place.data().parent().unwrap());
    assert!(
        names.iter().all(|name| !name.to_string_lossy().contains("backup-") && *name != *"none"),
        "{names:?}"
    );
}

#[test]
fn an_operator_from_another_machine_gets_no_backup() {
    let place = Place::new();
    let server = place.serve();
    let identity = place.path("ada");
    place.run(&["operator", "create", "ada", "--out", text(&identity)]).expect(0);
    let log = server.log();
    let address = log.split("TLS on ").nth(1).unwrap().split(',').next().unwrap().to_owned();
    let from_elsewhere = ["--server", &address, "--identity", text(&identity)];
    place.run(&[&["hosts"][..], &from_elsewhere].concat()).expect(0);
    let file = place.path("stolen");
    let done = place.run(&[&["server", "backup", text(&file)][..], &from_elsewhere].concat()).expect(6);
    assert!(done.stderr.contains("own machine only"), "{}", done.stderr);
    assert!(!file.exists());
}

#[test]
fn a_restore_refuses_a_running_server_a_store_that_is_there_and_a_file_that_is_not_whole() {
    let place = Place::new();
    let server = place.serve();
    let token = place.token();
    let file = place.path("fleet.backup");
    place.run(&["server", "backup", text(&file)]).expect(0);
    let done = place.run(&["server", "restore", text(&file), "--set-aside"]).expect(1);
    assert!(done.stderr.contains("in use by another process"), "{}", done.stderr);
    server.kill();

    let before = contents(&place.data());
    let done = place.run(&["server", "restore", text(&file)]).expect(1);
    assert!(
        done.stderr.contains("is there already") && done.stderr.contains("--set-aside"),
        "{}",
        done.stderr
    );
    let whole = fs::read(&file).unwrap();
    let torn = place.path("torn.backup");
    let mut changed = whole.clone();
    changed[whole.len() / 2] ^= 1;
    for (bytes, words) in [
        (&whole[..whole.len() - 7], "not whole"),
        (&*changed, "damaged"),
        (b"not a backup at all", "no backup"),
    ] {
        fs::write(&torn, bytes).unwrap();
        let done = place.run(&["server", "restore", text(&torn), "--set-aside"]).expect(1);
        assert!(done.stderr.contains(words), "{}", done.stderr);
    }
    assert_eq!(contents(&place.data()), before, "a refused restore changed something");
    let server = place.serve();
    assert!(place.tokens().contains(&token));
    server.kill();
}

#[test]
fn a_restore_keeps_the_former_store_beside_and_the_server_goes_on_from_the_backup() {
    let place = Place::new();
    let server = place.serve();
    let first = place.token();
    let file = place.path("fleet.backup");
    place.run(&["server", "backup", text(&file)]).expect(0);
    let second = place.token();
    server.kill();
    // What a restore that was killed has left behind does not count.
    fs::create_dir(place.data().join("store.restoring")).unwrap();
    let done = place.run(&["server", "restore", text(&file), "--set-aside"]).expect(0);
    assert!(done.stdout.contains("store.aside-1") && done.stdout.contains("next: start"), "{}", done.stdout);
    let server = place.serve();
    assert_eq!(place.tokens(), [&*first]);
    let third = place.token();
    server.kill();
    place.run(&["server", "fsck"]).expect(0);

    // The former store is whole: a way back.
    fs::rename(place.data().join("store"), place.data().join("store.restored")).unwrap();
    fs::rename(place.data().join("store.aside-1"), place.data().join("store")).unwrap();
    fs::remove_file(place.data().join("store.lock")).unwrap();
    let server = place.serve();
    let tokens = place.tokens();
    assert!(tokens.contains(&second) && !tokens.contains(&third), "{tokens:?}");
    server.kill();
}
