//! Backups on their way to an operator.

use crate::backup::{BackupError, Spool};
use handover_model::chain;
use handover_proto::{
    status::{Reason, refuse},
    v1::BackupChunk,
};
use std::time::Duration;
use tokio::{io::AsyncReadExt as _, sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// A backup of which nothing is read for so long is given up: the next one waits for it.
const STALLED: Duration = Duration::from_secs(60);
/// Bytes in a chunk.
const CHUNK: usize = 256 * 1024;

/// A refusal for what went wrong.
pub(super) fn refused(error: &BackupError) -> Status {
    let (reason, hint) = match error {
        BackupError::Busy => (Reason::Busy, ""),
        BackupError::NoRoom(_) => (Reason::DiskFull, "make room on the server's disk; it goes on meanwhile"),
        BackupError::Store(_) | BackupError::Open(_) => (Reason::StoreUnavailable, ""),
        BackupError::Io { .. }
        | BackupError::Exists(_)
        | BackupError::Stream(_)
        | BackupError::NotABackup
        | BackupError::Newer { .. }
        | BackupError::Cut { .. }
        | BackupError::Damaged { .. }
        | BackupError::Occupied(_)
        | BackupError::Interrupted(_) => (Reason::Internal, ""),
    };
    refuse(reason, chain(error), hint)
}

/// Sends a backup on, until its end or the server's.
pub(super) fn send(spool: Spool, stop: CancellationToken) -> ReceiverStream<Result<BackupChunk, Status>> {
    let (out, stream) = mpsc::channel(2);
    tokio::spawn(async move {
        let Spool { file, summary, .. } = &spool;
        let file = match file.try_clone() {
            Ok(file) => file,
            Err(error) => return drop(out.try_send(Err(refused(&BackupError::Stream(error))))),
        };
        let mut file = tokio::fs::File::from_std(file);
        loop {
            let mut data = vec![0; CHUNK];
            let message = match file.read(&mut data).await {
                Ok(0) => return,
                Ok(length) => {
                    data.truncate(length);
                    Ok(BackupChunk { total: summary.bytes, data })
                }
                Err(error) => Err(refused(&BackupError::Stream(error))),
            };
            let last = message.is_err();
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
