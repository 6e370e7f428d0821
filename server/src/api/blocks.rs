//! What a service did while no deployment went on.

use super::{operators::Answer, permit::Permit, request};
use crate::fleet::HistoryView;
use handover_model::{ServiceName, Traffic};
use handover_proto::v1;
use tonic::{Request, Response};

/// The blocks of a service that are remembered.
pub(super) async fn list(wire: Request<v1::ListBlocksRequest>) -> Answer<v1::ListBlocksResponse> {
    let permit = Permit::of(&wire)?;
    let v1::ListBlocksRequest { service } = wire.into_inner();
    let service: ServiceName = request::parse("service", &service)?;
    let access = permit.service(&service)?;
    let blocks = access.look(move |state, _| state.history(&service).map(|history| view(&history)));
    Ok(Response::new(blocks.await?))
}

fn view(history: &HistoryView<'_>) -> v1::ListBlocksResponse {
    let block = |groups: &&[Traffic]| v1::TrafficBlock { groups: groups.iter().map(Into::into).collect() };
    v1::ListBlocksResponse {
        version: history.version.map(ToString::to_string).unwrap_or_default(),
        block_millis: u64::try_from(history.block.as_millis()).unwrap_or(u64::MAX),
        hosts: u32::try_from(history.hosts).unwrap_or(u32::MAX),
        blocks: history.blocks.iter().map(block).collect(),
    }
}
