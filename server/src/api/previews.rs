//! Previews on the wire: the hidden instances of a service, and the way to them.

use super::{operators::Answer, permit::Permit, request};
use crate::fleet::Hidden;
use handover_model::ServiceName;
use handover_proto::v1;
use tonic::{Request, Response};

/// The hidden instances.
pub(super) async fn list(wire: Request<v1::PreviewRequest>) -> Answer<v1::PreviewResponse> {
    let permit = Permit::of(&wire)?;
    let v1::PreviewRequest { service, hosts } = wire.into_inner();
    let service: ServiceName = request::parse("service", &service)?;
    let access = permit.service(&service)?;
    let hosts = request::hosts_of(&hosts)?;
    let hidden = access.look(move |state, _| state.hidden(&service, &hosts)).await?;
    Ok(Response::new(v1::PreviewResponse { hidden: hidden.into_iter().map(view).collect() }))
}

fn view(hidden: Hidden) -> v1::HiddenInstance {
    let Hidden { host, instance, version, phase, pin, addresses } = hidden;
    v1::HiddenInstance {
        host: host.to_string(),
        instance: instance.to_string(),
        version: version.to_string(),
        phase: v1::InstancePhase::from(phase).into(),
        pin: Some(pin.into()),
        addresses: addresses
            .into_iter()
            .map(|(listener, address)| v1::ListenerAddress {
                listener: listener.to_string(),
                address: address.to_string(),
            })
            .collect(),
    }
}
