//! Bundles and releases over the wire.

use crate::fixture::{Server, bundle, reason};
use handover_proto::v1;

fn release(
    version: &str,
    bundle: &handover_model::BundleDescriptor,
    manifest: &str,
) -> v1::CreateReleaseRequest {
    let release = v1::Release {
        service: "web".into(),
        version: version.into(),
        bundle: Some(bundle.into()),
        manifest: manifest.into(),
    };
    v1::CreateReleaseRequest { release: Some(release) }
}

const MANIFEST: &str = "service = \"web\"\ncommand = [\"bin/run\"]\n";

#[tokio::test]
async fn a_version_never_changes_also_after_a_crash() {
    let mut server = Server::start();
    // Longer than one value of the store.
    let long = format!("{MANIFEST}# {}\n", "long ".repeat(4000));
    let (one, bytes) = bundle("one");
    let (two, more) = bundle("two");
    server.upload(&one, &bytes).await.unwrap();
    server.upload(&two, &more).await.unwrap();
    server.operator().await.create_release(release("1", &one, &long)).await.unwrap();
    server.crash_and_start_again();
    let mut operator = server.operator().await;
    let shown = v1::GetReleaseRequest { service: "web".into(), version: "1".into() };
    let shown = operator.get_release(shown).await.unwrap().into_inner();
    assert_eq!(shown.release.unwrap().manifest, long);
    operator.create_release(release("1", &one, &long)).await.unwrap();
    let refused = operator.create_release(release("1", &two, &long)).await.unwrap_err();
    assert_eq!(reason(&refused), "RELEASE_EXISTS");
    let refused = operator.create_release(release("1", &one, MANIFEST)).await.unwrap_err();
    assert_eq!(reason(&refused), "RELEASE_EXISTS");
}

#[tokio::test]
async fn a_release_needs_its_bundle_and_a_right_manifest() {
    let server = Server::start();
    let (descriptor, bytes) = bundle("one");
    let mut operator = server.operator().await;
    let refused = operator.create_release(release("1", &descriptor, MANIFEST)).await.unwrap_err();
    assert_eq!(reason(&refused), "BUNDLE_MISSING");
    let refused = server.upload(&descriptor, &bytes[..bytes.len() - 1]).await.unwrap_err();
    assert_eq!(reason(&refused), "BUNDLE_MISSING");
    let asked = v1::GetUploadRequest { digest: descriptor.digest.to_string() };
    let there = operator.get_upload(asked).await.unwrap().into_inner();
    assert_eq!((there.received, there.complete), (bytes.len() as u64 - 1, false));
    let mut other = bytes.clone();
    other[20] ^= 1;
    let (lying, _) = bundle("two");
    let refused =
        server.upload(&lying, &other[..usize::try_from(lying.size).unwrap().min(other.len())]).await;
    assert!(refused.is_err());
    let refused = operator.create_release(release("1", &lying, MANIFEST)).await.unwrap_err();
    assert_eq!(reason(&refused), "BUNDLE_MISSING");
    let (good, bytes) = bundle("three");
    server.upload(&good, &bytes).await.unwrap();
    let wrong = "service = \"web\"\ncommand = 3\nunheard = 1\n";
    let refused = operator.create_release(release("1", &good, wrong)).await.unwrap_err();
    let refusal = handover_proto::status::Refusal::of(&refused).unwrap();
    assert_eq!(refusal.reason.as_str(), "INVALID_MANIFEST");
    let fields: Vec<_> = refusal.violations.iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(fields, ["handover.toml:2:11: command", "handover.toml:3:1: unheard"]);
    let refused =
        operator.create_release(release("1", &good, "service = \"api\"\ncommand = [\"a\"]\n")).await;
    assert_eq!(reason(&refused.unwrap_err()), "INVALID_MANIFEST");
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused_and_changes_nothing() {
    let server = Server::start();
    let (descriptor, bytes) = bundle("one");
    server.upload(&descriptor, &bytes).await.unwrap();
    let huge = format!("{MANIFEST}# {}\n", "x".repeat(2 * 1024 * 1024));
    let refused = server.operator().await.create_release(release("1", &descriptor, &huge)).await.unwrap_err();
    assert!(
        refused.message().contains("too large") || refused.code() == tonic::Code::OutOfRange,
        "{refused:?}"
    );
    let all =
        server.operator().await.list_releases(v1::ListReleasesRequest::default()).await.unwrap().into_inner();
    assert!(all.releases.is_empty());
}

#[tokio::test]
async fn migrations_that_a_host_would_not_apply_are_refused_with_their_release() {
    let server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("m")).unwrap();
    std::fs::write(folder.path().join("m/0001_a.sql"), "ALTER TABLE a ADD COLUMN b text;\n").unwrap();
    let manifest = format!("{MANIFEST}[schema]\ndatabase = \"shop\"\nreads = \"0..=9\"\nexpand = \"m\"\n");
    let push = async |version: &str| {
        let mut bytes = Vec::new();
        let bundle = handover_bundle::pack(folder.path(), &mut bytes, &mut |_| {}).unwrap();
        server.upload(&bundle, &bytes).await.unwrap();
        server.operator().await.create_release(release(version, &bundle, &manifest)).await
    };
    push("1").await.unwrap();
    std::os::unix::fs::symlink("0001_a.sql", folder.path().join("m/0002_b.sql")).unwrap();
    let refused = push("2").await.unwrap_err();
    assert_eq!(reason(&refused), "INVALID_MANIFEST");
    let told = "the migrations of web 2 are refused: \"m/0002_b.sql\" is a link: ";
    assert!(refused.message().starts_with(told), "{refused}");
}
