//! Bundles on their way in from operators and out to agents.

use crate::{
    blobs::{BlobError, Bundles, Reading},
    limits::Limits,
};
use handover_model::{BundleDescriptor, Digest};
use handover_proto::{
    status::{Reason, refuse},
    v1::{BundleChunk, Upload, UploadBundleRequest, upload_bundle_request::Part},
};
use std::time::Duration;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout, timeout_at},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

/// An upload in which nothing arrives, or a download of which nothing is read, for so long is over. What has arrived
/// stays.
const STALLED: Duration = Duration::from_secs(30);
/// An upload may take so long, and [`SLOWEST`] for its size.
const GRACE: Duration = Duration::from_secs(600);
/// Bytes a second of the slowest upload.
const SLOWEST: u64 = 32 * 1024;
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
        BlobError::NoRoom { .. } | BlobError::DiskFull { .. } => Reason::DiskFull,
        BlobError::Io { .. } | BlobError::Interrupted(_) => Reason::Internal,
    };
    refuse(reason, handover_model::chain(error), "")
}

/// Takes an upload to its end; of which bundle it was, and how much is there. One that breaks off can be gone on with.
pub(super) async fn receive(
    bundles: &Bundles,
    limits: &Limits,
    operator: &str,
    mut parts: Streaming<UploadBundleRequest>,
) -> Result<(Digest, Upload), Status> {
    let _place = limits.upload(operator)?;
    let began = Instant::now();
    let first = next(&mut parts, began + GRACE).await?.and_then(|message| message.part);
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
    let deadline = began + longest(descriptor.size);
    while let Some(message) = next(&mut parts, deadline).await.inspect_err(|_| {
        if Instant::now() >= deadline {
            limits.upload_late();
        }
    })? {
        let Some(Part::Data(data)) = message.part else {
            return Err(refuse(Reason::Protocol, "behind the header an upload has data only", ""));
        };
        if data.is_empty() {
            return Err(refuse(Reason::Protocol, "a piece of an upload is empty", ""));
        }
        let length = data.len() as u64;
        upload.append(offset, data).await.map_err(|error| refused(&error))?;
        offset += length;
    }
    upload.finish().await.map_err(|error| refused(&error))?;
    Ok((descriptor.digest, Upload { received: descriptor.size, complete: true }))
}

/// How long an upload of so many bytes may take in all: one that trickles must not keep its place for ever.
fn longest(bytes: u64) -> Duration {
    GRACE + Duration::from_secs(bytes / SLOWEST)
}

async fn next(
    parts: &mut Streaming<UploadBundleRequest>,
    deadline: Instant,
) -> Result<Option<UploadBundleRequest>, Status> {
    let stalled = Instant::now() + STALLED;
    timeout_at(stalled.min(deadline), parts.message()).await.map_err(|_| {
        let what = if stalled < deadline {
            format!("nothing arrived of the upload for {STALLED:?}")
        } else {
            format!("the upload was slower than {SLOWEST} bytes a second")
        };
        refuse(Reason::Protocol, what, "push again: what has arrived is kept")
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
