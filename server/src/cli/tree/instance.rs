//! Instances in the tree.

use super::{Node, Tone};
use handover_model::Share;
use handover_proto::v1::InstanceReport;

pub(super) fn instance_node(instance: &InstanceReport) -> Node {
    let phase = phase(instance);
    let tone = match phase.as_str() {
        "ready" if instance.share > 0 => Tone::Good,
        "ready" => Tone::Plain,
        "unhealthy" | "backing off" | "gave up" => Tone::Bad,
        _ => Tone::Moving,
    };
    let connections = match instance.connections {
        Some(1) => ", 1 connection".to_owned(),
        Some(number) => format!(", {number} connections"),
        None => String::new(),
    };
    let share =
        if instance.share == 0 { "hidden".to_owned() } else { format!("share {}", share(instance.share)) };
    let restarts = if instance.restarts == 0 {
        String::new()
    } else {
        format!(", started again {} times", instance.restarts)
    };
    let detail = if instance.detail.is_empty() { String::new() } else { format!(": {}", instance.detail) };
    let text = format!(
        "{} {}: {phase}, {share}{connections}{restarts}{detail}",
        instance.instance, instance.version
    );
    Node::new(tone, text)
}

pub(super) fn is_ready(instance: &InstanceReport) -> bool {
    phase(instance) == "ready"
}

pub(super) fn is_gone(instance: &InstanceReport) -> bool {
    phase(instance) == "exited"
}

fn phase(instance: &InstanceReport) -> String {
    let name = instance.phase().as_str_name();
    name.strip_prefix("INSTANCE_PHASE_").unwrap_or(name).to_lowercase().replace('_', " ")
}

/// A share in percent.
pub(super) fn share(basis_points: u32) -> String {
    Share::new(basis_points).map_or_else(|_| basis_points.to_string(), |share| share.to_string())
}
