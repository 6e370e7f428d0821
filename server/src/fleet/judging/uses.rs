//! What an instance used of its host between two samples.

use handover_judge::{Reading, Uses};
use handover_model::Sample;

/// A processor's time in a second, in millionths of it.
const WHOLE: u128 = 1_000_000;

/// Memory as it is at the end, processor time over the whole of it, by the host's own clock.
pub(super) fn between(before: Option<&Sample>, now: &Sample) -> Uses {
    if before.is_some_and(|before| before.run != now.run) {
        return Uses { memory: Reading::Reset, cpu: Reading::Reset };
    }
    let counted = |used: Option<u64>| used.map_or(Reading::Absent, Reading::Counted);
    Uses { memory: counted(now.usage.memory), cpu: counted(before.and_then(|before| cpu(before, now))) }
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
        let usage = Usage { connections: None, memory, cpu_micros, clock_micros };
        Sample { run, share: Share::ALL, traffic: Ok(Traffic::default()), usage }
    }

    #[test]
    fn memory_is_that_of_the_end_and_processor_time_that_of_the_whole_block() {
        let (before, now) =
            (sample(0, Some(9), Some(1_000), Some(5_000)), sample(0, Some(7), Some(4_000), Some(7_000)));
        let uses = between(Some(&before), &now);
        assert_eq!(uses, Uses { memory: Reading::Counted(7), cpu: Reading::Counted(1_500_000) });
        let first = between(None, &now);
        assert_eq!(first, Uses { memory: Reading::Counted(7), cpu: Reading::Absent });
    }

    #[test]
    fn what_is_missing_or_went_back_is_no_figure_and_another_run_begins_anew() {
        let before = sample(0, None, Some(1_000), Some(5_000));
        let absent = |cpu, clock| between(Some(&before), &sample(0, None, cpu, clock));
        assert_eq!(absent(None, Some(7_000)), Uses::UNKNOWN);
        assert_eq!(absent(Some(2_000), None), Uses::UNKNOWN, "an agent that tells no clock");
        assert_eq!(absent(Some(900), Some(7_000)), Uses::UNKNOWN, "the time of an ended process is lost");
        assert_eq!(absent(Some(2_000), Some(4_000)), Uses::UNKNOWN, "the host began anew");
        assert_eq!(absent(Some(2_000), Some(5_000)), Uses::UNKNOWN, "no time passed");
        let restarted = between(Some(&before), &sample(1, Some(1), Some(1), Some(6_000)));
        assert_eq!(restarted, Uses { memory: Reading::Reset, cpu: Reading::Reset });
    }
}
