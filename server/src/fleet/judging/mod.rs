//! Judging: what hosts measure becomes blocks, blocks go to the judge of a deployment, and what it says to the engine.
//!
//! Blocks are closed for every service that is measured, so that the old release's rates are known before a canary
//! begins. Of all this only a judge's state is durable: written after each block, so that a restart begins no sum anew.

mod blocks;
mod compared;
mod history;
mod limits;
mod prometheus;
mod settings;
mod shown;
mod uses;

pub(crate) use blocks::Arms;
pub(crate) use history::{LEARNT, halves};
pub use prometheus::{Asked, PrometheusView};
pub(crate) use settings::config as judge_settings;
pub use shown::{BlockView, CanaryView, HistoryView};

use super::{
    deployments::Live, effects::Effects, records::deployment_key, refusal::Refusal, releases, state::State,
};
use crate::store::Keyspace;
use blocks::{LastEnds, ServiceBlock};
use compared::Compared;
use handover_judge::{Judge, Judgement, Reading, Verdict as Finding};
use handover_model::{
    DeploymentId, HostName, ReleaseRef, ServiceName, Timestamp, Traffic,
    config::{JudgeConfig, Manifest},
};
use handover_prometheus::Answer;
use handover_rollout::{DeploymentState, Event, Verdict};
use history::History;
use limits::{Limits, LimitsRecord};
use prometheus::Source;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A service that was not measured for so many blocks is forgotten.
const IDLE: u32 = 30;
/// So many blocks are shown.
const SHOWN: usize = 60;

/// A service whose instances are measured.
#[derive(Debug)]
pub(super) struct Measured {
    /// When its block is closed.
    next: Timestamp,
    ends: LastEnds,
    /// The last blocks in which no deployment went on.
    before: History,
    /// Blocks since something was measured.
    idle: u32,
    /// Where a Prometheus server has its metrics.
    source: Option<Source>,
}

/// The judge of a deployment, and what is shown of it.
#[derive(Debug, Default)]
pub(super) struct Judging {
    /// `None` before anything was measured.
    judge: Option<Judge>,
    /// The limits on what the kernel says of the new release; none before the first block.
    limits: Limits,
    /// The stage that it judges or judged last.
    stage: Option<u32>,
    /// What it said last.
    judgement: Option<Judgement>,
    /// Why nothing is known; empty where something is.
    silent: String,
    /// The last blocks.
    blocks: VecDeque<BlockView>,
    /// New connections that were seen in this stage: to the new release, and to the old one on the same hosts.
    connections: [u64; 2],
}

/// A judge as it is remembered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct JudgingRecord {
    stage: u32,
    judge: Option<handover_judge::State>,
    #[serde(flatten)]
    limits: LimitsRecord,
}

impl JudgingRecord {
    /// Whether a judge can be made of it.
    pub(super) fn check(self) -> Result<(), handover_judge::StateError> {
        Judging::try_from(self).map(drop)
    }
}

impl TryFrom<JudgingRecord> for Judging {
    type Error = handover_judge::StateError;

    fn try_from(record: JudgingRecord) -> Result<Self, Self::Error> {
        let JudgingRecord { stage, judge, limits } = record;
        let judge = judge.map(Judge::try_from).transpose()?;
        Ok(Self {
            judgement: judge.as_ref().map(Judge::judgement),
            judge,
            limits: limits.try_into()?,
            stage: Some(stage),
            ..Self::default()
        })
    }
}

impl State {
    /// A service is measured: its blocks are closed from now on.
    pub(super) fn is_measured(&mut self, service: &ServiceName, now: Timestamp) {
        if !self.measured.contains_key(service) {
            let (judge, asked) = self.judged_by(service);
            let measured = Measured {
                next: now + judge.block,
                ends: LastEnds::default(),
                before: History::default(),
                idle: 0,
                source: asked.map(Source::new),
            };
            self.measured.insert(service.clone(), measured);
        }
    }

    /// What a Prometheus server is to be asked for, by service: of those that are measured, whether a canary goes on or
    /// not, as their rates of before are learnt.
    #[must_use]
    pub fn asked_of_prometheus(&self) -> BTreeMap<ServiceName, Asked> {
        let source = |(name, measured): (&ServiceName, &Measured)| {
            Some((name.clone(), measured.source.as_ref()?.asked.clone()))
        };
        self.measured.iter().filter_map(source).collect()
    }

    /// A Prometheus server was asked for a service: its answer, or why there is none. One to another question than the
    /// present one says nothing.
    pub fn prometheus_said(
        &mut self,
        service: &ServiceName,
        asked: &Asked,
        said: Result<Answer, String>,
        now: Timestamp,
    ) {
        let source = self.measured.get_mut(service).and_then(|measured| measured.source.as_mut());
        if let Some(source) = source.filter(|source| source.asked == *asked) {
            source.said(said, now);
        }
    }

    /// When the next block is closed.
    pub(super) fn next_block(&self) -> Option<Timestamp> {
        self.measured.values().map(|measured| measured.next).min()
    }

    /// Closes the blocks whose time is over, and has them judged.
    pub(super) fn close_blocks(&mut self, now: Timestamp, effects: &mut Effects) -> Result<(), Refusal> {
        let due = self.measured.iter().filter(|(_, measured)| measured.next <= now);
        for service in due.map(|(service, _)| service.clone()).collect::<Vec<_>>() {
            self.close_block(&service, now, effects)?;
        }
        Ok(())
    }

    fn close_block(
        &mut self,
        service: &ServiceName,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let (judge, asked) = self.judged_by(service);
        let judged = self.live_of(service).map(|(id, live)| (id, is_judged(live)));
        let held = self.fill_in(service, asked);
        let Some(measured) = self.measured.get_mut(service) else { return Ok(()) };
        let by_host = self.hosts.iter().filter_map(|(name, host)| {
            let (at, measurement) = host.measured.get(service)?;
            // As if it had measured nothing since the last one.
            let at = if held.contains(name) { Timestamp::default() } else { *at };
            Some((name, at, measurement))
        });
        let block = measured.ends.close(by_host);
        measured.next = now + judge.block;
        measured.idle = if block.is_empty() { measured.idle + 1 } else { 0 };
        if measured.idle > IDLE {
            self.measured.remove(service);
            return Ok(());
        }
        match judged {
            Some((id, true)) => self.judge_block(id, &block, now, effects),
            Some((_, false)) => Ok(()),
            None => {
                measured.before.remember(&block);
                Ok(())
            }
        }
    }

    /// Writes into the hosts' measurements what a Prometheus server knows of the service, where that has its metrics.
    /// Returns the hosts that have no part in this block.
    fn fill_in(&mut self, service: &ServiceName, asked: Option<Asked>) -> BTreeSet<HostName> {
        let Some(measured) = self.measured.get_mut(service) else { return BTreeSet::new() };
        if measured.source.as_ref().map(|source| &source.asked) != asked.as_ref() {
            measured.source = asked.map(Source::new);
            // What is counted elsewhere, or otherwise, has no difference to what was counted before.
            measured.ends = LastEnds::default();
        }
        let Some(source) = &mut measured.source else { return BTreeSet::new() };
        let held = source.fill_in(service, &mut self.hosts);
        let rehearsed = self.live_of(service).filter(|(id, _)| self.rehearsals.contains_key(id));
        let rehearsed: Vec<HostName> = rehearsed
            .into_iter()
            .flat_map(|(_, live)| live.engine.pairs().map(|(host, ..)| host.clone()))
            .collect();
        for host in rehearsed {
            self.count_rehearsal(&host, service);
        }
        held
    }

    /// Has the judge of a deployment look at a block, and tells the engine what it says.
    fn judge_block(
        &mut self,
        id: DeploymentId,
        block: &ServiceBlock,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let Some(live) = self.live.get(&id) else { return Ok(()) };
        let (engine, stage) = (&live.engine, live.engine.stage());
        let config = self.judge_config(engine.service());
        let before = self.measured.get(engine.service()).map(|measured| &measured.before);
        let judging = self.judging.entry(id).or_default();
        let mut compared = Compared::of(engine, block, &config);
        let source = self.measured.get(engine.service()).and_then(|measured| measured.source.as_ref());
        if let Some(problem) = source.and_then(Source::problem) {
            compared.silent = problem;
        }
        // A block in which nobody measured says nothing of why, either: a host is late now and then.
        if !(compared.silent.is_empty() && block.is_empty()) {
            judging.silent.clone_from(&compared.silent);
        }
        if judging.judge.is_none() && (compared.counted || before.is_some_and(|before| !before.is_empty())) {
            let before = before.map(|before| before.learnt().collect()).unwrap_or_default();
            judging.judge = begin(&config, engine.plan(), &compared, before);
        }
        if judging.stage.is_none() {
            judging.limits = Limits::of(&config);
        }
        if judging.stage != Some(stage) {
            judging.stage = Some(stage);
            judging.connections = [0, 0];
            if let Some(judge) = &mut judging.judge {
                judge.begin_step();
            }
        }
        let verdict = judging.look(&compared, now);
        if judging.judge.is_some() || !judging.limits.is_empty() {
            let judge = judging.judge.as_ref().map(handover_judge::State::from);
            let record = JudgingRecord { stage, judge, limits: (&judging.limits).into() };
            effects.put(Keyspace::Judges, deployment_key(id), &record)?;
        }
        self.drive(id, Event::Judged { stage, verdict }, now, effects)
    }

    /// A deployment ended: its judge is not needed any more. What it said last is still shown.
    pub(super) fn end_judging(&mut self, id: DeploymentId, effects: &mut Effects) {
        if let Some(judging) = self.judging.get_mut(&id)
            && (judging.judge.take().is_some() || !judging.limits.is_empty())
        {
            effects.delete(Keyspace::Judges, deployment_key(id));
        }
    }

    /// How the service is judged: as the release says that is being deployed, or else the current one.
    fn judge_config(&self, service: &ServiceName) -> JudgeConfig {
        self.judged_by(service).0
    }

    /// How the service is judged, and what a Prometheus server is asked for where that has its metrics.
    fn judged_by(&self, service: &ServiceName) -> (JudgeConfig, Option<Asked>) {
        let deployed = self.live_of(service).map(|(_, live)| live.engine.release().clone());
        let current = || {
            let version = self.services.get(service)?.current.clone()?;
            Some(ReleaseRef { service: service.clone(), version })
        };
        let stored = deployed.or_else(current).and_then(|name| self.releases.get(&name));
        let manifest: Option<Manifest> =
            stored.and_then(|stored| releases::parse(&stored.release.manifest).ok());
        let Some(manifest) = manifest else { return (JudgeConfig::default(), None) };
        (manifest.judge, manifest.metrics.as_ref().and_then(Asked::of))
    }
}

/// Whether a deployment is in a stage that is judged.
fn is_judged(live: &Live) -> bool {
    let stage = usize::try_from(live.engine.stage()).ok();
    let judged = stage.and_then(|stage| live.engine.plan().stages.get(stage)?.judged);
    judged.is_some()
        && match live.engine.state() {
            DeploymentState::Running { .. } | DeploymentState::Paused { .. } => true,
            DeploymentState::Planning
            | DeploymentState::RollingBack { .. }
            | DeploymentState::Ended { .. } => false,
        }
}

/// A judge that has seen the blocks before the canary.
fn begin(
    config: &JudgeConfig,
    plan: &handover_rollout::Plan,
    compared: &Compared,
    before: Vec<[Option<Traffic>; 2]>,
) -> Option<Judge> {
    let has_latency = |traffic: &Traffic| traffic.latency.is_some();
    let latency = compared.latency || before.iter().any(|halves| halves.iter().flatten().any(has_latency));
    let mut judge = match Judge::new(settings::config(config, settings::comparison(plan), latency)) {
        Ok(judge) => judge,
        Err(error) => {
            tracing::error!(%error, "no judge can be made of the manifest's settings");
            return None;
        }
    };
    for halves in before {
        let mut arms = Arms::default();
        for half in halves {
            arms.push(&Reading::Absent, &half.map_or(Reading::Absent, Reading::Counted));
        }
        judge.watch(&arms.block());
    }
    Some(judge)
}

impl Judging {
    /// Has the judge look at a block.
    fn look(&mut self, compared: &Compared, now: Timestamp) -> Verdict {
        if compared.shown {
            self.limits.observe(compared);
        }
        let judged = self.look_at_requests(compared, now);
        if let Some(failure) = self.limits.failure() {
            return Verdict::Fail(failure);
        }
        match (judged, self.limits.without_figure()) {
            // A limit that nobody has looked at is kept by nobody.
            (Verdict::Pass(line), Some(missing)) => {
                Verdict::NeedsMoreData(self.why(&format!("{line}; {missing}")))
            }
            (Verdict::Pass(line), None) => Verdict::Pass(self.why(&line)),
            (judged, _) => judged,
        }
    }

    fn look_at_requests(&mut self, compared: &Compared, now: Timestamp) -> Verdict {
        let Some(judge) = &mut self.judge else {
            return Verdict::NeedsMoreData(self.why("nothing is measured"));
        };
        if compared.shown {
            judge.observe(&compared.arms.block());
            self.connections = [0, 1].map(|arm| self.connections[arm] + compared.view.connections[arm]);
            self.blocks.push_back(BlockView { at: now, ..compared.view });
            if self.blocks.len() > SHOWN {
                self.blocks.pop_front();
            }
        } else {
            judge.watch(&compared.arms.block());
        }
        let judgement = judge.judgement();
        let finding = judgement.verdict.clone();
        let errors = judgement.metrics.first().map(ToString::to_string).unwrap_or_default();
        self.judgement = Some(judgement);
        match finding {
            Finding::Pass => Verdict::Pass(errors),
            Finding::Fail(failure) => Verdict::Fail(failure.line),
            Finding::NeedsMore(outlook) => Verdict::NeedsMoreData(self.why(&outlook.to_string())),
            Finding::Inconclusive(why) => Verdict::NeedsMoreData(self.why(&why.to_string())),
        }
    }

    fn why(&self, said: &str) -> String {
        match self.silent.as_str() {
            "" => said.to_owned(),
            silent => format!("{said}; {silent}"),
        }
    }
}
