//! What happened to instances, from what a host says now and what it said before.

use super::{Event, EventKind};
use handover_model::{HostName, HostReport, InstancePhase, InstanceReport, Timestamp};

/// What happened on a host between two of its reports. A first report after the server's start tells how things are
/// and not what happened. Several failures between two reports are one event.
pub(crate) fn instances(host: &HostName, before: &HostReport, now: &HostReport, at: Timestamp) -> Vec<Event> {
    let mut events = Vec::new();
    for (id, instance) in &now.instances {
        let Some(kind) = happened(before.instances.get(id), instance) else { continue };
        let mut event =
            Event::new(kind, at).release(&instance.release).host(host).instance(id).text(&instance.detail);
        event.deployment = id.deployment();
        events.push(event);
    }
    events
}

fn happened(before: Option<&InstanceReport>, now: &InstanceReport) -> Option<EventKind> {
    let was = before.map(|before| before.phase);
    let restarts = before.map_or(0, |before| before.restarts);
    match now.phase {
        InstancePhase::GaveUp => (was != Some(InstancePhase::GaveUp)).then_some(EventKind::InstanceGaveUp),
        InstancePhase::BackingOff if was != Some(InstancePhase::BackingOff) => {
            Some(EventKind::InstanceFailed)
        }
        InstancePhase::Unhealthy if was != Some(InstancePhase::Unhealthy) => {
            Some(EventKind::InstanceUnhealthy)
        }
        InstancePhase::Ready if was != Some(InstancePhase::Ready) => Some(EventKind::InstanceReady),
        InstancePhase::BackingOff
        | InstancePhase::Unhealthy
        | InstancePhase::Ready
        | InstancePhase::Fetching
        | InstancePhase::Starting
        | InstancePhase::Draining
        | InstancePhase::Stopping
        | InstancePhase::Exited => (now.restarts > restarts).then_some(EventKind::InstanceFailed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use handover_model::{ReleaseRef, Share};

    fn report(phase: InstancePhase, restarts: u32) -> InstanceReport {
        InstanceReport {
            service: "web".parse().unwrap(),
            release: ReleaseRef { service: "web".parse().unwrap(), version: "1".parse().unwrap() },
            phase,
            share: Share::HIDDEN,
            pid: None,
            restarts,
            connections: None,
            since: Timestamp::default(),
            until: None,
            detail: String::new(),
            flip_nanos: None,
            ready_millis: None,
            unready_probes: None,
            unserved: None,
            ledger: None,
            pin: None,
        }
    }

    #[test]
    fn what_happened_follows_from_two_reports() {
        use EventKind::{InstanceFailed, InstanceGaveUp, InstanceReady, InstanceUnhealthy};
        use InstancePhase::{BackingOff, Draining, GaveUp, Ready, Starting, Unhealthy};
        for (before, now, expected) in [
            (None, (Ready, 0), Some(InstanceReady)),
            (Some((Starting, 0)), (Ready, 0), Some(InstanceReady)),
            (Some((Ready, 0)), (Ready, 0), None),
            // It crashed and came back between two reports.
            (Some((Ready, 0)), (Ready, 1), Some(InstanceFailed)),
            (Some((Ready, 0)), (Starting, 1), Some(InstanceFailed)),
            (Some((Ready, 0)), (Unhealthy, 0), Some(InstanceUnhealthy)),
            (Some((Ready, 0)), (BackingOff, 1), Some(InstanceFailed)),
            (Some((BackingOff, 1)), (BackingOff, 1), None),
            (Some((BackingOff, 1)), (GaveUp, 2), Some(InstanceGaveUp)),
            (Some((GaveUp, 2)), (GaveUp, 2), None),
            (Some((Ready, 0)), (Draining, 0), None),
        ] {
            let before = before.map(|(phase, restarts)| report(phase, restarts));
            assert_eq!(happened(before.as_ref(), &report(now.0, now.1)), expected, "{before:?} {now:?}");
        }
    }
}
