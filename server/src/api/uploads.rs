//! Bundles on their way in from operators and out to agents.

use crate::blobs::{BlobError, Bundles, Reading};
use handover_model::{BundleDescriptor, Digest};
use handover_proto::{
    status::{Reason, refuse},
    v1::{BundleChunk, Upload, UploadBundleRequest, upload_bundle_request::Part},
};
use std::time::Duration;
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

/// An upload in which nothing arrives, or a download of which nothing is read, for so long is over. What has arrived
/// stays.
const STALLED: Duration = Duration::from_secs(60);
/// Chunks on their way to an agent.
const CHUNKS: usize = 2;

/// A refusal for what went wrong with a bundle.
pub(super) fn refused(error: &BlobError) -> Status {
    let reason = match error {
        BlobError::TooLarge { .. } => Reason::TooLarge,
        BlobError::TooLong { .. } | BlobError::Refused { .. } => Reason::BundleRefused,
        BlobError::Incomplete { .. } | BlobError::Missing(_) => Reason::BundleMissing,
        BlobError::WrongOffset { .. } => Reason::WrongOffset,
        BlobError::Busy(_) => Reason::Busy,
        BlobError::Complete(_) => Reason::InvalidRequest,
        BlobError::DiskFull { .. } => Reason::DiskFull,
        BlobError::Io { .. } | BlobError::Interrupted(_) => Reason::Internal,
    };
    refuse(reason, handover_model::chain(error), "")
}

/// Takes an upload to its end; of which bundle it was, and how much is there. One that breaks off can be gone on with.
pub(super) async fn receive(
    bundles: &Bundles,
    mut parts: Streaming<UploadBundleRequest>,
) -> Result<(Digest, Upload), Status> {
    let first = next(&mut parts).await?.and_then(|message| message.part);
    let Some(Part::Header(header)) = first else {
        return Err(refuse(Reason::Protocol, "an upload begins with a header", ""));
    };
    let declared =
        header.bundle.ok_or_else(|| refuse(Reason::InvalidRequest, "the header names no bundle", ""))?;
    let descriptor = BundleDescriptor::try_from(declared)?;
    if bundles.received(descriptor.digest).await.map_err(|error| refused(&error))?.complete {
        return Ok((descriptor.digest, Upload { received: descriptor.size, complete: true }));
    }
    let mut upload = bundles.upload(&descriptor).await.map_err(|error| refused(&error))?;
    let mut offset = header.offset;
    while let Some(message) = next(&mut parts).await? {
        let Some(Part::Data(data)) = message.part else {
            return Err(refuse(Reason::Protocol, "behind the header an upload has data only", ""));
        };
        let length = data.len() as u64;
        upload.append(offset, data).await.map_err(|error| refused(&error))?;
        offset += length;
    }
    upload.finish().await.map_err(|error| refused(&error))?;
    Ok((descriptor.digest, Upload { received: descriptor.size, complete: true }))
}

async fn next(parts: &mut Streaming<UploadBundleRequest>) -> Result<Option<UploadBundleRequest>, Status> {
    timeout(STALLED, parts.message()).await.map_err(|_| {
        refuse(Reason::Protocol, format!("nothing arrived of the upload for {STALLED:?}"), "push again")
    })?
}

/// Sends a bundle on, until its end or the server's.
pub(super) fn send(
    mut reading: Reading,
    stop: CancellationToken,
) -> ReceiverStream<Result<BundleChunk, Status>> {
    let (out, stream) = mpsc::channel(CHUNKS);
    tokio::spawn(async move {
        loop {
            let (message, last) = match reading.chunk().await {
                Ok(Some(data)) => (Ok(BundleChunk { data }), false),
                Ok(None) => return,
                Err(error) => (Err(refused(&error)), true),
            };
            let sent = tokio::select! {
                () = stop.cancelled() => return,
                sent = timeout(STALLED, out.send(message)) => sent,
            };
            if last || !matches!(sent, Ok(Ok(()))) {
                return;
            }
        }
    });
    ReceiverStream::new(stream)
}
