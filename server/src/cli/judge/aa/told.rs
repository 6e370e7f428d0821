//! What came out, for people and for programs.

use super::{
    data::Recorded,
    simulation::{End, Step},
    split::Clumps,
};
use crate::cli::{canary::wilson, table::Table, time::span};
use handover_judge::MAX_REQUESTS;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// With fewer blocks a canary's judge would have learnt less than it usually does.
const FEW_BLOCKS: usize = 30;
/// With fewer bad requests their rate is hardly known.
const FEW_BAD: u64 = 10;
/// With fewer requests a canary of a few percent gets hardly any.
const FEW_REQUESTS: u64 = 1_000;

/// How the simulated canaries of one kind ended.
#[derive(Debug)]
pub(super) struct Outcomes {
    clumps: Clumps,
    runs: u64,
    alarms: u64,
    passed: u64,
    no_verdict: u64,
    /// By metric or limit.
    by: BTreeMap<String, u64>,
    /// By step, from 0.
    in_step: BTreeMap<usize, u64>,
    /// How many blocks half of those that passed took; `None` where none did.
    median_blocks: Option<u64>,
}

impl Outcomes {
    pub(super) fn of(clumps: Clumps, ends: &[End]) -> Self {
        let (mut by, mut in_step) = (BTreeMap::new(), BTreeMap::new());
        let (mut alarms, mut no_verdict) = (0, 0);
        let mut passed = Vec::new();
        for end in ends {
            match end {
                End::Alarm { step, by: name } => {
                    alarms += 1;
                    *by.entry(name.clone()).or_default() += 1;
                    *in_step.entry(*step).or_default() += 1;
                }
                End::Passed { blocks } => passed.push(*blocks),
                End::NoVerdict { .. } => no_verdict += 1,
            }
        }
        passed.sort_unstable();
        let median_blocks = passed.get(passed.len() / 2).copied();
        let (runs, passed) = (ends.len() as u64, passed.len() as u64);
        Self { clumps, runs, alarms, passed, no_verdict, by, in_step, median_blocks }
    }

    fn name(&self) -> String {
        match self.clumps {
            Clumps::NONE => "each by itself".to_owned(),
            Clumps { bad, slow: 1 } => format!("bad ones in bursts of {bad}"),
            Clumps { bad: 1, slow } => format!("slow ones in bursts of {slow}"),
            Clumps { bad, slow } => format!("bad ones in bursts of {bad}, slow ones of {slow}"),
        }
    }
}

/// All that is told.
#[derive(Debug)]
pub(super) struct Told<'a> {
    pub(super) recorded: &'a Recorded,
    pub(super) steps: &'a [Step],
    pub(super) runs: u64,
    pub(super) seed: u64,
    /// Of bad requests and of slow ones.
    pub(super) over_dispersion: [f64; 2],
    /// Each request by itself, then in bursts where there are any.
    pub(super) outcomes: Vec<Outcomes>,
}

impl Told<'_> {
    pub(super) fn lines(&self) -> Vec<String> {
        let Recorded { name, manifest, blocks, hosts, .. } = self.recorded;
        let [requests, bad] = self.recorded.counted();
        let hosts = hosts.map(|hosts| format!(", {hosts} hosts")).unwrap_or_default();
        let mut lines = vec![
            format!(
                "{name}: {} blocks of {}{hosts}, {requests} requests, {bad} of them bad ({})",
                blocks.len(),
                self.time(1),
                percent(bad, requests)
            ),
            format!("{} canaries of it against itself, {}, seed {}", self.runs, steps(self.steps), self.seed),
            String::new(),
        ];
        let mut table =
            Table::new(&["requests", "false alarms", "95 % interval", "passed", "median time", "no verdict"]);
        for outcome in &self.outcomes {
            table.row([
                outcome.name(),
                format!("{} ({})", outcome.alarms, percent(outcome.alarms, outcome.runs)),
                interval(outcome.alarms, outcome.runs),
                outcome.passed.to_string(),
                outcome.median_blocks.map(|blocks| self.time(blocks)).unwrap_or_default(),
                outcome.no_verdict.to_string(),
            ]);
        }
        lines.extend(table.lines());
        lines.push(String::new());
        for outcome in self.outcomes.iter().filter(|outcome| outcome.alarms > 0) {
            let by = outcome.by.iter().map(|(name, alarms)| format!("{name} {alarms}"));
            let steps = outcome.in_step.iter().map(|(step, alarms)| format!("step {} {alarms}", step + 1));
            let all: Vec<String> = by.chain(steps).collect();
            lines.push(format!("alarms, {}: {}", outcome.name(), all.join(", ")));
        }
        let alpha = manifest.judge.alpha.fraction() * 100.0;
        lines.push(format!(
            "promised: at most {alpha} % of canaries that are as good as tolerated, where bad requests are independent of each other"
        ));
        lines.extend(self.notes().into_iter().map(|note| format!("note: {note}")));
        lines
    }

    pub(super) fn json(&self) -> Value {
        let [requests, bad] = self.recorded.counted();
        let outcome = |outcome: &Outcomes| {
            let (low, high) = wilson(outcome.alarms, outcome.runs).unwrap_or((0.0, 1.0));
            json!({
                "bad_in_bursts_of": outcome.clumps.bad, "slow_in_bursts_of": outcome.clumps.slow,
                "alarms": outcome.alarms, "low": low, "high": high, "passed": outcome.passed,
                "no_verdict": outcome.no_verdict, "alarms_by": outcome.by,
                "alarms_in_step": self.steps.iter().enumerate()
                    .map(|(step, _)| outcome.in_step.get(&step).copied().unwrap_or(0)).collect::<Vec<_>>(),
                "median_millis_to_pass": outcome.median_blocks.map(|blocks| self.millis(blocks)),
            })
        };
        let step = |step: &Step| json!({"share": step.share, "hosts": step.hosts});
        json!({
            "of": self.recorded.name, "blocks": self.recorded.blocks.len(), "left_out": self.recorded.left_out, "block_millis": self.millis(1),
            "hosts": self.recorded.hosts, "requests": requests, "bad": bad,
            "over_dispersion_bad": self.over_dispersion[0], "over_dispersion_slow": self.over_dispersion[1],
            "alpha": self.recorded.manifest.judge.alpha.fraction(), "runs": self.runs, "seed": self.seed,
            "steps": self.steps.iter().map(step).collect::<Vec<_>>(),
            "splits": self.outcomes.iter().map(outcome).collect::<Vec<_>>(), "notes": self.notes(),
        })
    }

    /// What the figures do not say by themselves.
    fn notes(&self) -> Vec<String> {
        let [requests, bad] = self.recorded.counted();
        let blocks = self.recorded.blocks.len();
        let mut notes = Vec::new();
        notes.extend(left_out(self.recorded.left_out));
        if blocks < FEW_BLOCKS || requests < FEW_REQUESTS {
            notes.push(format!(
                "that is little data: {blocks} blocks and {requests} requests, and from {FEW_BLOCKS} and {FEW_REQUESTS} on it says something"
            ));
        }
        if bad < FEW_BAD {
            notes.push(format!(
                "with {bad} bad requests their rate is hardly known: nothing is said of times in which there are more"
            ));
        }
        let [of_bad, of_slow] = self.over_dispersion;
        if of_bad > 1.0 || of_slow > 1.0 {
            notes.push(format!(
                "its bad requests vary {of_bad:.1} times as much as independent ones would, its slow ones {of_slow:.1} times; where a \
                 burst is one client's, it goes to one release: `cap` in [judge] bounds what it counts"
            ));
        }
        if self.steps.is_empty() {
            notes.push(
                "no step leaves the old release a part: nothing is compared, and every canary passes"
                    .to_owned(),
            );
        }
        notes.push(
            "the interval is of these canaries alone: other times have other traffic; limits on memory and processor time are not tried"
                .to_owned(),
        );
        notes
    }

    fn millis(&self, blocks: u64) -> u64 {
        let block = u64::try_from(self.recorded.block.as_millis()).unwrap_or(u64::MAX);
        blocks.saturating_mul(block)
    }

    fn time(&self, blocks: u64) -> String {
        span(self.millis(blocks))
    }
}

/// What is said of blocks that are left out.
pub(super) fn left_out(blocks: usize) -> Option<String> {
    let told = match blocks {
        0 => return None,
        1 => "1 block is left out: it counts".to_owned(),
        _ => format!("{blocks} blocks are left out: each counts"),
    };
    Some(format!("{told} more than {MAX_REQUESTS} requests, which no service does in one"))
}

fn steps(steps: &[Step]) -> String {
    let step = |step: &Step| {
        let share = format!("{} %", step.share * 100.0);
        if step.hosts < 1.0 { format!("{share} of some hosts") } else { share }
    };
    format!("in steps of {}", steps.iter().map(step).collect::<Vec<_>>().join(", "))
}

fn percent(part: u64, whole: u64) -> String {
    crate::cli::canary::percent(part, whole).unwrap_or_else(|| "none".to_owned())
}

fn interval(part: u64, whole: u64) -> String {
    let (low, high) = wilson(part, whole).unwrap_or((0.0, 1.0));
    format!("{:.2} - {:.2} %", low * 100.0, high * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_that_are_left_out_are_told_and_none_is_not() {
        assert_eq!(left_out(0), None);
        let told = left_out(1).unwrap();
        assert_eq!(
            told,
            "1 block is left out: it counts more than 1000000000000 requests, which no service does in one"
        );
        assert!(left_out(3).unwrap().starts_with("3 blocks are left out: each counts more than "));
    }
}
