//! Hostile bundles, uploaded past the command line: each kind is refused by the server, and nothing is stored.

use handover_bundle::testing::Hostile;
use handover_proto::v1::{
    BundleDescriptor, GetUploadRequest, UploadBundleRequest, UploadHeader,
    operator_service_client::OperatorServiceClient, upload_bundle_request::Part,
};
use handover_tests::fleet::Fleet;

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_hostile_bundle_is_refused_and_nothing_is_kept() {
    let fleet = tokio::task::spawn_blocking(Fleet::with_server).await.unwrap();
    let channel = handover_identity::connect_unix(&fleet.server.socket()).await.unwrap();
    let mut client = OperatorServiceClient::new(channel);
    for kind in Hostile::ALL {
        let hostile = kind.build().unwrap();
        let descriptor = BundleDescriptor::from(&hostile.descriptor);
        // One that was cut off is gone on with, as every client does.
        let asked = GetUploadRequest { digest: descriptor.digest.clone() };
        let offset = client.get_upload(asked).await.unwrap().into_inner().received;
        let header = UploadHeader { bundle: Some(descriptor.clone()), offset };
        let mut parts = vec![UploadBundleRequest { part: Some(Part::Header(header)) }];
        for piece in hostile.archive[usize::try_from(offset).unwrap()..].chunks(128 * 1024) {
            parts.push(UploadBundleRequest { part: Some(Part::Data(piece.to_vec())) });
        }
        let refused = client.upload_bundle(tokio_stream::iter(parts)).await;
        let status = refused.expect_err(&format!("{kind:?} was taken"));
        // What is declared is checked against the server's own bounds, and the length against what came, before
        // anything is looked into.
        let told = [kind.reason(), "this server takes at most", "ended at", "that it declares"]
            .iter()
            .any(|words| status.message().contains(words));
        assert!(told, "{kind:?}: {}", status.message());
        let left =
            client.get_upload(GetUploadRequest { digest: descriptor.digest }).await.unwrap().into_inner();
        assert!(!left.complete, "{kind:?} is kept");
    }
    let bundles = fleet.path("server/bundles/sha256");
    let kept = std::fs::read_dir(bundles).map_or(0, Iterator::count);
    assert_eq!(kept, 0);
    tokio::task::spawn_blocking(move || drop(fleet)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_over_the_size_limit_is_refused() {
    let fleet = tokio::task::spawn_blocking(Fleet::with_server).await.unwrap();
    let channel = handover_identity::connect_unix(&fleet.server.socket()).await.unwrap();
    let mut client = OperatorServiceClient::new(channel);
    let request = handover_proto::v1::CreateTokenRequest {
        ttl_seconds: 60,
        host: "x".repeat(8 << 20),
        server: String::new(),
    };
    let status = client.create_token(request).await.expect_err("8 MiB were taken");
    assert!(matches!(status.code(), tonic::Code::OutOfRange | tonic::Code::ResourceExhausted), "{status:?}");
    let tokens =
        client.list_tokens(handover_proto::v1::ListTokensRequest {}).await.unwrap().into_inner().tokens;
    assert!(tokens.is_empty());
    tokio::task::spawn_blocking(move || drop(fleet)).await.unwrap();
}
