//! What is no bundle is refused, and nothing of it reaches the disk.

use super::{chain, names, packed, sample};
use crate::{
    BundleDescriptor, BundleError, Limits,
    testing::{Hostile, Tarball},
    unpack, verify,
};
use handover_model::Digest;
use proptest::prelude::*;
use std::{fs, io::Cursor};

fn refused(archive: &[u8], bundle: &BundleDescriptor) -> String {
    let error = verify(archive, bundle, &Limits::default()).expect_err("a hostile bundle was accepted");
    chain(&error)
}

#[test]
fn every_kind_of_hostile_bundle_is_refused_for_its_own_reason() {
    let mut wrong = Vec::new();
    for kind in Hostile::ALL {
        let hostile = kind.build().unwrap();
        match verify(hostile.archive.as_slice(), &hostile.descriptor, &Limits::default()) {
            Ok(()) => wrong.push(format!("{kind:?} was accepted")),
            Err(error) if error.to_string().contains(kind.reason()) => {}
            Err(error) => wrong.push(format!("{kind:?}: {}", chain(&error))),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nothing_of_a_hostile_bundle_is_left_anywhere() {
    for kind in Hostile::ALL {
        let outer = tempfile::tempdir().unwrap();
        let releases = outer.path().join("a/releases");
        let hostile = kind.build().unwrap();
        let error =
            unpack(Cursor::new(&hostile.archive), &hostile.descriptor, &releases).expect_err("was unpacked");
        assert!(error.to_string().contains(kind.reason()), "{kind:?}: {}", chain(&error));
        assert!(names(outer.path()).iter().all(|name| name == "a"), "{kind:?}: {:?}", names(outer.path()));
        // What declares too much is refused before the directory is made.
        if releases.exists() {
            assert_eq!(names(&outer.path().join("a")), ["releases"], "{kind:?}");
            assert!(names(&releases).is_empty(), "{kind:?} left {:?}", names(&releases));
        }
    }
    for outside in ["/tmp/evil", "/evil"] {
        assert!(fs::symlink_metadata(outside).is_err(), "{outside} was made");
    }
}

#[test]
fn the_ground_that_hostile_bundles_stand_on_is_good() {
    let good = Tarball::new().directory(b"a/").file(b"a/file", b"content").link(b"b", b"a/file");
    let (archive, bundle) = good.finish().unwrap();
    verify(archive.as_slice(), &bundle, &Limits::default()).unwrap();
}

#[test]
fn an_archive_that_is_cut_off_anywhere_is_to_be_transferred_again() {
    let (archive, bundle) = packed(sample().path()).unwrap();
    for length in 0..archive.len() {
        let text = refused(&archive[..length], &bundle);
        assert!(text.contains(&format!("ends after {length} of")), "{text}");
    }
}

#[test]
fn an_archive_with_any_byte_changed_is_to_be_transferred_again() {
    let (mut archive, bundle) = packed(sample().path()).unwrap();
    for index in 0..archive.len() {
        archive[index] ^= 0x10;
        let text = refused(&archive, &bundle);
        assert!(text.contains("instead of"), "{text}");
        archive[index] ^= 0x10;
    }
}

#[test]
fn an_archive_that_cannot_be_read_says_why() {
    struct Failing;
    impl std::io::Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("the cable was pulled"))
        }
    }
    let (_, bundle) = packed(sample().path()).unwrap();
    let error = verify(Failing, &bundle, &Limits::default()).unwrap_err();
    assert!(matches!(error, BundleError::Read(_)));
    assert!(chain(&error).contains("the cable was pulled"));
}

#[test]
fn limits_hold_against_what_is_declared() {
    let (archive, bundle) = packed(sample().path()).unwrap();
    let usual = Limits::default();
    for (limits, what) in [
        (Limits { archive: bundle.size - 1, ..usual }, "bytes of archive"),
        (Limits { unpacked: 54, ..usual }, "55 bytes of files, more than the 54"),
        (Limits { entries: 4, ..usual }, "5 entries, more than the 4"),
        (Limits { names: 10, ..usual }, "more than the 10 bytes of names"),
    ] {
        let error = verify(archive.as_slice(), &bundle, &limits).expect_err(what);
        assert!(error.to_string().contains(what), "{}", chain(&error));
    }
}

#[test]
fn what_a_terminal_would_obey_is_escaped_in_messages() {
    let (archive, bundle) = Tarball::new().file(b"/\x1b[31m", b"").finish().unwrap();
    assert!(!refused(&archive, &bundle).contains('\u{1b}'));
}

/// A descriptor that is true of the archive's bytes, so that only its contents are in question.
fn true_of(archive: &[u8], stream: &[u8], like: &BundleDescriptor) -> BundleDescriptor {
    let (digest, size) = (Digest::of(archive), archive.len() as u64);
    BundleDescriptor { digest, size, tree: Digest::of(stream), ..like.clone() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_bytes_make_verification_panic(archive in prop::collection::vec(any::<u8>(), 0..4000)) {
        let (_, bundle) = Tarball::new().finish().unwrap();
        let bundle = true_of(&archive, b"", &bundle);
        prop_assert!(verify(archive.as_slice(), &bundle, &Limits::default()).is_err());
    }

    /// A canonical stream with bytes changed: refused, or again a canonical stream, which then unpacks as such.
    #[test]
    fn a_changed_stream_is_refused_or_canonical(
        changes in prop::collection::vec((0_usize..4000, any::<u8>()), 1..4), text in any::<bool>()
    ) {
        let name = if text { b"a-file-of-a-long-name".repeat(6) } else { b"file".to_vec() };
        let tarball = Tarball::new().directory(b"a/").link(b"b", b"a");
        let long = if text { tarball.long_name(b'L', &name) } else { tarball };
        let (archive, bundle) = long.file(&name, b"content").finish().unwrap();
        let mut stream = zstd::decode_all(archive.as_slice()).unwrap();
        for (at, byte) in changes {
            let at = at % stream.len();
            stream[at] = byte;
        }
        let archive = zstd::encode_all(stream.as_slice(), 1).unwrap();
        let bundle = true_of(&archive, &stream, &bundle);
        let verified = verify(archive.as_slice(), &bundle, &Limits::default());
        let outer = tempfile::tempdir().unwrap();
        let unpacked = unpack(Cursor::new(&archive), &bundle, &outer.path().join("releases"));
        prop_assert_eq!(verified.is_ok(), unpacked.is_ok());
        if let Ok(path) = unpacked {
            prop_assert_eq!(packed(&path).unwrap().1.tree, bundle.tree);
        }
    }
}
