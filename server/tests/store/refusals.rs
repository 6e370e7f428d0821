//! Folders that are no store, or not one that this server may touch: a clear error, nothing lost.

use crate::child::{in_own_process, play, role, runtime, say};
use handover::store::{Batch, Keyspace, OpenError, SledStore, Store, set_aside};
use std::path::Path;

fn error_of(path: &Path) -> String {
    let error = SledStore::open(path).expect_err("the store was opened");
    let source = std::error::Error::source(&error).map_or(String::new(), |source| format!(": {source}"));
    format!("{error}{source}")
}

/// Makes a store with one host, in a process of its own.
fn make(test: &str, path: &Path) {
    play(test, "make", path).finish();
}

/// Plays `make`, or changes the store beneath the server's feet, or opens it and says the error. True where this
/// process is a child.
fn plays(change: impl FnOnce(&sled::Db)) -> bool {
    let Some((role, path)) = role() else { return false };
    match &*role {
        "make" => {
            let store = SledStore::open(&path).unwrap();
            let mut batch = Batch::new();
            batch.put(Keyspace::Hosts, "alpha", "a host").unwrap();
            runtime().block_on(store.commit(batch)).unwrap();
        }
        "change" => {
            let db = sled::Config::new().path(&path).segment_size(2 * 1024 * 1024).open().unwrap();
            change(&db);
            db.flush().unwrap();
        }
        "open" => say(&error_of(&path).replace('\n', " ")),
        "check" => {
            let store = SledStore::open(&path).unwrap();
            assert_eq!(store.get(Keyspace::Hosts, b"alpha").unwrap().as_deref(), Some(&b"a host"[..]));
        }
        other => panic!("no role {other}"),
    }
    true
}

/// What opening the store says once `change` was made to it.
fn refused_after_change(test: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    make(test, &path);
    play(test, "change", &path).finish();
    play(test, "open", &path).finish().concat()
}

#[test]
fn what_was_committed_is_there_after_a_start_anew() {
    if !plays(|_| ()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep").join("store");
        make("refusals::what_was_committed_is_there_after_a_start_anew", &path);
        play("refusals::what_was_committed_is_there_after_a_start_anew", "check", &path).finish();
        let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&path).unwrap());
        assert_eq!(mode & 0o777, 0o700);
    }
}

#[test]
fn a_value_of_a_newer_version_refuses_the_start() {
    let change = |db: &sled::Db| {
        let tree = db.open_tree("hosts").unwrap();
        let mut value = tree.get("alpha").unwrap().unwrap().to_vec();
        value[0] = 9;
        tree.insert("alpha", value).unwrap();
    };
    if !plays(change) {
        let said = refused_after_change("refusals::a_value_of_a_newer_version_refuses_the_start");
        assert!(said.contains("hosts \"alpha\" has format 9") && said.contains("a newer server"), "{said}");
    }
}

#[test]
fn a_damaged_value_refuses_the_start_and_is_named() {
    let change = |db: &sled::Db| {
        let tree = db.open_tree("hosts").unwrap();
        let mut value = tree.get("alpha").unwrap().unwrap().to_vec();
        value[3] ^= 1;
        tree.insert("alpha", value).unwrap();
    };
    if !plays(change) {
        let said = refused_after_change("refusals::a_damaged_value_refuses_the_start_and_is_named");
        assert!(
            said.contains("hosts \"alpha\" is damaged") && said.contains("put a backup in its place"),
            "{said}"
        );
    }
}

#[test]
fn a_store_of_a_newer_server_is_left_as_it_is() {
    let change = |db: &sled::Db| {
        db.open_tree("format").unwrap().insert("store", "handover-store 2").unwrap();
    };
    if !plays(change) {
        let said = refused_after_change("refusals::a_store_of_a_newer_server_is_left_as_it_is");
        assert!(said.contains("\"handover-store 2\"") && said.contains("a newer server wrote it"), "{said}");
    }
}

#[test]
fn a_keyspace_of_a_newer_server_refuses_the_start() {
    let change = |db: &sled::Db| drop(db.open_tree("moons").unwrap());
    if !plays(change) {
        let said = refused_after_change("refusals::a_keyspace_of_a_newer_server_refuses_the_start");
        assert!(said.contains("\"moons\""), "{said}");
    }
}

#[test]
fn a_database_of_another_program_is_no_store() {
    const TEST: &str = "refusals::a_database_of_another_program_is_no_store";
    let change = |db: &sled::Db| {
        db.insert("somebody's", "value").unwrap();
    };
    if !plays(change) {
        let folder = tempfile::tempdir().unwrap();
        play(TEST, "change", folder.path()).finish();
        let said = play(TEST, "open", folder.path()).finish().concat();
        assert!(said.contains("no store of Handover"), "{said}");
    }
}

#[test]
fn a_folder_with_other_files_is_no_store_and_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("etc");
    std::fs::create_dir(&path).unwrap();
    std::fs::write(path.join("passwd"), "root").unwrap();
    let said = error_of(&path);
    assert!(said.contains("no store of Handover"), "{said}");
    assert_eq!(std::fs::read_dir(&path).unwrap().count(), 1);
}

#[test]
fn a_damaged_file_refuses_the_start_deletes_nothing_and_can_be_set_aside() {
    const TEST: &str = "refusals::a_damaged_file_refuses_the_start_deletes_nothing_and_can_be_set_aside";
    if !plays(|_| ()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        make(TEST, &path);
        // The engine writes its snapshot at the second start.
        play(TEST, "check", &path).finish();
        let snapshot = snapshot_of(&path);
        std::fs::write(&snapshot, "no snapshot, but longer than one").unwrap();
        let said = play(TEST, "open", &path).finish().concat();
        assert!(said.contains("cannot be read") && said.contains("put a backup in its place"), "{said}");
        assert!(said.contains(path.to_str().unwrap()), "{said}");
        assert!(path.join("db").exists());

        let aside = set_aside(&path).unwrap();
        assert_eq!(aside, folder.path().join("store.aside-1"));
        assert!(aside.join(snapshot.file_name().unwrap()).exists());
        make(TEST, &path);
        assert_eq!(set_aside(&path).unwrap(), folder.path().join("store.aside-2"));
    }
}

fn snapshot_of(path: &Path) -> std::path::PathBuf {
    let mut files = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    files.find(|path| path.file_name().unwrap().to_string_lossy().starts_with("snap.")).unwrap()
}

#[test]
fn a_data_file_that_lost_its_content_is_not_taken_for_a_new_store() {
    const TEST: &str = "refusals::a_data_file_that_lost_its_content_is_not_taken_for_a_new_store";
    if !plays(|_| ()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        for keep_snapshot in [true, false] {
            make(TEST, &path);
            play(TEST, "check", &path).finish();
            let length = std::fs::metadata(path.join("db")).unwrap().len();
            std::fs::write(path.join("db"), vec![0; usize::try_from(length).unwrap()]).unwrap();
            if !keep_snapshot {
                std::fs::remove_file(snapshot_of(&path)).unwrap();
            }
            let said = play(TEST, "open", &path).finish().concat();
            assert!(said.contains("cannot be read"), "{said}");
            set_aside(&path).unwrap();
        }
    }
}

#[test]
fn a_store_in_use_is_refused_and_cannot_be_set_aside() {
    const TEST: &str = "refusals::a_store_in_use_is_refused_and_cannot_be_set_aside";
    if let Some((role, path)) = role() {
        if role == "hold" {
            let _store = SledStore::open(&path).unwrap();
            say("open");
            // Until it is killed.
            std::thread::park_timeout(std::time::Duration::from_secs(120));
            return;
        }
        let error = SledStore::open(&path).unwrap_err();
        assert!(matches!(error, OpenError::Locked { .. }), "{error}");
        say(&error.to_string());
        assert!(matches!(set_aside(&path), Err(OpenError::Locked { .. })));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let mut holder = play(TEST, "hold", &path);
    assert_eq!(holder.hear().as_deref(), Some("open"));
    let said = play(TEST, "open", &path).finish().concat();
    assert!(said.contains("in use by another process"), "{said}");
    holder.kill();
    assert!(set_aside(&path).is_ok(), "the lock outlived its process");
}

#[test]
fn a_second_store_in_one_process_is_refused() {
    in_own_process("refusals::a_second_store_in_one_process_is_refused", |folder| {
        drop(SledStore::open(&folder.join("one")).unwrap());
        let error = SledStore::open(&folder.join("two")).unwrap_err();
        assert!(matches!(error, OpenError::OpenedBefore), "{error}");
    });
}
