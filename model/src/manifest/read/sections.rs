//! Reading of the plain sections: drain, restart, limits, logs, rollout.

use super::Reader;
use crate::{
    Label,
    language::{Section, Value},
    manifest::{
        Batch, CoreLimit, CpuLimit, Drain, Logs, ResourceLimits, Restart, RolloutConfig, Signal,
        keys::{Durations, Either, Integers, Percents, Sizes, canary, process as keys, rollout},
    },
};
use std::time::Duration;

impl Reader<'_, '_> {
    pub(super) fn drain(&mut self, section: &Section<'_>) -> Drain {
        let default = Drain::default();
        let signal = section.get(&keys::SIGNAL).and_then(|value| self.signal(&value));
        let queue_deadline = section.duration(&keys::QUEUE_DEADLINE, default.queue_deadline, self.problems);
        let deadline = section.duration(&keys::DEADLINE, default.deadline, self.problems);
        section.refuse_unknown(self.problems);
        Drain { signal: signal.unwrap_or(default.signal), queue_deadline, deadline }
    }

    fn signal(&mut self, value: &Value<'_>) -> Option<Signal> {
        let text = value.text(self.problems)?;
        if matches!(text, "SIGKILL" | "SIGSTOP") {
            let message = format!("{text} cannot be caught, so no program can drain on it");
            self.problems.add(value.span.clone(), &value.path, message);
            return None;
        }
        value.choice(keys::SIGNAL.value, self.problems)
    }

    pub(super) fn restart(&mut self, section: &Section<'_>) -> Restart {
        let default = Restart::default();
        let initial = section.duration(&keys::INITIAL, default.initial, self.problems);
        let Durations(least, most) = keys::MAX.value;
        // Where the text could not be read `initial` may say something else.
        let least = if self.problems.doubtful() { least } else { initial };
        let longest =
            section.get(&keys::MAX).and_then(|value| value.duration(&(least..=most), self.problems));
        let attempts = section.integer(&keys::ATTEMPTS, self.problems).unwrap_or(default.attempts);
        let stable = section.duration(&keys::STABLE, default.stable, self.problems);
        section.refuse_unknown(self.problems);
        Restart { initial, max: longest.unwrap_or_else(|| default.max.max(initial)), attempts, stable }
    }

    pub(super) fn limits(&mut self, section: &Section<'_>) -> ResourceLimits {
        let limits = ResourceLimits {
            open_files: section.integer(&keys::OPEN_FILES, self.problems),
            processes: section.integer(&keys::PROCESSES, self.problems),
            core: section.get(&keys::CORE).and_then(|value| self.core(&value)),
            memory: section.bytes(&keys::MEMORY, self.problems),
            cpu: section.percent(&keys::CPU, self.problems).map(|percent| CpuLimit { percent }),
            tasks: section.integer(&keys::TASKS, self.problems),
        };
        section.refuse_unknown(self.problems);
        limits
    }

    fn core(&mut self, value: &Value<'_>) -> Option<CoreLimit> {
        let Either(words, Sizes(from, to)) = keys::CORE.value;
        // A text without a number is meant to be a word.
        if value.str().is_some_and(|text| !text.starts_with(|c: char| c.is_ascii_digit())) {
            return value.choice(words, self.problems);
        }
        value.bytes(&(from..=to), self.problems).map(CoreLimit::Bytes)
    }

    pub(super) fn logs(&mut self, section: &Section<'_>) -> Logs {
        let default = Logs::default();
        let to = section.choice(&keys::TO, self.problems).unwrap_or(default.to);
        let max_size = section.bytes(&keys::MAX_SIZE, self.problems).unwrap_or(default.max_size);
        let keep = section.integer(&keys::KEEP, self.problems).unwrap_or(default.keep);
        section.refuse_unknown(self.problems);
        Logs { to, max_size, keep }
    }

    pub(super) fn rollout(&mut self, section: &Section<'_>, listens: bool) -> RolloutConfig {
        let default = RolloutConfig::default();
        let strategy = section.choice(&rollout::STRATEGY, self.problems).unwrap_or(default.strategy);
        let batch = section.get(&rollout::BATCH).and_then(|value| self.batch(&value));
        let steps = section.get(&canary::STEPS).and_then(|value| self.steps(&value));
        let order_by = section.get(&rollout::ORDER_BY).and_then(|value| {
            value.parsed(self.problems, |text| Label::new(text, "").map(|label| label.key))
        });
        let max_in_flight = section.integer(&rollout::MAX_IN_FLIGHT, self.problems);
        let failures_allowed = section.integer(&rollout::FAILURES_ALLOWED, self.problems).unwrap_or(0);
        let bake = section.duration(&rollout::BAKE, default.bake, self.problems);
        let approve = section.choice(&rollout::APPROVE, self.problems).unwrap_or(default.approve);
        let keep_warm = section.duration(&rollout::KEEP_WARM, default.keep_warm, self.problems);
        let confirm = section.get(&rollout::CONFIRM).and_then(|value| self.confirm(&value, listens));
        let rehearsal = section.choice(&rollout::REHEARSAL, self.problems).unwrap_or(default.rehearsal);
        let rehearsal_max_age =
            section.duration(&rollout::REHEARSAL_MAX_AGE, default.rehearsal_max_age, self.problems);
        let on_failure = section.choice(&rollout::ON_FAILURE, self.problems).unwrap_or(default.on_failure);
        let offline = section.choice(&rollout::OFFLINE, self.problems).unwrap_or(default.offline);
        let offline_deadline =
            section.duration(&rollout::OFFLINE_DEADLINE, default.offline_deadline, self.problems);
        let flip_deadline = section.duration(&rollout::FLIP_DEADLINE, default.flip_deadline, self.problems);
        section.refuse_unknown(self.problems);
        RolloutConfig {
            strategy,
            approve,
            keep_warm,
            confirm: confirm.unwrap_or(default.confirm),
            rehearsal,
            rehearsal_max_age,
            batch: batch.unwrap_or(default.batch),
            steps: steps.unwrap_or(default.steps),
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

    /// Only of a service that listens: otherwise there is no flip.
    fn confirm(&mut self, value: &Value<'_>, listens: bool) -> Option<Duration> {
        let Durations(least, most) = rollout::CONFIRM.value;
        let within = value.duration(&(least..=most), self.problems)?;
        if !listens && !self.problems.doubtful() {
            let message = "a service without listeners has no flip that could be undone: its new instance works as soon as it runs";
            self.problems.add(value.span.clone(), &value.path, message);
        }
        Some(within)
    }

    pub(super) fn batch(&mut self, value: &Value<'_>) -> Option<Batch> {
        let Either(Integers(least, most), Percents(from, to)) = rollout::BATCH.value;
        if value.is_integer() {
            return value.integer(&(least..=most), self.problems).map(Batch::Hosts);
        }
        let percent = value.percent(&(from..=to), self.problems)?;
        u8::try_from(percent).ok().map(Batch::Percent)
    }
}
