//! What an instance used of its host, and turned away, between two samples.

use handover_judge::{Reading, Uses};
use handover_model::{Refused, Sample};

/// A processor's time in a second, in millionths of it.
const WHOLE: u128 = 1_000_000;
/// A minute in microseconds, times a thousand: what is turned away is told in thousandths a minute.
const MINUTE: u128 = 60_000_000 * 1000;

/// Memory as it is at the end, processor time and what was turned away over the whole of it, by the host's own clock. An
/// instance that was not `shown`, without a share at either end, has turned nobody away whom it could have taken.
pub(super) fn between(before: Option<&Sample>, now: &Sample, shown: bool) -> Uses {
    if before.is_some_and(|before| before.run != now.run) {
        return Uses { memory: Reading::Reset, cpu: Reading::Reset, refused: Reading::Reset };
    }
    let counted = |used: Option<u64>| used.map_or(Reading::Absent, Reading::Counted);
    Uses {
        memory: counted(now.usage.memory),
        cpu: counted(before.and_then(|before| cpu(before, now))),
        refused: counted(
            before.filter(|_| shown).and_then(|before| refused(before.usage.refused?, now.usage.refused?)),
        ),
    }
}

/// In thousandths a minute; `None` where it was counted from another beginning.
fn refused(before: Refused, now: Refused) -> Option<u64> {
    let refused = now.count.checked_sub(before.count).filter(|_| now.since_micros == before.since_micros)?;
    let passed = now.clock_micros.checked_sub(before.clock_micros)?;
    let rate = (u128::from(refused) * MINUTE).checked_div(u128::from(passed))?;
    u64::try_from(rate).ok()
}

/// In millionths of one processor; `None` where one of the figures is missing, or went back: time of a process that ended
/// and that nobody waited for is lost where there is no cgroup.
fn cpu(before: &Sample, now: &Sample) -> Option<u64> {
    let used = now.usage.cpu_micros?.checked_sub(before.usage.cpu_micros?)?;
    let passed = now.usage.clock_micros?.checked_sub(before.usage.clock_micros?)?;
    let part = (u128::from(used) * WHOLE).checked_div(u128::from(passed))?;
    u64::try_from(part).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use handover_model::{Share, Traffic, Usage};

    fn sample(run: u32, memory: Option<u64>, cpu_micros: Option<u64>, clock_micros: Option<u64>) -> Sample {
        let usage = Usage { memory, cpu_micros, clock_micros, ..Usage::default() };
        Sample { run, share: Share::ALL, traffic: Ok(Traffic::default()), usage }
    }

    #[test]
    fn memory_is_that_of_the_end_and_processor_time_that_of_the_whole_block() {
        let (before, now) =
            (sample(0, Some(9), Some(1_000), Some(5_000)), sample(0, Some(7), Some(4_000), Some(7_000)));
        let uses = between(Some(&before), &now, true);
        let memory = Reading::Counted(7);
        assert_eq!(uses, Uses { memory: memory.clone(), cpu: Reading::Counted(1_500_000), ..Uses::UNKNOWN });
        let first = between(None, &now, true);
        assert_eq!(first, Uses { memory, ..Uses::UNKNOWN });
    }

    #[test]
    fn what_is_missing_or_went_back_is_no_figure_and_another_run_begins_anew() {
        let before = sample(0, None, Some(1_000), Some(5_000));
        let absent = |cpu, clock| between(Some(&before), &sample(0, None, cpu, clock), true);
        assert_eq!(absent(None, Some(7_000)), Uses::UNKNOWN);
        assert_eq!(absent(Some(2_000), None), Uses::UNKNOWN, "an agent that tells no clock");
        assert_eq!(absent(Some(900), Some(7_000)), Uses::UNKNOWN, "the time of an ended process is lost");
        assert_eq!(absent(Some(2_000), Some(4_000)), Uses::UNKNOWN, "the host began anew");
        assert_eq!(absent(Some(2_000), Some(5_000)), Uses::UNKNOWN, "no time passed");
        let restarted = between(Some(&before), &sample(1, Some(1), Some(1), Some(6_000)), true);
        let reset = Reading::Reset;
        assert_eq!(restarted, Uses { memory: reset.clone(), cpu: reset.clone(), refused: reset });
    }

    #[test]
    fn what_was_turned_away_is_a_rate_by_the_time_between_its_own_readings() {
        let sample = |since_micros, clock_micros, count| {
            let refused = Some(Refused { since_micros, clock_micros, count });
            Sample { usage: Usage { refused, ..Usage::default() }, ..sample(0, None, None, None) }
        };
        let before = sample(5, 1_000_000, 10);
        let of = |now: &Sample| between(Some(&before), now, true).refused;
        assert_eq!(of(&sample(5, 31_000_000, 15)), Reading::Counted(10_000), "five in 30 s");
        assert_eq!(of(&sample(5, 31_000_000, 10)), Reading::Counted(0), "a zero that was measured");
        assert_eq!(of(&sample(6, 31_000_000, 15)), Reading::Absent, "the agent began anew");
        assert_eq!(of(&sample(5, 1_000_000, 15)), Reading::Absent, "no time passed");
        assert_eq!(of(&super::tests::sample(0, None, None, None)), Reading::Absent);
        assert_eq!(between(None, &before, true).refused, Reading::Absent);
        let hidden = between(Some(&before), &sample(5, 31_000_000, 10), false).refused;
        assert_eq!(hidden, Reading::Absent, "nobody came who could have been turned away");
    }
}
