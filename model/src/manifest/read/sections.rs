//! Reading of the plain sections: drain, restart, limits, logs, rollout.

use super::Reader;
use crate::{
    Label,
    manifest::{
        Batch, CoreLimit, CpuLimit, Drain, LogTarget, Logs, MAX_DEADLINE, Offline, OnFailure, ResourceLimits,
        Restart, RolloutConfig, Signal, quantity,
        table::{Section, Value},
    },
};
use std::time::Duration;

const MOMENT: Duration = Duration::from_millis(10);
const HOUR: Duration = Duration::from_secs(3600);
/// PID_MAX_LIMIT of linux/threads.h on 64 bits.
const MOST_TASKS: u64 = 4 * 1024 * 1024;
const MOST_HOSTS: u32 = 1_000_000;

impl Reader<'_, '_> {
    pub(super) fn drain(&mut self, mut section: Section<'_>) -> Drain {
        let default = Drain::default();
        let signal = section.get("signal").and_then(|value| self.signal(&value)).unwrap_or(default.signal);
        let queues = Duration::ZERO..=HOUR;
        let queue_deadline =
            section.duration("queue_deadline", queues, default.queue_deadline, self.problems);
        let whole = Duration::ZERO..=MAX_DEADLINE;
        let deadline = section.duration("deadline", whole, default.deadline, self.problems);
        section.finish(self.problems);
        Drain { signal, queue_deadline, deadline }
    }

    fn signal(&mut self, value: &Value<'_>) -> Option<Signal> {
        let text = value.text(self.problems)?;
        if matches!(text, "SIGKILL" | "SIGSTOP") {
            let message = format!("{text} cannot be caught, so no program can drain on it");
            self.problems.add(value.span.clone(), &value.path, message);
            return None;
        }
        let choices: Vec<_> = Signal::ALL.iter().map(|signal| (signal.name(), *signal)).collect();
        value.choice(&choices, self.problems)
    }

    pub(super) fn restart(&mut self, mut section: Section<'_>) -> Restart {
        let default = Restart::default();
        let initial = section.duration("initial", MOMENT..=HOUR, default.initial, self.problems);
        let max = section.get("max");
        let longest = match max {
            Some(value) => value.duration(&(initial..=MAX_DEADLINE), self.problems),
            None => None,
        };
        let attempts = section.integer("attempts", 0..=1_000_000, self.problems).unwrap_or(default.attempts);
        let stable = section.duration("stable", Duration::ZERO..=MAX_DEADLINE, default.stable, self.problems);
        section.finish(self.problems);
        Restart { initial, max: longest.unwrap_or_else(|| default.max.max(initial)), attempts, stable }
    }

    pub(super) fn limits(&mut self, mut section: Section<'_>) -> ResourceLimits {
        let limits = ResourceLimits {
            open_files: section.integer("open_files", 16..=1_048_576, self.problems),
            processes: section.integer("processes", 1..=MOST_TASKS, self.problems),
            core: section.get("core").and_then(|value| self.core(&value)),
            memory: section.get("memory").and_then(|value| value.bytes(&(1 << 20..=1 << 50), self.problems)),
            cpu: section
                .get("cpu")
                .and_then(|value| value.parsed(self.problems, |text| quantity::percent(text, &(1..=100_000))))
                .map(|percent| CpuLimit { percent }),
            tasks: section.integer("tasks", 1..=MOST_TASKS, self.problems),
        };
        section.finish(self.problems);
        limits
    }

    fn core(&mut self, value: &Value<'_>) -> Option<CoreLimit> {
        if !value.is_integer() && value.text(self.problems)? == "unlimited" {
            return Some(CoreLimit::Unlimited);
        }
        value.bytes(&(0..=1 << 50), self.problems).map(CoreLimit::Bytes)
    }

    pub(super) fn logs(&mut self, mut section: Section<'_>) -> Logs {
        let default = Logs::default();
        let targets =
            [("auto", LogTarget::Auto), ("journald", LogTarget::Journald), ("files", LogTarget::Files)];
        let to = section.choice("to", &targets, self.problems).unwrap_or(default.to);
        let max_size = section.get("max_size");
        let max_size = max_size.and_then(|value| value.bytes(&(64 << 10..=1 << 40), self.problems));
        let keep = section.integer("keep", 0..=100, self.problems).unwrap_or(default.keep);
        section.finish(self.problems);
        Logs { to, max_size: max_size.unwrap_or(default.max_size), keep }
    }

    pub(super) fn rollout(&mut self, mut section: Section<'_>) -> RolloutConfig {
        let default = RolloutConfig::default();
        let batch = section.get("batch").and_then(|value| self.batch(&value)).unwrap_or(default.batch);
        let order_by = section.get("order_by").and_then(|value| {
            value.parsed(self.problems, |text| Label::new(text, "").map(|label| label.key))
        });
        let max_in_flight = section.integer("max_in_flight", 1..=MOST_HOSTS, self.problems);
        let failures_allowed =
            section.integer("failures_allowed", 0..=MOST_HOSTS, self.problems).unwrap_or(0);
        let bake = section.duration("bake", Duration::ZERO..=MAX_DEADLINE, default.bake, self.problems);
        let failure = [("rollback", OnFailure::Rollback), ("pause", OnFailure::Pause)];
        let on_failure = section.choice("on_failure", &failure, self.problems).unwrap_or(default.on_failure);
        let absent = [("wait", Offline::Wait), ("skip", Offline::Skip), ("fail", Offline::Fail)];
        let offline = section.choice("offline", &absent, self.problems).unwrap_or(default.offline);
        let waiting = Duration::from_secs(1)..=MAX_DEADLINE;
        let offline_deadline =
            section.duration("offline_deadline", waiting, default.offline_deadline, self.problems);
        let flip_deadline =
            section.duration("flip_deadline", MOMENT..=HOUR, default.flip_deadline, self.problems);
        section.finish(self.problems);
        RolloutConfig {
            batch,
            order_by,
            max_in_flight,
            failures_allowed,
            bake,
            on_failure,
            offline,
            offline_deadline,
            flip_deadline,
        }
    }

    fn batch(&mut self, value: &Value<'_>) -> Option<Batch> {
        if value.is_integer() {
            return value.integer(&(1..=MOST_HOSTS), self.problems).map(Batch::Hosts);
        }
        let percent = value.parsed(self.problems, |text| quantity::percent(text, &(1..=100)))?;
        u8::try_from(percent).ok().map(Batch::Percent)
    }
}
