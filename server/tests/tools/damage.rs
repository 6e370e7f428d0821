//! Files of the store that were cut or changed: the server has everything that was confirmed, or refuses to start and
//! says what to do. It never goes on with less.

use crate::fixture::{Place, contents};
use std::fs;

/// Offers the damage to a server: whether it went on, with all of `tokens`.
fn goes_on_whole(place: &Place, what: &str, tokens: &[String]) -> bool {
    let files = fs::read_dir(place.data().join("store")).unwrap().count();
    let mut server = place.start();
    if server.is_ready() {
        assert_eq!(place.tokens(), tokens, "{what}: the server went on with less");
        return true;
    }
    let said = server.kill();
    assert!(said.contains("handover server restore FILE --set-aside"), "{what}: {said}");
    assert!(said.contains("nothing was deleted"), "{what}: {said}");
    assert!(fs::read_dir(place.data().join("store")).unwrap().count() >= files, "{what}: a file is gone");
    false
}

#[test]
fn a_store_that_was_cut_or_changed_is_never_gone_on_with_by_half() {
    let place = Place::new();
    let server = place.serve();
    let mut tokens: Vec<String> = (0..12).map(|_| place.token()).collect();
    let backup = place.path("fleet.backup");
    place.run(&["server", "backup", backup.to_str().unwrap()]).expect(0);
    server.kill();
    tokens.sort();
    let db = fs::read(place.data().join("store/db")).unwrap();
    let used = db.iter().rposition(|byte| *byte != 0).unwrap() + 1;

    let mut refused = 0;
    let mut damaged = |what: String, bytes: &[u8]| {
        let copy = place.copy();
        fs::write(copy.data().join("store/db"), bytes).unwrap();
        if !goes_on_whole(&copy, &what, &tokens) {
            refused += 1;
            copy.run(&["server", "fsck"]).expect(1);
            copy.run(&["server", "restore", backup.to_str().unwrap(), "--set-aside"]).expect(0);
            let _server = copy.serve();
            assert_eq!(copy.tokens(), tokens, "{what}: restored");
        }
    };
    for tail in [1, 7, 64, 300, used / 2, used - 1] {
        damaged(format!("{tail} bytes cut"), &db[..used - tail]);
        let mut zeros = db.clone();
        zeros[used - tail..used].fill(0);
        damaged(format!("{tail} bytes zeroed"), &zeros);
    }
    for eighth in 1..8 {
        let mut changed = db.clone();
        changed[used * eighth / 8] ^= 0x40;
        damaged(format!("a bit changed at {eighth} eighths"), &changed);
    }
    assert!(refused >= 8, "only {refused} damages mattered");
}

#[test]
fn an_older_copy_of_the_files_is_not_taken_for_the_store_unless_told_to() {
    let place = Place::new();
    let server = place.serve();
    let first = place.token();
    server.kill();
    let older = place.copy();
    let server = place.serve();
    place.token();
    server.kill();
    fs::rename(place.data().join("store"), place.data().join("newer")).unwrap();
    crate::fixture::copy_folder(&older.data().join("store"), &place.data().join("store"));
    let said = place.refused();
    assert!(said.contains("has lost changes that were confirmed"), "{said}");
    assert!(said.contains("remove") && said.contains("store.lock"), "{said}");
    fs::remove_file(place.data().join("store.lock")).unwrap();
    let _server = place.serve();
    assert_eq!(place.tokens(), [first]);
}

#[test]
fn a_foreign_folder_is_refused_and_left_alone() {
    let place = Place::new();
    fs::create_dir_all(place.data().join("store")).unwrap();
    fs::write(place.data().join("store/letters"), "of somebody").unwrap();
    let said = place.refused();
    assert!(said.contains("is no store of Handover"), "{said}");
    let store = contents(&place.data().join("store"));
    assert_eq!(store.into_values().collect::<Vec<_>>(), [b"of somebody"]);
}
