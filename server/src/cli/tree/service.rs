//! Services in the tree, and their hosts that no deployment changes.

use super::{
    Detail, Node, Tone,
    deployment::{deployment_node, hosts_of},
    instance::{instance_node, is_ready},
};
use crate::cli::{lock, rehearse};
use handover_proto::v1::{Deployment, Service, ServiceHost};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn service_node(
    service: &Service,
    deployment: Option<&Deployment>,
    now: u64,
    detail: Detail,
) -> Node {
    let version = if service.version.is_empty() { "nothing yet" } else { &service.version };
    let node = Node::new(Tone::Plain, format!("service {}: {version}; {}", service.name, rollback(service)));
    let held = service.lock.as_ref().map(|held| Node::new(Tone::Waiting, lock::line(held, now)));
    let course = deployment.map(|deployment| deployment_node(deployment, now, detail));
    let in_course: BTreeSet<&str> =
        deployment.iter().flat_map(|deployment| &deployment.hosts).map(|host| host.host.as_str()).collect();
    let others = service.hosts.iter().filter(|host| !in_course.contains(host.host.as_str()));
    let rehearsal = rehearse::last(service, now).map(|line| Node::new(Tone::Plain, line));
    let no_return = no_return(service).map(|line| Node::new(Tone::Waiting, line));
    let node = node.with(held).with(rehearsal).with(no_return).with(course);
    node.with(resting(others, &service.version, detail))
}

/// What a rollback would do, in a few words.
pub(in crate::cli) fn rollback(service: &Service) -> String {
    match (service.previous_version.as_str(), service.no_rollback.as_str()) {
        (_, why) if !why.is_empty() => format!("no rollback: {why}"),
        ("", _) => "no rollback".to_owned(),
        (previous, _) => format!("rollback goes to {previous}"),
    }
}

/// What a contract that waits will take away; `None` where none does.
pub(in crate::cli) fn no_return(service: &Service) -> Option<String> {
    (!service.no_return.is_empty()).then(|| format!("point of no return: {}", service.no_return))
}

/// Hosts that no deployment changes now.
fn resting<'a>(hosts: impl Iterator<Item = &'a ServiceHost>, current: &str, detail: Detail) -> Vec<Node> {
    let mut calm: BTreeMap<&str, usize> = BTreeMap::new();
    let mut nodes = Vec::new();
    let mut more = 0;
    for host in hosts {
        let well = host.online && host.version == current && host.instances.iter().all(is_ready);
        if well && !detail.calm {
            *calm.entry(host.version.as_str()).or_default() += 1;
        } else if nodes.len() < detail.hosts {
            nodes.push(resting_host(host, well, detail));
        } else {
            more += 1;
        }
    }
    if more > 0 {
        nodes.push(Node::new(Tone::Waiting, format!("{} more", hosts_of(more))));
    }
    nodes.extend(calm.into_iter().map(|(version, number)| {
        let version = if version.is_empty() { "nothing" } else { version };
        Node::new(Tone::Good, format!("{} well on {version}", hosts_of(number)))
    }));
    nodes
}

fn resting_host(host: &ServiceHost, well: bool, detail: Detail) -> Node {
    let version = if host.version.is_empty() { "nothing" } else { &host.version };
    let mut text = format!("{} {version}", host.host);
    if host.cordoned {
        text.push_str(", cordoned");
    }
    if !host.online {
        text.push_str(", offline");
    }
    let shown = host.instances.iter().filter(|_| detail.instances).map(instance_node);
    Node::new(if well { Tone::Good } else { Tone::Bad }, text).with(shown)
}
