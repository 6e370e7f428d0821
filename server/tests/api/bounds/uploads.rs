//! Uploads that stall, lie, or are too many.

use crate::fixture::{Server, bundle, reason};
use handover_model::{BundleDescriptor, Digest};
use handover_proto::v1::{
    self, UploadBundleRequest, operator_service_client::OperatorServiceClient, upload_bundle_request::Part,
};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use tokio::{sync::mpsc, task::JoinSet, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, transport::Channel};

/// After so long without a byte an upload is over.
const STALLED: Duration = Duration::from_secs(30);
/// Uploads of one operator at once (`limits::UPLOADS`).
const AT_ONCE: usize = 16;

fn header(bundle: &BundleDescriptor, offset: u64) -> UploadBundleRequest {
    let header = v1::UploadHeader { bundle: Some(bundle.into()), offset };
    UploadBundleRequest { part: Some(Part::Header(header)) }
}

fn data(bytes: &[u8]) -> UploadBundleRequest {
    UploadBundleRequest { part: Some(Part::Data(bytes.to_vec())) }
}

/// Sends these parts and then nothing more, without an end: what becomes of it.
async fn stalling(
    mut client: OperatorServiceClient<Channel>,
    parts: Vec<UploadBundleRequest>,
) -> Result<v1::Upload, Status> {
    let (out, stream) = mpsc::channel(8);
    for part in parts {
        out.send(part).await.unwrap();
    }
    let answer = client.upload_bundle(ReceiverStream::new(stream)).await;
    drop(out);
    Ok(answer?.into_inner())
}

#[tokio::test]
async fn an_upload_that_stalls_is_ended_and_another_goes_on_from_there() {
    let server = Server::start();
    let (descriptor, bytes) = bundle("stalled");
    let (half, rest) = bytes.split_at(bytes.len() / 2);
    let began = Instant::now();
    let first = tokio::spawn(stalling(server.operator().await, vec![header(&descriptor, 0), data(half)]));
    let mut operator = server.operator().await;
    let asked = v1::GetUploadRequest { digest: descriptor.digest.to_string() };
    crate::fixture::until("half of it has arrived", async || {
        let there = operator.get_upload(asked.clone()).await.unwrap().into_inner();
        there.received == half.len() as u64
    })
    .await;
    let busy = server.upload(&descriptor, &bytes).await.unwrap_err();
    assert_eq!(reason(&busy), "BUSY");
    let ended = timeout(STALLED * 2, first).await.expect("it was never ended").unwrap().unwrap_err();
    println!("a stalled upload was ended after {:.1?}: {}", began.elapsed(), ended.message());
    assert_eq!(reason(&ended), "PROTOCOL");
    let parts = vec![header(&descriptor, half.len() as u64), data(rest)];
    let there = operator.upload_bundle(tokio_stream::iter(parts)).await.unwrap().into_inner();
    assert!(there.complete);
}

#[tokio::test]
async fn an_upload_that_lies_about_its_size_is_refused_and_leaves_nothing() {
    let server = Server::start();
    let (descriptor, bytes) = bundle("lie");
    let mut operator = server.operator().await;
    let huge = BundleDescriptor { size: 1 << 50, ..descriptor.clone() };
    let refused = server.upload(&huge, &bytes).await.unwrap_err();
    assert_eq!(reason(&refused), "TOO_LARGE");
    let small = BundleDescriptor { size: descriptor.size - 10, ..descriptor.clone() };
    let refused = server.upload(&small, &bytes).await.unwrap_err();
    assert_eq!(reason(&refused), "BUNDLE_REFUSED");
    let asked = v1::GetUploadRequest { digest: descriptor.digest.to_string() };
    assert_eq!(operator.get_upload(asked.clone()).await.unwrap().into_inner().received, 0);
    let empty = vec![header(&descriptor, 0), data(&[])];
    let refused = operator.upload_bundle(tokio_stream::iter(empty)).await.unwrap_err();
    assert_eq!(reason(&refused), "PROTOCOL", "pieces without a byte are no progress");
    assert!(server.upload(&descriptor, &bytes).await.unwrap().complete);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_thousand_uploads_of_one_operator_few_go_on_and_the_server_answers() {
    let server = Server::start();
    let memory = server.resident();
    let mut uploads = JoinSet::new();
    for _ in 0..20 {
        let client = server.operator().await;
        for _ in 0..50 {
            let digest = Digest::of(format!("upload {}", uploads.len()).as_bytes());
            let declared = BundleDescriptor { digest, size: 1 << 20, tree: digest, unpacked: 1, entries: 1 };
            let parts = vec![header(&declared, 0), data(&[7; 64 * 1024])];
            uploads.spawn(stalling(client.clone(), parts));
        }
    }
    let total = uploads.len();
    let mut answers = BTreeMap::<String, usize>::new();
    while uploads.len() > AT_ONCE {
        let ended = timeout(Duration::from_secs(20), uploads.join_next()).await.expect("too many go on");
        *answers.entry(reason(&ended.unwrap().unwrap().unwrap_err())).or_default() += 1;
    }
    let asked = Instant::now();
    server.operator().await.get_server(v1::GetServerRequest {}).await.unwrap();
    let answered = asked.elapsed();
    let growth = server.resident().saturating_sub(memory);
    println!(
        "of {total} uploads {} go on, the others: {answers:?}; an operator was answered in {answered:.0?}; {} KiB more \
         memory",
        uploads.len(),
        growth / 1024
    );
    assert_eq!(answers.keys().collect::<Vec<_>>(), ["TOO_MANY"]);
    assert!(answered < Duration::from_secs(1), "{answered:?}");
    assert!(growth < 64 << 20, "{growth} bytes more");
    uploads.abort_all();
    while uploads.join_next().await.is_some() {}
    let (descriptor, bytes) = bundle("after");
    crate::fixture::until("there is a place again", async || {
        server.upload(&descriptor, &bytes).await.is_ok_and(|upload| upload.complete)
    })
    .await;
}
