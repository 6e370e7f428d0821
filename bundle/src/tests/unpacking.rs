//! All of a bundle gets to the disk, or nothing.

use super::{chain, chmod, names, packed, sample};
use crate::{
    BundleDescriptor, BundleError, Limits, beneath, sweep_temporary,
    testing::{Hostile, Tarball},
    unpack, unpack_within, verify_tree,
};
use proptest::prelude::*;
use rustix::fs::FlockOperation;
use std::{
    collections::BTreeMap,
    fs,
    io::{self, Cursor, Read, Seek, SeekFrom},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

/// An archive that must not be read.
struct Untouched;

impl Read for Untouched {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        panic!("the archive was read");
    }
}

impl Seek for Untouched {
    fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
        panic!("the archive was read");
    }
}

fn unpacked() -> (tempfile::TempDir, PathBuf, Vec<u8>, BundleDescriptor) {
    let (archive, bundle) = packed(sample().path()).unwrap();
    let releases = tempfile::tempdir().unwrap();
    let path = unpack(Cursor::new(&archive), &bundle, releases.path()).unwrap();
    (releases, path, archive, bundle)
}

#[test]
fn a_bundle_is_unpacked_under_its_digest_with_canonical_modes() {
    let (releases, path, _, bundle) = unpacked();
    assert_eq!(path, releases.path().join(bundle.digest.hex()));
    assert_eq!(names(releases.path()), [bundle.digest.hex()]);
    let mode = |name: &str| fs::symlink_metadata(path.join(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(
        ["", "bin", "empty", "bin/web", "handover.toml"].map(mode),
        [0o755, 0o755, 0o755, 0o755, 0o644]
    );
    assert_eq!(fs::read_link(path.join("run")).unwrap(), Path::new("bin/web"));
    verify_tree(&path, &bundle).unwrap();
}

#[test]
fn a_strict_umask_takes_nothing_away() {
    let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let (_releases, path, _, bundle) = unpacked();
    rustix::process::umask(before);
    verify_tree(&path, &bundle).unwrap();
}

#[test]
fn what_is_there_whole_is_not_unpacked_again() {
    let (releases, path, _, bundle) = unpacked();
    assert_eq!(unpack(Untouched, &bundle, releases.path()).unwrap(), path);
}

#[test]
fn whatever_changes_in_a_release_is_found_and_mended() {
    type Harm = fn(&Path);
    let harms: [(&str, Harm); 10] = [
        ("a byte", |path| fs::write(path.join("bin/web"), b"#!/bin/sh\nexit 1\n").unwrap()),
        ("a file more", |path| fs::write(path.join("empty/more"), "").unwrap()),
        ("a file less", |path| fs::remove_file(path.join("handover.toml")).unwrap()),
        ("a directory less", |path| fs::remove_dir(path.join("empty")).unwrap()),
        ("a mode", |path| chmod(&path.join("bin/web"), 0o775)),
        ("setuid", |path| chmod(&path.join("bin/web"), 0o4755)),
        ("the mode of the whole", |path| chmod(path, 0o777)),
        ("another link", |path| {
            fs::remove_file(path.join("run")).unwrap();
            symlink("/bin/sh", path.join("run")).unwrap();
        }),
        ("a file in its place", |path| {
            fs::remove_dir_all(path).unwrap();
            fs::write(path, "").unwrap();
        }),
        ("a link in its place", |path| {
            fs::remove_dir_all(path).unwrap();
            symlink("/tmp", path).unwrap();
        }),
    ];
    for (what, harm) in harms {
        let (releases, path, archive, bundle) = unpacked();
        harm(&path);
        verify_tree(&path, &bundle).expect_err(what);
        assert_eq!(unpack(Cursor::new(&archive), &bundle, releases.path()).expect(what), path);
        verify_tree(&path, &bundle).expect(what);
        let aside = names(releases.path()).into_iter().filter(|name| name.starts_with(".broken-")).count();
        assert_eq!(aside, 1, "{what}: {:?}", names(releases.path()));
        assert_eq!(sweep_temporary(releases.path()).expect(what), 1);
        assert_eq!(names(releases.path()), [bundle.digest.hex()], "{what}");
    }
}

#[test]
fn a_broken_release_stays_where_its_archive_is_no_good() {
    let (releases, path, archive, bundle) = unpacked();
    fs::write(path.join("empty/more"), "").unwrap();
    unpack(Cursor::new(&archive[1..]), &bundle, releases.path()).unwrap_err();
    assert!(path.join("empty/more").exists());
    assert_eq!(names(releases.path()), [bundle.digest.hex()]);
}

#[test]
fn an_archive_that_is_exchanged_after_it_was_verified_leaves_nothing() {
    /// Reads as one archive up to the second rewind, and as another after.
    struct Exchanged(Cursor<Vec<u8>>, Vec<u8>, u32);
    impl Read for Exchanged {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }
    impl Seek for Exchanged {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.2 += 1;
            if self.2 == 2 {
                self.0 = Cursor::new(std::mem::take(&mut self.1));
            }
            self.0.seek(to)
        }
    }
    let (archive, bundle) = packed(sample().path()).unwrap();
    for kind in Hostile::ALL {
        let outer = tempfile::tempdir().unwrap();
        let releases = outer.path().join("releases");
        let hostile = kind.build().unwrap().archive;
        let exchanged = Exchanged(Cursor::new(archive.clone()), hostile, 0);
        unpack(exchanged, &bundle, &releases).expect_err("an exchanged archive was unpacked");
        assert_eq!(names(outer.path()), ["releases"], "{kind:?}");
        assert!(names(&releases).is_empty(), "{kind:?} left {:?}", names(&releases));
    }
}

#[test]
fn what_a_killed_run_left_is_swept_and_what_a_living_one_does_is_not() {
    let (releases, _, archive, bundle) = unpacked();
    let hex = bundle.digest.hex();
    let make = |name: String| {
        let path = releases.path().join(name);
        fs::create_dir_all(path.join("half/full")).unwrap();
        fs::write(path.join("half/full/file"), "half").unwrap();
        path
    };
    make(format!(".unpacking-{hex}-1"));
    make(format!(".unpacking-{hex}-4194304"));
    fs::write(releases.path().join(".unpacking-file"), "").unwrap();
    symlink("/", releases.path().join(".unpacking-link")).unwrap();
    let living = make(format!(".unpacking-{hex}-2"));
    let lock = beneath::open_root(&living, false).unwrap();
    rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
    assert_eq!(sweep_temporary(releases.path()).unwrap(), 4);
    assert_eq!(names(releases.path()), [format!(".unpacking-{hex}-2"), hex.clone()]);
    drop(lock);
    assert_eq!(sweep_temporary(releases.path()).unwrap(), 1);

    // A leftover under the very name that the next run takes.
    fs::remove_dir_all(releases.path().join(&hex)).unwrap();
    make(format!(".unpacking-{hex}-{}", std::process::id()));
    unpack(Cursor::new(&archive), &bundle, releases.path()).unwrap();
    assert_eq!(names(releases.path()), [hex]);
}

#[test]
fn a_sweep_of_a_directory_that_is_not_there_has_nothing_to_do() {
    let outer = tempfile::tempdir().unwrap();
    assert_eq!(sweep_temporary(&outer.path().join("releases")).unwrap(), 0);
}

#[test]
fn many_at_once_give_one_whole_release() {
    let (archive, bundle) = packed(sample().path()).unwrap();
    let releases = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        let run = || unpack(Cursor::new(&archive), &bundle, releases.path());
        let runs: Vec<_> = (0..8).map(|_| scope.spawn(run)).collect();
        for run in runs {
            match run.join().unwrap() {
                Ok(_) | Err(BundleError::Busy { .. }) => {}
                Err(error) => panic!("{}", chain(&error)),
            }
        }
    });
    verify_tree(&releases.path().join(bundle.digest.hex()), &bundle).unwrap();
    assert_eq!(names(releases.path()), [bundle.digest.hex()]);
}

#[test]
fn too_little_room_is_seen_before_anything_is_read() {
    let (_, bundle) = packed(sample().path()).unwrap();
    let huge = BundleDescriptor { unpacked: 1 << 60, ..bundle };
    let limits = Limits { unpacked: u64::MAX, ..Limits::default() };
    let releases = tempfile::tempdir().unwrap();
    let error = unpack_within(Untouched, &huge, &limits, releases.path()).unwrap_err();
    assert!(matches!(error, BundleError::NoSpace { .. }), "{}", chain(&error));
    assert!(names(releases.path()).is_empty());
}

#[test]
fn a_place_where_nothing_can_be_made_is_named() {
    let (archive, bundle) = packed(sample().path()).unwrap();
    let error = unpack(Cursor::new(&archive), &bundle, Path::new("/proc/self/releases")).unwrap_err();
    assert!(error.to_string().contains("/proc/self/releases"), "{}", chain(&error));
}

#[test]
fn a_bundle_of_many_files_is_unpacked_too() {
    let name = |number: u32| format!("file-{number:04}").into_bytes();
    let tarball = (0..1000).fold(Tarball::new(), |tarball, number| tarball.file(&name(number), b"content"));
    let (archive, bundle) = tarball.finish().unwrap();
    let releases = tempfile::tempdir().unwrap();
    let path = unpack(Cursor::new(&archive), &bundle, releases.path()).unwrap();
    assert_eq!(names(&path).len(), 1000);
}

/// A tree as paths with what is there; a directory where there is nothing.
fn trees() -> impl Strategy<Value = BTreeMap<Vec<String>, Option<(Vec<u8>, bool)>>> {
    let name = prop_oneof!["[a-c]", "[a-c.-]{1,3}x", "[^/\0]{1,40}x"];
    let path = prop::collection::vec(name, 1..5);
    let file = (prop::collection::vec(any::<u8>(), 0..2000), any::<bool>());
    prop::collection::btree_map(path, prop::option::of(file), 0..20)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn any_tree_comes_out_as_it_went_in(tree in trees()) {
        let source = tempfile::tempdir().unwrap();
        let mut files = BTreeMap::new();
        for (path, content) in &tree {
            let path: PathBuf = path.iter().collect();
            // A path may lie beneath a file of another one: then it is none.
            match content {
                None => drop(fs::create_dir_all(source.path().join(&path))),
                Some((bytes, executable)) => {
                    let whole = source.path().join(&path);
                    drop(fs::create_dir_all(whole.parent().unwrap()));
                    if fs::write(&whole, bytes).is_ok() {
                        chmod(&whole, if *executable { 0o700 } else { 0o600 });
                        files.insert(path, (bytes, *executable));
                    }
                }
            }
        }
        let (archive, bundle) = packed(source.path()).unwrap();
        let releases = tempfile::tempdir().unwrap();
        let path = unpack(Cursor::new(&archive), &bundle, releases.path()).unwrap();
        prop_assert_eq!(packed(&path).unwrap(), (archive, bundle));
        for (name, (bytes, executable)) in files {
            prop_assert_eq!(&fs::read(path.join(&name)).unwrap(), bytes);
            let mode = fs::metadata(path.join(&name)).unwrap().permissions().mode() & 0o7777;
            prop_assert_eq!(mode, if executable { 0o755 } else { 0o644 });
        }
    }
}
