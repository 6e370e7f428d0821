//! Reading the audit: lists, and the walk along its chain.

use super::{
    held::Held,
    outlet::{self, End, Holding, Outlet},
    permit::Access,
    views,
};
use crate::{
    audit::{AuditLog, Head, Query, Walk},
    fleet::Refusal,
};
use handover_model::{Digest, Timestamp};
use handover_proto::{
    convert::ConvertError,
    v1::{self, AuditProgress},
};
use tonic::Status;

/// Entries in a list where nothing is said.
const LISTED: usize = 50;
/// Entries in a list at most.
const MOST_LISTED: usize = 1000;

async fn head(access: &Access) -> Result<Head, Refusal> {
    access.look(|state, _| Ok(state.audit_head())).await
}

/// The newest entries that are asked for.
pub(super) async fn list(
    access: &Access,
    request: v1::ListAuditRequest,
) -> Result<v1::ListAuditResponse, Status> {
    let v1::ListAuditRequest { since_unix_millis, who, service, limit } = request;
    let limit = match usize::try_from(limit) {
        Ok(0) => LISTED,
        Ok(limit) => limit.min(MOST_LISTED),
        Err(_) => MOST_LISTED,
    };
    let query = Query { since: Timestamp::from_unix_millis(since_unix_millis), who, service, limit };
    let (head, log) = (head(access).await?, access.audit_log());
    let listed = tokio::task::spawn_blocking(move || log.newest(head, &query)).await;
    let listed = listed.map_err(|error| Refusal::Internal(error.to_string()))?;
    let listed = listed.map_err(|error| Refusal::Internal(handover_model::chain(&error)))?;
    Ok(v1::ListAuditResponse {
        entries: listed.entries.into_iter().map(views::audit_entry).collect(),
        head: Some(views::audit_head(head)),
        searched_from: listed.searched_from.unwrap_or_default(),
    })
}

/// What an operator wrote down of the audit earlier.
fn noted(noted: Option<v1::AuditHead>) -> Result<Option<(u64, Digest)>, Status> {
    let Some(v1::AuditHead { sequence, hash }) = noted else { return Ok(None) };
    if sequence == 0 {
        return Err(ConvertError::new("noted.sequence", "entries are counted from 1").into());
    }
    let hash = format!("sha256:{hash}");
    let hash: Digest = hash.parse().map_err(|error| ConvertError::new("noted.hash", error))?;
    Ok(Some((sequence, hash)))
}

/// Walks the chain as it is now; the stream ends with what was found.
pub(super) async fn verify(
    access: &Access,
    request: v1::VerifyAuditRequest,
    holding: Holding,
) -> Result<Held<AuditProgress, String>, Status> {
    let walk = Walk::new(noted(request.noted)?);
    let (head, log) = (head(access).await?, access.audit_log());
    Ok(outlet::stream(holding, 1, async move |out| pages(log, walk, head, &out).await))
}

/// Walks page by page, each once there is room to tell of it.
async fn pages(log: AuditLog, mut walk: Walk, head: Head, out: &Outlet<AuditProgress>) -> Result<(), End> {
    loop {
        let room = out.room().await?;
        let page = log.clone();
        let walked = tokio::task::spawn_blocking(move || {
            let walked = page.walk(&mut walk, head);
            (walk, walked)
        });
        let (behind, walked) = walked.await.map_err(|error| Refusal::Internal(error.to_string()))?;
        walk = behind;
        let done = !matches!(walked, Ok(false));
        room.send(AuditProgress {
            checked: walk.checked(),
            head: Some(views::audit_head(head)),
            done,
            broken: walked
                .err()
                .map(|broken| v1::AuditBreak { sequence: broken.sequence, what: broken.what }),
        });
        if done {
            return Ok(());
        }
    }
}
