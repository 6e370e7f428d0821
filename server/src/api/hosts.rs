//! The fleet's hosts: shown, changed, removed.

use super::{
    permit::{Access, Subject},
    request, views,
};
use crate::fleet::HostChange;
use handover_model::{HostName, ServiceName};
use handover_proto::v1;
use tonic::Status;

/// All hosts, with what this operator may see of them.
pub(super) async fn list(access: &Access) -> Result<v1::ListHostsResponse, Status> {
    let seen_by = access.clone();
    let hosts = access.look(move |state, _| {
        let seen = |service: &ServiceName| seen_by.sees(service);
        Ok(state.hosts().map(|(name, host)| views::host(state, name, host, seen)).collect())
    });
    Ok(v1::ListHostsResponse { hosts: hosts.await? })
}

/// One host, with what this operator may see of it.
pub(super) async fn shown(access: &Access, name: HostName) -> Result<v1::Host, Status> {
    let seen_by = access.clone();
    let host = access.look(move |state, _| {
        Ok(views::host(state, &name, state.host(&name)?, |service| seen_by.sees(service)))
    });
    Ok(host.await?)
}

/// Changes a host, and shows it as it is then.
pub(super) async fn update(access: &Access, request: v1::UpdateHostRequest) -> Result<v1::Host, Status> {
    let v1::UpdateHostRequest { name, set_labels, remove_labels, cordoned, acknowledge_clone } = request;
    let name: HostName = request::parse("name", &name)?;
    let remove = remove_labels.into_iter().collect();
    let change = HostChange { set: request::labels(set_labels), remove, cordoned, acknowledge_clone };
    let changed = name.clone();
    let subject = Subject::of(format!("host {name}")).detail(wanted(&change));
    access
        .change(subject, move |desk, _| desk.state.update_host(&changed, &change, desk.now, desk.effects))
        .await?;
    shown(access, name).await
}

/// Removes a host.
pub(super) async fn remove(
    access: &Access,
    request: v1::RemoveHostRequest,
) -> Result<v1::RemoveHostResponse, Status> {
    let v1::RemoveHostRequest { name, force, reason } = request;
    let name: HostName = request::parse("name", &name)?;
    let forced = if force { "forced" } else { "" };
    let subject = Subject::of(format!("host {name}")).detail(forced).reason(reason);
    access
        .change(subject, move |desk, _| desk.state.remove_host(&name, force, desk.now, desk.effects))
        .await?;
    Ok(v1::RemoveHostResponse {})
}

/// What is to be changed in a host, in words.
fn wanted(change: &HostChange) -> String {
    let HostChange { set, remove, cordoned, acknowledge_clone } = change;
    let set = set.iter().map(|(key, value)| format!("{key}={value}"));
    let remove = remove.iter().map(|key| format!("{key}-"));
    let cordoned = cordoned.iter().map(|cordoned| if *cordoned { "cordon" } else { "uncordon" }.to_owned());
    let copy = acknowledge_clone.then(|| "acknowledge".to_owned());
    set.chain(remove).chain(cordoned).chain(copy).collect::<Vec<_>>().join(" ")
}
