//! Services with what runs of them where.

use super::{
    permit::{Access, Permit},
    request, views,
};
use crate::fleet::Refusal;
use handover_model::ServiceName;
use handover_proto::v1;
use tonic::Status;

/// The service that is asked for, or none for all of them, with the access to it.
pub(super) fn of(
    permit: Permit,
    request: &v1::ListServicesRequest,
) -> Result<(Access, Option<ServiceName>), Status> {
    let service: Option<ServiceName> = request::parse_optional("service", &request.service)?;
    Ok((permit.filtered(service.as_ref())?, service))
}

/// The services that this operator may see.
pub(super) async fn list(
    access: &Access,
    service: Option<ServiceName>,
) -> Result<v1::ListServicesResponse, Refusal> {
    let seen_by = access.clone();
    let services = access.look(move |state, now| {
        Ok(views::services(state, service.as_ref(), |service| seen_by.sees(service), now))
    });
    services.await
}
