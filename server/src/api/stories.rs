//! Stories: a deployment's records, told page by page. Of each story one page is in memory, however many hosts there
//! are; a reader who is slow is waited for.

use super::permit::Access;
use crate::fleet::Refusal;
use handover_model::DeploymentId;
use handover_proto::v1;
use handover_rollout::{Record, Story};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// Records that are read at once.
const PAGE: usize = 256;

/// Tells everything that the journal has of a deployment now.
pub(super) fn tell(
    access: Access,
    id: DeploymentId,
    stop: CancellationToken,
) -> ReceiverStream<Result<v1::StoryLine, Status>> {
    let (out, stream) = mpsc::channel(PAGE);
    tokio::spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {
                let _ = out.try_send(Err(Refusal::Stopping.into()));
            }
            () = pages(&access, id, &out) => {}
        }
    });
    ReceiverStream::new(stream)
}

async fn pages(access: &Access, id: DeploymentId, out: &mpsc::Sender<Result<v1::StoryLine, Status>>) {
    let mut story = Story::default();
    let mut sequence = 0;
    loop {
        let records = match access.records(id, sequence, PAGE).await {
            Ok(records) => records,
            Err(refusal) => {
                let _ = out.send(Err(refusal.into())).await;
                return;
            }
        };
        let last = records.len() < PAGE;
        for record in &records {
            if out.send(Ok(line(&mut story, sequence, record))).await.is_err() {
                return;
            }
            sequence += 1;
        }
        if last {
            return;
        }
    }
}

fn line(story: &mut Story, sequence: u64, record: &Record) -> v1::StoryLine {
    let told = story.tell(record);
    v1::StoryLine {
        sequence,
        at_unix_millis: told.at.unix_millis(),
        stage: told.stage.map_or(0, |stage| stage.saturating_add(1)),
        kind: record.name().to_owned(),
        host: told.host.map(|host| host.to_string()).unwrap_or_default(),
        text: told.text,
        // A record that was read from JSON can be written as JSON.
        record: serde_json::to_string(record).unwrap_or_default(),
    }
}
