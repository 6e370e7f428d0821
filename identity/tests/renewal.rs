//! Credentials that are replaced: both or neither, wherever the replacing is cut off.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends")]

use handover_identity::{Ca, Credentials, KeyPair, wall_clock};
use handover_model::Duration;
use std::{fs, os::unix::fs::symlink, path::Path};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn issue(ca: &Ca) -> Credentials {
    let key = KeyPair::generate().unwrap();
    let host = "web-1".parse().unwrap();
    let issued = ca.sign_agent(&key.csr_pem().unwrap(), &host, DAY, wall_clock()).unwrap();
    Credentials::new(key, &issued.chain_pem, &ca.certificate_pem()).unwrap()
}

fn serial(folder: &Path) -> String {
    Credentials::load(folder).unwrap().facts().serial.clone()
}

fn generations(folder: &Path) -> usize {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_str().unwrap().starts_with("gen-")).count()
}

#[test]
fn renewed_credentials_take_the_place_of_the_former_ones_and_leave_no_key_behind() {
    let folder = tempfile::tempdir().unwrap();
    let ca = Ca::open(&folder.path().join("ca"), &"prod".parse().unwrap(), wall_clock()).unwrap();
    let identity = folder.path().join("identity");
    let (first, second, third) = (issue(&ca), issue(&ca), issue(&ca));
    // What a version before renewal wrote is read, and gives way.
    first.save(&identity).unwrap();
    assert_eq!(serial(&identity), first.facts().serial);
    assert_eq!(Credentials::generation(&identity), None);
    for next in [&second, &third] {
        let before = Credentials::generation(&identity);
        next.replace(&identity).unwrap();
        assert_eq!(serial(&identity), next.facts().serial);
        assert_ne!(Credentials::generation(&identity), before);
        assert_eq!(generations(&identity), 1, "a former key is still there");
    }
}

#[test]
fn replacing_that_is_cut_off_at_any_point_leaves_whole_credentials_and_can_be_done_again() {
    let folder = tempfile::tempdir().unwrap();
    let ca = Ca::open(&folder.path().join("ca"), &"prod".parse().unwrap(), wall_clock()).unwrap();
    // Each file of a generation in the order in which it is written; then the link beside; then the link.
    for files in 0..=4 {
        let identity = folder.path().join(format!("identity-{files}"));
        let (old, new) = (issue(&ca), issue(&ca));
        old.replace(&identity).unwrap();
        let elsewhere = folder.path().join(format!("whole-{files}"));
        new.save(&elsewhere).unwrap();
        let name = format!("gen-{}", new.facts().serial);
        let half = identity.join(&name);
        fs::create_dir(&half).unwrap();
        for file in ["key.pem", "ca.pem", "cert.pem"].iter().take(files) {
            fs::copy(elsewhere.join(file), half.join(file)).unwrap();
        }
        if files == 4 {
            symlink(&name, identity.join(".current.new")).unwrap();
        }
        assert_eq!(serial(&identity), old.facts().serial, "{files} steps");
        // The next try has other credentials, or the same ones again.
        for next in [&issue(&ca), &new] {
            next.replace(&identity).unwrap();
            assert_eq!(serial(&identity), next.facts().serial, "after {files} steps");
            assert_eq!(generations(&identity), 1);
        }
    }
}
