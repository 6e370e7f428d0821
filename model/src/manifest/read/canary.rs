//! Reading of a canary's steps, and of how it is judged.

use super::Reader;
use crate::{
    Share,
    language::{Section, Value, written},
    manifest::{
        Approve, Batch, JudgeConfig, MAX_STEPS, MaxSlow, MetricsConfig, Millionths, RolloutConfig,
        StepConfig, Strategy,
        keys::{Durations, Fractions, Key, Percents, canary as keys, service},
    },
};

impl Reader<'_, '_> {
    pub(super) fn steps(&mut self, value: &Value<'_>) -> Option<Vec<StepConfig>> {
        let steps = value.list(self.problems)?;
        if steps.is_empty() || steps.len() > MAX_STEPS {
            let message = format!("has {} steps, expected 1 to {MAX_STEPS}", steps.len());
            self.problems.add(value.span.clone(), &value.path, message);
            return None;
        }
        let read: Vec<_> = steps.iter().filter_map(|step| self.step(step)).collect();
        (read.len() == steps.len()).then_some(read)
    }

    fn step(&mut self, value: &Value<'_>) -> Option<StepConfig> {
        let Percents(from, to) = keys::SHARE.value;
        if !value.is_table() {
            let percent = value.percent(&(from..=to), self.problems)?;
            return Some(StepConfig::of(share(percent)?));
        }
        let section = value.section(Some(&keys::STEP), self.problems)?;
        let share = match section.get(&keys::SHARE) {
            Some(value) => value.percent(&(from..=to), self.problems).and_then(share),
            None => Some(Share::ALL),
        };
        let hosts = match section.get(&keys::STEP_HOSTS) {
            Some(value) => self.batch(&value),
            None => Some(Batch::Percent(100)),
        };
        let bake = section.present_duration(&keys::STEP_BAKE, self.problems);
        let within = section.present_duration(&keys::STEP_WITHIN, self.problems);
        let approve = section.choice(&keys::STEP_APPROVE, self.problems).unwrap_or(Approve::Auto);
        section.refuse_unknown(self.problems);
        Some(StepConfig { share: share?, hosts: hosts?, bake, within, approve })
    }

    /// A canary of a service that tells no metrics is judged by nobody: then a person has to, at every step.
    pub(super) fn can_be_judged(
        &mut self,
        rollout: &RolloutConfig,
        strategy: &Value<'_>,
        root: &Section<'_>,
    ) {
        let by_hand = rollout.steps.iter().all(|step| step.approve == Approve::Manual);
        if rollout.strategy != Strategy::Canary || self.problems.doubtful() {
            return;
        }
        if by_hand {
            let limits = [
                keys::MAX_ERRORS.name(),
                keys::MAX_SLOW.name(),
                keys::MAX_RESETS.name(),
                keys::MAX_REFUSED.name(),
                keys::MAX_MEMORY.name(),
                keys::MAX_CPU.name(),
            ];
            let reason = "nothing of this service is measured, as there is no [metrics]";
            root.section(&service::JUDGE, self.problems).meaningless(limits, reason, self.problems);
            return;
        }
        let message = "a canary is judged by the service's own metrics, and there is no [metrics]";
        let hint = "write [metrics] (its defaults may do), or let a person judge: every step with approve = \"manual\"";
        self.problems.add_with_hint(strategy.span.clone(), &strategy.path, message, hint);
    }

    /// A block in which nothing is read says nothing: it is as long as the interval, or longer.
    pub(super) fn blocks_are_long_enough(
        &mut self,
        judge: &mut JudgeConfig,
        metrics: &MetricsConfig,
        root: &Section<'_>,
    ) {
        if judge.block >= metrics.interval || self.problems.doubtful() {
            return;
        }
        let section = root.get(&service::JUDGE).and_then(|value| value.section(None, self.problems));
        let Some(value) = section.and_then(|section| section.get(&keys::BLOCK)) else {
            judge.block = metrics.interval;
            return;
        };
        let (block, interval) = (written(judge.block), written(metrics.interval));
        let message = format!("the judge looks every {block}, and the metrics are read every {interval}");
        let hint = "make judge.block as long as metrics.interval, or longer";
        self.problems.add_with_hint(value.span, "judge.block", message, hint);
    }

    pub(super) fn judge(&mut self, section: &Section<'_>) -> JudgeConfig {
        let default = JudgeConfig::default();
        let judge = JudgeConfig {
            block: section.duration(&keys::BLOCK, default.block, self.problems),
            within: section.duration(&keys::WITHIN, default.within, self.problems),
            inconclusive: section.choice(&keys::INCONCLUSIVE, self.problems).unwrap_or(default.inconclusive),
            alpha: self.fraction(section, &keys::ALPHA).unwrap_or(default.alpha),
            alpha_promotion: self
                .fraction(section, &keys::ALPHA_PROMOTION)
                .unwrap_or(default.alpha_promotion),
            ratio: self.fraction(section, &keys::RATIO).unwrap_or(default.ratio),
            difference: self.fraction(section, &keys::DIFFERENCE).unwrap_or(default.difference),
            intolerable: self.fraction(section, &keys::INTOLERABLE).unwrap_or(default.intolerable),
            cap: section.integer(&keys::CAP, self.problems).unwrap_or(default.cap),
            latency: section.choice(&keys::LATENCY, self.problems).unwrap_or(default.latency),
            max_errors: self.fraction(section, &keys::MAX_ERRORS),
            max_slow: self.max_slow(section),
            max_resets: self.fraction(section, &keys::MAX_RESETS),
            max_refused: section.integer(&keys::MAX_REFUSED, self.problems),
            max_memory: section.bytes(&keys::MAX_MEMORY, self.problems),
            max_cpu: section.percent(&keys::MAX_CPU, self.problems),
        };
        if judge.intolerable <= judge.difference && !self.problems.doubtful() {
            let value = section.get(&keys::INTOLERABLE).or_else(|| section.get(&keys::DIFFERENCE));
            let (span, path) = value.map_or((section.span(), "judge"), |value| {
                (
                    value.span,
                    if section.get(&keys::INTOLERABLE).is_some() {
                        "judge.intolerable"
                    } else {
                        "judge.difference"
                    },
                )
            });
            self.problems.add(
                span,
                path,
                "what is intolerable must be more than the difference that is tolerated",
            );
        }
        section.refuse_unknown(self.problems);
        judge
    }

    fn max_slow(&mut self, section: &Section<'_>) -> Option<MaxSlow> {
        let section = section.section(&keys::MAX_SLOW, self.problems);
        if !section.is_present() {
            return None;
        }
        let over = section.required(&keys::SLOW_OVER, self.problems);
        let Durations(from, to) = keys::SLOW_OVER.value;
        let over = over.and_then(|value| value.duration(&(from..=to), self.problems));
        let share = match section.get(&keys::SLOW_SHARE) {
            Some(_) => self.fraction(&section, &keys::SLOW_SHARE),
            None => Some(Millionths::new(10_000)),
        };
        section.refuse_unknown(self.problems);
        Some(MaxSlow { over: over?, share: share? })
    }

    fn fraction(&mut self, section: &Section<'_>, key: &Key<Fractions>) -> Option<Millionths> {
        let Fractions(from, to) = key.value;
        section.get(key)?.fraction(&(from..=to), self.problems).map(Millionths::new)
    }
}

/// Percents as a share.
fn share(percent: u32) -> Option<Share> {
    Share::new(percent * 100).ok()
}
