//! What the agent says of itself in one line, to whoever asks `systemctl status`.

use handover_model::{HostReport, InstancePhase};

/// How many instances there are, how many of them are ready and how many have given up, and whether the server is
/// there. Nothing in it changes from second to second: each change is a message.
#[must_use]
pub fn line(report: &HostReport, server: &str, connected: bool) -> String {
    let there = |phase: &InstancePhase| *phase != InstancePhase::Exited;
    let phases: Vec<_> = report.instances.values().map(|instance| instance.phase).filter(there).collect();
    let count = |wanted| phases.iter().filter(|phase| **phase == wanted).count();
    let (ready, gave_up) = (count(InstancePhase::Ready), count(InstancePhase::GaveUp));
    let session =
        if connected { format!("in session with {server}") } else { format!("no session with {server}") };
    format!("instances: {} ({ready} ready, {gave_up} given up); {session}", phases.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use handover_model::{InstanceReport, ReleaseRef, Share, Timestamp};

    fn instance(phase: InstancePhase) -> InstanceReport {
        InstanceReport {
            service: "web".parse().unwrap(),
            release: ReleaseRef { service: "web".parse().unwrap(), version: "1".parse().unwrap() },
            phase,
            share: Share::HIDDEN,
            pid: None,
            restarts: 0,
            connections: None,
            since: Timestamp::from_unix_millis(0),
            until: None,
            detail: String::new(),
            flip_nanos: None,
            ready_millis: None,
            ledger: None,
            pin: None,
        }
    }

    #[test]
    fn instances_are_counted_by_what_matters_and_those_that_are_gone_are_not() {
        let phases = [
            ("web-d1", InstancePhase::Exited),
            ("web-d2", InstancePhase::Ready),
            ("web-d3", InstancePhase::GaveUp),
            ("web-d4", InstancePhase::Starting),
        ];
        let instances = phases.map(|(id, phase)| (id.parse().unwrap(), instance(phase))).into();
        let report = HostReport { revision: 1, instances, ..HostReport::default() };
        let said = "instances: 3 (1 ready, 1 given up); in session with server:7443";
        assert_eq!(line(&report, "server:7443", true), said);
        let said = "instances: 0 (0 ready, 0 given up); no session with server:7443";
        assert_eq!(line(&HostReport::default(), "server:7443", false), said);
    }
}
