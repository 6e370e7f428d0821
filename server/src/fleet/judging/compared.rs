//! A block as a deployment compares it: the new release beside the one that it came from, host by host.

use super::{
    blocks::{Arms, Did, ServiceBlock},
    settings,
    shown::BlockView,
};
use handover_judge::{Block, Counts, HostBlock, HostUses, Observed, Reading, Uses};
use handover_model::{Ends, config::JudgeConfig};
use handover_rollout::Deployment;
use std::collections::BTreeMap;

/// A block as a deployment compares it.
#[derive(Debug, Default)]
pub(super) struct Compared {
    pub(super) arms: Arms,
    /// What both releases used of each host.
    pub(super) uses: Vec<HostUses>,
    /// How both releases' connections ended on each host, and how many of them were reset.
    pub(super) ends: Vec<HostBlock<Counts>>,
    /// Whether the new release had a share on some host.
    pub(super) shown: bool,
    /// Whether anything was counted.
    pub(super) counted: bool,
    /// Whether there are latencies.
    pub(super) latency: bool,
    /// Why something was not counted, with its host; empty where everything was.
    pub(super) silent: String,
    pub(super) view: BlockView,
}

impl Compared {
    pub(super) fn of(engine: &Deployment, block: &ServiceBlock, config: &JudgeConfig) -> Self {
        let mut compared = Self::default();
        for (host, new, former) in engine.pairs() {
            let canary = block.did(host, new);
            let baseline = former.and_then(|former| block.did(host, former));
            let traffic = |did: Option<&Did>| did.map_or(Reading::Absent, |did| did.traffic.clone());
            compared.arms.push(&traffic(canary), &traffic(baseline));
            compared.shown |= canary.is_some_and(|did| did.shown);
            for did in [canary, baseline].into_iter().flatten() {
                if let Reading::Counted(traffic) = &did.traffic {
                    compared.counted = true;
                    compared.latency |= traffic.latency.is_some();
                }
                if !did.silent.is_empty() && compared.silent.is_empty() {
                    compared.silent = format!("{host}: {}", did.silent);
                }
            }
            if let Some(unknown) = canary.and_then(|did| unknown(did, config))
                && compared.silent.is_empty()
            {
                compared.silent = format!("{host}: {unknown}");
            }
            let ends = |did: Option<&Did>| did.map_or(Reading::Absent, |did| counts(&did.ends));
            compared.ends.push(HostBlock { canary: ends(canary), baseline: ends(baseline) });
            let uses = |did: Option<&Did>| did.map_or(Uses::UNKNOWN, |did| did.uses.clone());
            let host = host.to_string();
            compared.uses.push(HostUses { host, canary: uses(canary), baseline: uses(baseline) });
            compared.view.add(canary, baseline);
        }
        compared
    }
}

/// What a limit needs of the new release's instance and nobody could tell; nothing in its first block, which has no begin.
fn unknown(did: &Did, config: &JudgeConfig) -> Option<&'static str> {
    let Uses { memory, cpu, refused } = &did.uses;
    let absent = |used: &Reading<u64>| matches!(used, Reading::Absent);
    let limits = [
        (
            config.max_resets.is_some() && matches!(did.ends, Reading::Absent),
            "how its connections ended is not known (max_resets)",
        ),
        (
            config.max_refused.is_some() && absent(refused),
            "how many connections it turned away is not known (max_refused)",
        ),
        (config.max_memory.is_some() && absent(memory), "how much memory it has is not known (max_memory)"),
        (config.max_cpu.is_some() && absent(cpu), "how much processor time it takes is not known (max_cpu)"),
    ];
    let unknown = limits.into_iter().find(|(unknown, _)| *unknown && did.shown && !did.first);
    unknown.map(|(_, told)| told)
}

fn counts(ends: &Reading<Ends>) -> Reading<Counts> {
    match ends {
        Reading::Counted(ends) => {
            Counts::new(ends.ended, ends.reset).map_or(Reading::Absent, Reading::Counted)
        }
        Reading::Absent => Reading::Absent,
        Reading::Reset => Reading::Reset,
    }
}

impl Arms {
    /// For the judge.
    pub(crate) fn block(&self) -> Block<'_> {
        BTreeMap::from([
            (settings::ERRORS, Observed::Counts(&self.counts)),
            (settings::LATENCY, Observed::Histograms(&self.latencies)),
            (settings::HISTOGRAM, Observed::Histograms(&self.latencies)),
        ])
    }
}
