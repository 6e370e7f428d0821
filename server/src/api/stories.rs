//! Stories: a deployment's records, told page by page. Of each story one page is in memory, however many hosts there
//! are; a reader who is slow is waited for, as long as for any.

use super::{
    held::Held,
    outlet::{self, End, Holding, Outlet},
    permit::Access,
};
use handover_model::DeploymentId;
use handover_proto::v1;
use handover_rollout::{Record, Story};

/// Records that are read at once.
const PAGE: usize = 64;
/// Lines that wait for a reader.
const WAITING: usize = 16;

/// Tells everything that the journal has of a deployment now.
pub(super) fn tell(access: Access, id: DeploymentId, holding: Holding) -> Held<v1::StoryLine, String> {
    outlet::stream(holding, WAITING, async move |out| pages(&access, id, &out).await)
}

async fn pages(access: &Access, id: DeploymentId, out: &Outlet<v1::StoryLine>) -> Result<(), End> {
    let mut story = Story::default();
    let mut sequence = 0;
    loop {
        let records = access.records(id, sequence, PAGE).await?;
        for record in &records {
            out.send(line(&mut story, sequence, record)).await?;
            sequence += 1;
        }
        if records.len() < PAGE {
            return Ok(());
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
