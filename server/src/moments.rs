//! When hosts flipped, by the server's clock.
//!
//! Nobody's wall clock is asked. A target goes out, the agent makes it true and tells of it in a report; with the report
//! come three readings of the agent's own clock: when the target had come, when the flip was in the kernel, when the
//! report went out. So the flip was not before the target went out and the agent had had it for as long as it says; and
//! not after the report came in, less the time for which it had been made already. How far apart the two are is the
//! round trip of that very exchange, without the time that the agent took.

use handover_model::{Duration, HostReport, Readings, ServiceName};
use handover_rollout::Moment;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::LazyLock,
    time::Instant,
};

/// Targets of a session whose sending is remembered: a report of an older one tells nothing.
const REMEMBERED: usize = 16;

/// All moments are counted from here.
static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Now, by the clock that all moments are on.
pub(crate) fn clock() -> Duration {
    BEGINNING.elapsed()
}

/// What a session sent, and when.
#[derive(Debug, Default)]
pub(crate) struct Exchanges {
    sent: VecDeque<(u64, Duration)>,
}

impl Exchanges {
    /// A target of this revision goes out now.
    pub(crate) fn sent(&mut self, revision: u64, at: Duration) {
        self.sent.push_back((revision, at));
        while self.sent.len() > REMEMBERED {
            self.sent.pop_front();
        }
    }

    /// When the host made the flips that its report tells of, which came then; as far as they followed from the target
    /// that the report is about.
    pub(crate) fn moments(&self, report: &HostReport, came: Duration) -> BTreeMap<ServiceName, Moment> {
        let sent = self.sent.iter().rev().find(|(revision, _)| *revision == report.revision);
        let (Some((_, sent)), Some(readings)) = (sent, report.readings) else { return BTreeMap::new() };
        let flips = report.flips.iter().filter_map(|(service, flip)| Some((service, flip.at_nanos?)));
        flips
            .filter_map(|(service, at)| Some((service.clone(), moment(*sent, came, readings, at)?)))
            .collect()
    }
}

/// When a flip was that an agent's clock tells of, whose target went out at `sent` and whose report came at `came`. `None`
/// where it was before the target, or the clocks do not agree.
fn moment(sent: Duration, came: Duration, readings: Readings, at_nanos: u64) -> Option<Moment> {
    let after_target = Duration::from_nanos(at_nanos.checked_sub(readings.target_nanos?)?);
    let before_report = Duration::from_nanos(readings.sent_nanos.checked_sub(at_nanos)?);
    let (earliest, latest) = (sent.checked_add(after_target)?, came.checked_sub(before_report)?);
    (earliest <= latest).then_some(Moment { earliest, latest })
}

#[cfg(test)]
mod tests {
    use super::*;
    use handover_model::FlipReport;

    const fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn readings(target: Option<u64>, sent: u64) -> Readings {
        Readings { sent_nanos: sent * 1_000_000, target_nanos: target.map(|target| target * 1_000_000) }
    }

    #[test]
    fn a_flip_lies_between_its_order_and_its_report_and_is_as_sure_as_the_round_trip_is_short() {
        // The agent's clock is at 500 s. The target took 3 ms to it, the report 1 ms back; it flipped 20 ms after the
        // target had come and told of it 5 ms later.
        let found = moment(millis(1_000), millis(1_029), readings(Some(500_000), 500_025), 500_020_000_000);
        let found = found.unwrap();
        assert_eq!((found.earliest, found.latest), (millis(1_020), millis(1_024)));
        // It was at 1,023: in between, and what is not known is the round trip of 4 ms.
        assert!(found.earliest <= millis(1_023) && millis(1_023) <= found.latest);
    }

    #[test]
    fn a_later_report_of_the_same_flip_tells_the_same() {
        let at = 500_020_000_000;
        let first = moment(millis(1_000), millis(1_029), readings(Some(500_000), 500_025), at).unwrap();
        let later = moment(millis(1_000), millis(9_029), readings(Some(500_000), 508_025), at).unwrap();
        assert_eq!(first, later);
    }

    #[test]
    fn what_did_not_follow_from_the_target_is_not_told_of() {
        let (sent, came) = (millis(1_000), millis(1_100));
        assert_eq!(moment(sent, came, readings(None, 500_025), 500_020_000_000), None, "another session's");
        assert_eq!(moment(sent, came, readings(Some(500_000), 500_025), 499_000_000_000), None, "before it");
        assert_eq!(moment(sent, came, readings(Some(500_000), 500_010), 500_020_000_000), None, "after it");
        // A clock that went on by more than the server's did between the two.
        assert_eq!(moment(sent, came, readings(Some(500_000), 501_000), 500_500_000_000), None);
        assert_eq!(moment(sent, came, readings(Some(0), u64::MAX / 1_000_000), 5), None);
    }

    #[test]
    fn a_report_is_about_the_target_of_its_revision_as_it_was_sent_last() {
        let mut exchanges = Exchanges::default();
        for revision in 1..=20 {
            exchanges.sent(revision, millis(revision * 100));
        }
        exchanges.sent(20, millis(5_000));
        let service: ServiceName = "web".parse().unwrap();
        let flip = FlipReport { at_nanos: Some(70_000_000), confirmation: None };
        let report = |revision| HostReport {
            revision,
            flips: [(service.clone(), flip.clone())].into(),
            readings: Some(readings(Some(60), 80)),
            ..HostReport::default()
        };
        let earliest =
            |revision| exchanges.moments(&report(revision), millis(6_000)).get(&service).map(|m| m.earliest);
        assert_eq!(earliest(20), Some(millis(5_010)));
        assert_eq!(earliest(19), Some(millis(1_910)));
        assert_eq!(earliest(2), None, "that is long ago");
        let silent = HostReport { readings: None, ..report(20) };
        assert!(exchanges.moments(&silent, millis(6_000)).is_empty());
    }
}
