//! Uploads arrive in pieces, are verified whole, and a bad one changes nothing.

#![expect(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

use handover::blobs::{BlobError, Bundles, MAX_CHUNK_BYTES, PRUNE_GRACE, Received, STALE_UPLOAD};
use handover_bundle::{BundleDescriptor, Limits};
use handover_model::Digest;
use std::{
    collections::BTreeSet,
    fs::File,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// A bundle with one file of `bytes` bytes that do not compress.
fn bundle(bytes: usize) -> (BundleDescriptor, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let mut seed = Digest::of(&bytes.to_be_bytes());
    let mut content = Vec::new();
    while content.len() < bytes {
        content.extend_from_slice(seed.as_bytes());
        seed = Digest::of(seed.as_bytes());
    }
    std::fs::write(folder.path().join("program"), &content[..bytes]).unwrap();
    let mut archive = Vec::new();
    let descriptor = handover_bundle::pack(folder.path(), &mut archive, &mut |_| {}).unwrap();
    (descriptor, archive)
}

async fn open(data: &Path) -> Bundles {
    Bundles::open(data, Limits::default()).await.unwrap()
}

async fn push(bundles: &Bundles, descriptor: &BundleDescriptor, archive: &[u8]) -> Result<(), BlobError> {
    let mut upload = bundles.upload(descriptor).await?;
    for piece in archive.chunks(10_000) {
        upload.append(upload.received(), piece.to_vec()).await?;
    }
    upload.finish().await
}

async fn read_all(bundles: &Bundles, digest: Digest, offset: u64) -> Vec<u8> {
    let mut reading = bundles.read(digest, offset).await.unwrap();
    let mut all = Vec::new();
    while let Some(chunk) = reading.chunk().await.unwrap() {
        assert!(chunk.len() <= MAX_CHUNK_BYTES);
        all.extend_from_slice(&chunk);
    }
    all
}

fn files(folder: PathBuf) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

fn part(data: &Path, digest: &Digest) -> PathBuf {
    data.join("uploads").join(format!("{}.part", digest.hex()))
}

fn whole(data: &Path, digest: &Digest) -> PathBuf {
    data.join("bundles/sha256").join(digest.hex())
}

fn age(path: &Path, age: Duration) {
    File::options().append(true).open(path).unwrap().set_modified(SystemTime::now() - age).unwrap();
}

#[tokio::test]
async fn an_upload_becomes_a_bundle_and_is_read_from_any_offset() {
    let data = tempfile::tempdir().unwrap();
    let (descriptor, archive) = bundle(700_000);
    let bundles = open(data.path()).await;
    assert!(matches!(bundles.read(descriptor.digest, 0).await, Err(BlobError::Missing(_))));
    push(&bundles, &descriptor, &archive).await.unwrap();
    let received = bundles.received(descriptor.digest).await.unwrap();
    assert_eq!(received, Received { bytes: descriptor.size, complete: true });
    assert_eq!(std::fs::read(whole(data.path(), &descriptor.digest)).unwrap(), archive);
    assert_eq!(files(data.path().join("uploads")), 0);
    for offset in [0, 1, 300_000, archive.len()] {
        assert_eq!(read_all(&bundles, descriptor.digest, offset as u64).await, archive[offset..]);
    }
    let behind = bundles.read(descriptor.digest, descriptor.size + 1).await;
    assert!(matches!(behind, Err(BlobError::WrongOffset { .. })));
    assert!(matches!(bundles.upload(&descriptor).await, Err(BlobError::Complete(_))));
}

#[tokio::test]
async fn an_upload_that_broke_off_goes_on_where_it_was_also_after_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let (descriptor, archive) = bundle(50_000);
    let bundles = open(data.path()).await;
    let mut upload = bundles.upload(&descriptor).await.unwrap();
    upload.append(0, archive[..20_000].to_vec()).await.unwrap();
    drop(upload);
    let bundles = open(data.path()).await;
    let received = bundles.received(descriptor.digest).await.unwrap();
    assert_eq!(received, Received { bytes: 20_000, complete: false });
    let mut upload = bundles.upload(&descriptor).await.unwrap();
    assert_eq!(upload.received(), 20_000);
    let wrong = upload.append(0, archive.clone()).await.unwrap_err();
    assert!(matches!(wrong, BlobError::WrongOffset { offset: 0, expected: 20_000, .. }), "{wrong}");
    upload.append(20_000, archive[20_000..].to_vec()).await.unwrap();
    upload.finish().await.unwrap();
    assert_eq!(read_all(&bundles, descriptor.digest, 0).await, archive);
}

#[tokio::test]
async fn an_upload_that_ends_early_keeps_what_is_there() {
    let data = tempfile::tempdir().unwrap();
    let (descriptor, archive) = bundle(50_000);
    let bundles = open(data.path()).await;
    let early = push(&bundles, &descriptor, &archive[..30_000]).await.unwrap_err();
    assert!(matches!(early, BlobError::Incomplete { bytes: 30_000, .. }), "{early}");
    assert_eq!(bundles.received(descriptor.digest).await.unwrap().bytes, 30_000);
}

#[tokio::test]
async fn a_bad_upload_is_thrown_away_and_changes_nothing() {
    let data = tempfile::tempdir().unwrap();
    let (good, archive) = bundle(50_000);
    let bundles = open(data.path()).await;

    let mut damaged = archive.clone();
    damaged[40_000] ^= 1;
    let error = push(&bundles, &good, &damaged).await.unwrap_err();
    assert!(matches!(error, BlobError::Refused { .. }), "{error}");

    let wrong_tree = BundleDescriptor { tree: Digest::of(b"another tree"), ..good.clone() };
    let fewer_entries = BundleDescriptor { entries: good.entries - 1, ..good.clone() };
    for lie in [wrong_tree, fewer_entries] {
        let error = push(&bundles, &lie, &archive).await.unwrap_err();
        assert!(matches!(error, BlobError::Refused { .. }), "{error}");
    }
    // Under the digest of its bytes, but no archive at all.
    let noise = vec![7; 5000];
    let noise_descriptor = BundleDescriptor { digest: Digest::of(&noise), size: 5000, ..good.clone() };
    let error = push(&bundles, &noise_descriptor, &noise).await.unwrap_err();
    assert!(matches!(error, BlobError::Refused { .. }), "{error}");

    assert_eq!(files(data.path().join("uploads")) + files(data.path().join("bundles/sha256")), 0);
    push(&bundles, &good, &archive).await.unwrap();
}

#[tokio::test]
async fn more_than_declared_or_allowed_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let (descriptor, archive) = bundle(50_000);
    let bundles = open(data.path()).await;
    let mut upload = bundles.upload(&descriptor).await.unwrap();
    let error = upload.append(0, [&archive[..], b"more"].concat()).await.unwrap_err();
    assert!(matches!(error, BlobError::TooLong { .. }), "{error}");
    drop(upload);
    assert_eq!(bundles.received(descriptor.digest).await.unwrap().bytes, 0);

    // A part that somebody left under another declared size does not stand in the way.
    std::fs::write(part(data.path(), &descriptor.digest), vec![0; archive.len() + 1]).unwrap();
    push(&bundles, &descriptor, &archive).await.unwrap();

    let small = Bundles::open(&data.path().join("small"), Limits { archive: 1000, ..Limits::default() })
        .await
        .unwrap();
    let error = small.upload(&descriptor).await.unwrap_err();
    assert!(matches!(error, BlobError::TooLarge { most: 1000, .. }), "{error}");
}

#[tokio::test]
async fn two_uploads_of_one_bundle_do_not_meet() {
    let data = tempfile::tempdir().unwrap();
    let (descriptor, archive) = bundle(50_000);
    let (other, other_archive) = bundle(60_000);
    let bundles = open(data.path()).await;
    let mut first = bundles.upload(&descriptor).await.unwrap();
    assert!(matches!(bundles.clone().upload(&descriptor).await, Err(BlobError::Busy(_))));
    push(&bundles, &other, &other_archive).await.unwrap();
    first.append(0, archive[..100].to_vec()).await.unwrap();
    drop(first);
    let mut second = bundles.upload(&descriptor).await.unwrap();
    second.append(100, archive[100..].to_vec()).await.unwrap();
    second.finish().await.unwrap();
}

#[tokio::test]
async fn pruning_keeps_what_is_needed_and_what_is_new() {
    let data = tempfile::tempdir().unwrap();
    let bundles = open(data.path()).await;
    let mut digests = Vec::new();
    for size in [1000, 2000, 3000, 4000] {
        let (descriptor, archive) = bundle(size);
        push(&bundles, &descriptor, &archive).await.unwrap();
        digests.push(descriptor.digest);
    }
    let [needed, unneeded, asked_for, new] = digests[..] else { unreachable!("four were pushed") };
    for digest in [needed, unneeded, asked_for] {
        age(&whole(data.path(), &digest), PRUNE_GRACE + Duration::from_secs(60));
    }
    assert!(bundles.received(asked_for).await.unwrap().complete);
    let mut reading = bundles.read(unneeded, 0).await.unwrap();
    let removed = bundles.prune(BTreeSet::from([needed])).await.unwrap();
    assert_eq!(removed, BTreeSet::from([unneeded]));
    assert!(reading.chunk().await.unwrap().is_some(), "a reader lost its bundle");
    for kept in [needed, asked_for, new] {
        assert!(bundles.received(kept).await.unwrap().complete);
    }
}

#[tokio::test]
async fn an_upload_that_nobody_went_on_with_is_removed_at_the_start() {
    let data = tempfile::tempdir().unwrap();
    drop(open(data.path()).await);
    let (old, young) = (Digest::of(b"old"), Digest::of(b"young"));
    for (digest, days) in [(old, 8), (young, 6)] {
        std::fs::write(part(data.path(), &digest), "part").unwrap();
        age(&part(data.path(), &digest), Duration::from_secs(days * 24 * 3600));
    }
    assert!(STALE_UPLOAD > Duration::from_secs(6 * 24 * 3600));
    let bundles = open(data.path()).await;
    assert_eq!(bundles.received(old).await.unwrap().bytes, 0);
    assert_eq!(bundles.received(young).await.unwrap().bytes, 4);
}

#[tokio::test]
async fn a_full_disk_is_said_plainly() {
    let data = tempfile::tempdir().unwrap();
    let bundles = open(data.path()).await;
    let (descriptor, archive) = bundle(50_000);
    // Every write to this device fails as on a full disk.
    std::os::unix::fs::symlink("/dev/full", part(data.path(), &descriptor.digest)).unwrap();
    let mut upload = bundles.upload(&descriptor).await.unwrap();
    let error = upload.append(0, archive).await.expect_err("the full disk took it");
    assert!(matches!(error, BlobError::DiskFull { .. }), "{error}");
    assert!(error.to_string().contains("make room and push again"), "{error}");
    assert_eq!(upload.received(), 0);
}

#[tokio::test]
async fn an_upload_that_would_fill_the_disk_is_refused_before_it_begins_and_others_count_too() {
    let data = tempfile::tempdir().unwrap();
    let bundles =
        Bundles::open(data.path(), Limits { archive: u64::MAX, ..Limits::default() }).await.unwrap();
    let (descriptor, archive) = bundle(100);
    let declaring =
        |name: &[u8], size| BundleDescriptor { digest: Digest::of(name), size, ..descriptor.clone() };
    let refused = bundles.upload(&declaring(b"huge", 1 << 60)).await.unwrap_err();
    let BlobError::NoRoom { free, reserve, .. } = refused else { panic!("{refused}") };
    assert!(free > reserve, "this machine's disk is full");
    // Each fits alone, both together do not.
    let most = declaring(b"most", (free - reserve) / 4 * 3);
    let first = bundles.upload(&most).await.unwrap();
    let second = bundles.upload(&declaring(b"second", most.size)).await.unwrap_err();
    assert!(matches!(second, BlobError::NoRoom { .. }), "{second}");
    drop(first);
    bundles.upload(&declaring(b"second", most.size)).await.unwrap();
    push(&bundles, &descriptor, &archive).await.unwrap();
}
