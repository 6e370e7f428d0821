//! What becomes a bundle, what does not, and that it is always the same.

use super::{chain, chmod, packed, sample};
use crate::{Limits, PackError, Refusal, Size, measure, pack, pack_within, verify};
use std::{
    ffi::OsStr,
    fs::{self, File, FileTimes},
    io::Write as _,
    os::unix::{ffi::OsStrExt as _, fs::symlink, net::UnixListener},
    path::Path,
    time::{Duration, UNIX_EPOCH},
};

fn refusal(dir: &Path) -> (String, Refusal) {
    match packed(dir).expect_err("what cannot be a bundle was packed") {
        PackError::Refused { path, refusal } => (path, refusal),
        error => panic!("{}", chain(&error)),
    }
}

#[test]
fn the_same_tree_gives_the_same_bytes_however_it_came_to_be() {
    let files = ["a/one", "a/two", "a-b", "b/c/three", "z"];
    let make = |order: &[usize], mode: u32, seconds: u64| {
        let dir = tempfile::tempdir().unwrap();
        for index in order {
            let path = dir.path().join(files[*index]);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, files[*index].repeat(50_000)).unwrap();
            chmod(&path, mode);
            let times = FileTimes::new().set_modified(UNIX_EPOCH + Duration::from_secs(seconds));
            File::options().read(true).open(&path).unwrap().set_times(times).unwrap();
        }
        chmod(&dir.path().join("b"), mode | 0o111);
        dir
    };
    let first = packed(make(&[0, 1, 2, 3, 4], 0o600, 1).path()).unwrap();
    let second = packed(make(&[4, 3, 1, 2, 0], 0o664, 1_000_000_000).path()).unwrap();
    assert_eq!(first, second);
    let third = packed(make(&[0, 1, 2, 3, 4], 0o755, 1).path()).unwrap();
    assert_ne!(first.1.tree, third.1.tree, "whether a file is executable is part of the tree");
}

#[test]
fn the_tree_digest_of_a_known_tree_never_changes() {
    let (_, bundle) = packed(sample().path()).unwrap();
    // A change of this value means that no host recognises what it unpacked before: the format must not change.
    assert_eq!(bundle.tree.hex(), GOLDEN, "the canonical form has changed");
    assert_eq!((bundle.entries, bundle.unpacked), (5, 55));
}

const GOLDEN: &str = "5741e5be78a1b15782acdf7857d977417c007270c818fc98c042a305573b1441";

#[test]
fn every_packed_tree_is_accepted() {
    let dir = sample();
    let deep = dir.path().join("d/".repeat(100)).join("n".repeat(255));
    fs::create_dir_all(deep.parent().unwrap()).unwrap();
    fs::write(&deep, "deep").unwrap();
    symlink("d/".repeat(100), dir.path().join("long-link")).unwrap();
    fs::write(dir.path().join(OsStr::from_bytes(b"\xff\n\x1b")), "not UTF-8").unwrap();
    fs::hard_link(&deep, dir.path().join("hard-link")).unwrap();
    let (archive, bundle) = packed(dir.path()).unwrap();
    verify(archive.as_slice(), &bundle, &Limits::default()).unwrap();
}

#[test]
fn an_empty_directory_is_a_bundle_of_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (archive, bundle) = packed(dir.path()).unwrap();
    assert_eq!((bundle.entries, bundle.unpacked), (0, 0));
    verify(archive.as_slice(), &bundle, &Limits::default()).unwrap();
}

#[test]
fn progress_ends_at_what_was_measured() {
    let dir = sample();
    fs::write(dir.path().join("large"), vec![7; 1_000_000]).unwrap();
    let size = measure(dir.path(), &Limits::default()).unwrap();
    assert_eq!(size, Size { unpacked: 1_000_055, entries: 6 });
    let mut told = Vec::new();
    pack(dir.path(), &mut std::io::sink(), &mut |bytes| told.push(bytes)).unwrap();
    assert!(told.is_sorted() && told.len() > 5, "{told:?}");
    assert_eq!(told.last(), Some(&1_000_055));
}

#[test]
fn what_is_no_file_directory_or_link_is_refused_by_its_name() {
    let dir = sample();
    let _socket = UnixListener::bind(dir.path().join("bin/socket")).unwrap();
    assert_eq!(refusal(dir.path()), ("\"bin/socket\"".to_owned(), Refusal::Socket));

    let dir = sample();
    let root = crate::beneath::open_root(dir.path(), false).unwrap();
    rustix::fs::mkfifoat(&root, "pipe", rustix::fs::Mode::RWXU).unwrap();
    assert_eq!(refusal(dir.path()), ("\"pipe\"".to_owned(), Refusal::Fifo));

    let (_, refusal) = refusal(Path::new("/dev"));
    assert!(matches!(refusal, Refusal::Device | Refusal::Fifo | Refusal::Socket), "{refusal}");
}

#[test]
fn links_that_lead_out_are_refused_by_their_name() {
    for (target, expected) in [
        ("/etc/passwd", Refusal::LinkAbsolute),
        ("../../x", Refusal::LinkLeaves),
        ("../run/../..", Refusal::LinkLeaves),
        ("evil", Refusal::LinkLoop),
    ] {
        let dir = sample();
        fs::remove_file(dir.path().join("run")).unwrap();
        symlink(".", dir.path().join("run")).unwrap();
        symlink(target, dir.path().join("bin/evil")).unwrap();
        assert_eq!(refusal(dir.path()), ("\"bin/evil\"".to_owned(), expected), "{target}");
    }
}

#[test]
fn a_setuid_program_is_refused_and_a_shared_directory_is_not() {
    let dir = sample();
    let before = packed(dir.path()).unwrap();
    chmod(&dir.path().join("bin"), 0o3777);
    assert_eq!(packed(dir.path()).unwrap(), before);
    chmod(&dir.path().join("bin/web"), 0o4755);
    assert_eq!(refusal(dir.path()), ("\"bin/web\"".to_owned(), Refusal::SpecialMode(0o4755)));
}

#[test]
fn a_file_that_changes_meanwhile_is_named() {
    type Change = fn(&Path);
    let changes: [(&str, Change, &str); 5] = [
        (
            "grows",
            |dir| File::options().append(true).open(dir.join("b")).unwrap().write_all(b"x").unwrap(),
            "\"b\"",
        ),
        (
            "shrinks",
            |dir| File::options().write(true).open(dir.join("b")).unwrap().set_len(5).unwrap(),
            "\"b\"",
        ),
        ("goes", |dir| fs::remove_file(dir.join("c")).unwrap(), "\"c\""),
        (
            "becomes a link",
            |dir| {
                fs::remove_file(dir.join("c")).unwrap();
                symlink("/etc/passwd", dir.join("c")).unwrap();
            },
            "\"c\"",
        ),
        ("appears", |dir| fs::write(dir.join("new"), "").unwrap(), "\".\""),
    ];
    for (what, change, named) in changes {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("b"), vec![1; 1_000_000]).unwrap();
        fs::write(dir.path().join("c"), "c").unwrap();
        let mut changed = false;
        let mut progress = |_| {
            if !std::mem::replace(&mut changed, true) {
                change(dir.path());
            }
        };
        let error = pack(dir.path(), &mut std::io::sink(), &mut progress).expect_err(what);
        assert!(matches!(&error, PackError::Changed { path } if path == named), "{what}: {}", chain(&error));
    }
}

#[test]
fn what_is_too_large_is_refused() {
    let dir = sample();
    let usual = Limits::default();
    for (limits, what) in [
        (Limits { entries: 4, ..usual }, "more than the 4 files"),
        (Limits { unpacked: 54, ..usual }, "more than the 54 bytes of files"),
        (Limits { archive: 100, ..usual }, "more than the 100 bytes of archive"),
        (Limits { names: 10, ..usual }, "more than the 10 bytes of names"),
    ] {
        let error = pack_within(dir.path(), &limits, &mut std::io::sink(), &mut |_| {}).expect_err(what);
        assert!(error.to_string().contains(what), "{}", chain(&error));
    }
}

#[test]
fn a_full_disk_is_called_one() {
    let mut full = File::options().write(true).open("/dev/full").unwrap();
    let error = pack(sample().path(), &mut full, &mut |_| {}).unwrap_err();
    assert!(matches!(error, PackError::DiskFull(_)), "{}", chain(&error));
}

#[test]
fn a_directory_that_is_none_is_named() {
    let dir = sample();
    for path in ["missing", "bin/web"] {
        let error = packed(&dir.path().join(path)).unwrap_err();
        assert!(error.to_string().contains(path), "{}", chain(&error));
    }
}
