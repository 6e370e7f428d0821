//! Bundles: hostile ones, and those that nobody needs any more.

use crate::host::{DRAIN, Host, release_of};
use handover_model::{BundleDescriptor, Digest, InstancePhase};
use std::{collections::BTreeSet, fs};

/// An archive with one file of any path.
fn archive(path: &str) -> (BundleDescriptor, Vec<u8>) {
    let mut header = tar::Header::new_gnu();
    header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
    header.set_size(4);
    header.set_mode(0o644);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    let mut builder = tar::Builder::new(Vec::new());
    builder.append(&header, &b"evil"[..]).unwrap();
    let tree = builder.into_inner().unwrap();
    let bytes = zstd::encode_all(&tree[..], 1).unwrap();
    let bundle = BundleDescriptor {
        digest: Digest::of(&bytes),
        size: bytes.len() as u64,
        tree: Digest::of(&tree),
        unpacked: 4,
        entries: 1,
    };
    (bundle, bytes)
}

#[tokio::test]
async fn a_hostile_bundle_is_refused_and_nothing_is_written() {
    let mut host = Host::start();
    for (number, path) in ["../evil", "/tmp/handover-heart-evil", "a/../../evil"].iter().enumerate() {
        let (bundle, bytes) = archive(path);
        host.driver.keep(&bundle, bytes);
        let manifest = "service = \"web\"\ncommand = [\"evil\"]\n".to_owned();
        let release = release_of("web", &format!("{number}"), bundle, manifest);
        let instance = format!("web-{number}");
        host.order(&[(&instance, &release, 10_000)]);
        let refused = host.phase(&instance, InstancePhase::GaveUp).await;
        assert!(
            refused.detail.contains("is refused") && refused.detail.contains("evil"),
            "{}",
            refused.detail
        );
    }
    let state = host.folder.path().join("state");
    assert!(!state.join("evil").exists() && !state.join("releases/evil").exists());
    assert!(!std::path::Path::new("/tmp/handover-heart-evil").exists());
    assert_eq!(fs::read_dir(state.join("releases")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(state.join("fetching")).unwrap().count(), 0);
}

#[tokio::test]
async fn what_runs_and_what_is_kept_is_not_pruned() {
    let mut host = Host::start();
    let manifest = format!("[readiness]\nkind = \"alive\"\nsettle = \"10ms\"\n{DRAIN}");
    let release = |host: &Host, number: u32| host.release("worker", &number.to_string(), "", &manifest);
    let kept = release(&host, 0);
    let releases = host.folder.path().join("state/releases");
    let mut all = vec![kept.clone()];
    host.serve("worker-0", &kept).await;
    for number in 1..=8 {
        let next = release(&host, number);
        let instance = format!("worker-{number}");
        let mut target = host.target(&[(&instance, &next, 10_000)]);
        target.keep = BTreeSet::from([kept.bundle.digest]);
        host.driver.offer(target);
        host.serves(&instance).await;
        host.gone(&format!("worker-{}", number - 1)).await;
        all.push(next);
    }
    let here = |release: &handover_model::Release| releases.join(release.bundle.digest.hex()).is_dir();
    // The kept one, the one that runs, and five to spare.
    let count = || fs::read_dir(&releases).unwrap().count();
    crate::host::until("old releases are removed", || count() <= 7).await;
    assert!(here(&all[0]) && here(&all[8]) && here(&all[7]));
    assert!(!here(&all[1]));
}
