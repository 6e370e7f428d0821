//! What people are shown of a canary.

use super::{Judging, PrometheusView, blocks::Did, history::History, prometheus::Source};
use crate::fleet::{refusal::Refusal, state::State};
use handover_judge::{CeilingReport, Judgement, LimitReport, Reading};
use handover_model::{DeploymentId, Duration, ServiceName, Share, Timestamp, Traffic, Version};

/// A canary as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct CanaryView {
    /// The stage that is judged, or was last, from 0.
    pub stage: u32,
    /// What the judge said last; `None` before anything was measured.
    pub judgement: Option<Judgement>,
    /// What the new release's instances must not use or turn away, and how that stands.
    pub ceilings: Vec<CeilingReport>,
    /// How many of its connections may be reset, and how that stands; `None` where there is no such limit.
    pub ends: Option<LimitReport>,
    /// Which of both made the canary fail, in a line.
    pub limit_failure: Option<String>,
    /// Which of both nobody could look at yet, in a line: so long there is no pass. `None` where each was looked at.
    pub limits_without_figure: Option<String>,
    /// Why nothing is known, or not everything; empty where all is.
    pub silent: String,
    /// The last blocks, the newest last.
    pub blocks: Vec<BlockView>,
    /// The new release's part of the new connections, as asked for; on each host of the stage.
    pub asked: Share,
    /// New connections that were seen in this stage: to the new release, and to the old one on the same hosts.
    pub connections: [u64; 2],
    /// When the next block is looked at; `None` where it is over.
    pub next: Option<Timestamp>,
    /// What there is to say of the Prometheus server that has the metrics; `None` where it answers, or has none.
    pub prometheus: Option<PrometheusView>,
}

/// A block, summed over the hosts on which the new release has a share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockView {
    /// When it ended.
    pub at: Timestamp,
    /// Requests to the new release, and the bad ones.
    pub canary: [u64; 2],
    /// The same of the old one.
    pub baseline: [u64; 2],
    /// New connections that were seen, to the new release and to the old one.
    pub connections: [u64; 2],
}

impl BlockView {
    /// Adds what both did on a host.
    pub(super) fn add(&mut self, canary: Option<&Did>, baseline: Option<&Did>) {
        if !canary.is_some_and(|did| did.shown) {
            return;
        }
        let counted = |did: Option<&Did>| match did.map(|did| &did.traffic) {
            Some(Reading::Counted(traffic)) => [traffic.requests, traffic.bad],
            Some(Reading::Absent | Reading::Reset) | None => [0, 0],
        };
        let plus = |a: [u64; 2], b: [u64; 2]| [a[0].saturating_add(b[0]), a[1].saturating_add(b[1])];
        self.canary = plus(self.canary, counted(canary));
        self.baseline = plus(self.baseline, counted(baseline));
        let connections = [canary, baseline].map(|did| did.map_or(0, |did| did.connections));
        self.connections = plus(self.connections, connections);
    }
}

impl State {
    /// The canary of a deployment; `None` where it has none, or was not judged since the server's start.
    #[must_use]
    pub fn canary(&self, id: DeploymentId) -> Option<CanaryView> {
        let Judging { stage, judgement, limits, silent, blocks, connections, .. } = self.judging.get(&id)?;
        let stage = (*stage)?;
        let live = self.live.get(&id).or_else(|| self.finals.get(&id))?;
        let asked = usize::try_from(stage).ok().and_then(|stage| live.engine.plan().stages.get(stage));
        let measured =
            self.live.contains_key(&id).then(|| self.measured.get(live.engine.service())).flatten();
        Some(CanaryView {
            stage,
            judgement: judgement.clone(),
            ceilings: limits.ceilings(),
            ends: limits.ends(),
            limit_failure: limits.failure(),
            limits_without_figure: limits.without_figure(),
            silent: silent.clone(),
            blocks: blocks.iter().copied().collect(),
            asked: asked.map_or(Share::HIDDEN, |stage| stage.share),
            connections: *connections,
            next: measured.map(|measured| measured.next),
            prometheus: measured.and_then(|measured| measured.source.as_ref()).and_then(Source::view),
        })
    }
}

/// The blocks of a service in which no deployment went on.
#[derive(Clone, Debug)]
pub struct HistoryView<'a> {
    /// The release that ran; `None` before a deployment ended well.
    pub version: Option<&'a Version>,
    /// How long a block is.
    pub block: Duration,
    /// The most hosts that counted something in one of them.
    pub hosts: usize,
    /// The newest last; of each block what its groups of hosts did.
    pub blocks: Vec<&'a [Traffic]>,
}

impl State {
    /// What the instances of a service did while no deployment went on, as far as it is remembered.
    ///
    /// # Errors
    /// When there is no such service.
    pub fn history(&self, service: &ServiceName) -> Result<HistoryView<'_>, Refusal> {
        let record = self.services.get(service).ok_or_else(|| Refusal::NoService(service.clone()))?;
        let before = self.measured.get(service).map(|measured| &measured.before);
        Ok(HistoryView {
            version: record.current.as_ref(),
            block: self.judge_config(service).block,
            hosts: before.map_or(0, History::hosts),
            blocks: before.into_iter().flat_map(History::blocks).collect(),
        })
    }
}
