//! The limits on what the kernel says of the new release: what its instances use of their hosts and turn away, and how its
//! connections end. They hold whether or not the service tells any metrics of its own.

use super::{compared::Compared, settings};
use handover_judge::{
    Block, CeilingReport, Ceilings, Judge, LimitReport, Observed, Reading, State, StateError,
};
use handover_model::config::JudgeConfig;
use serde::{Deserialize, Serialize};

/// All of them, with how they stand.
#[derive(Debug, Default)]
pub(super) struct Limits {
    /// What its instances must not use of a host, or turn away.
    ceilings: Ceilings,
    /// How many of its connections may be reset: a judge that compares nothing. `None` where there is no such limit.
    ends: Option<Judge>,
    /// Whether it was known in one block how they ended.
    ends_known: bool,
}

/// The same as they are remembered.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct LimitsRecord {
    #[serde(default)]
    ceilings: Ceilings,
    #[serde(default)]
    ends: Option<State>,
    #[serde(default)]
    ends_known: bool,
}

impl Limits {
    /// Nothing was seen yet.
    pub(super) fn of(config: &JudgeConfig) -> Self {
        let judge = |settings| {
            Judge::new(settings)
                .inspect_err(
                    |error| tracing::error!(%error, "no limit can be made of the manifest's max_resets"),
                )
                .ok()
        };
        Self {
            ceilings: Ceilings::new(settings::ceilings(config)),
            ends: settings::ends(config).and_then(judge),
            ends_known: false,
        }
    }

    /// Whether there is none.
    pub(super) const fn is_empty(&self) -> bool {
        self.ceilings.is_empty() && self.ends.is_none()
    }

    /// Takes in a block in which the new release serves.
    pub(super) fn observe(&mut self, compared: &Compared) {
        self.ceilings.observe(&compared.uses);
        self.ends_known |= compared.ends.iter().any(|host| matches!(host.canary, Reading::Counted(_)));
        if let Some(judge) = &mut self.ends {
            judge.observe(&Block::from([(settings::ENDS, Observed::Counts(&compared.ends))]));
        }
    }

    /// Why the new release failed, with the numbers, in a line; `None` where it did not.
    pub(super) fn failure(&self) -> Option<String> {
        let of_ends = || Some(self.ends.as_ref()?.failure()?.line.clone());
        self.ceilings.failure().or_else(of_ends)
    }

    /// Those that no block had a figure for yet, in a line; `None` where each was looked at.
    pub(super) fn without_figure(&self) -> Option<String> {
        let ends = (self.ends.is_some() && !self.ends_known).then_some(settings::MAX_RESETS);
        let names: Vec<&str> = ends.into_iter().chain(self.ceilings.without_figure()).collect();
        (!names.is_empty()).then(|| format!("no figure for {} yet", names.join(", ")))
    }

    /// How those on what is used stand.
    pub(super) fn ceilings(&self) -> Vec<CeilingReport> {
        self.ceilings.report()
    }

    /// How that on the ends of connections stands.
    pub(super) fn ends(&self) -> Option<LimitReport> {
        self.ends.as_ref()?.judgement().limits.pop()
    }
}

impl From<&Limits> for LimitsRecord {
    fn from(limits: &Limits) -> Self {
        let Limits { ceilings, ends, ends_known } = limits;
        Self { ceilings: ceilings.clone(), ends: ends.as_ref().map(State::from), ends_known: *ends_known }
    }
}

impl TryFrom<LimitsRecord> for Limits {
    type Error = StateError;

    fn try_from(record: LimitsRecord) -> Result<Self, StateError> {
        let LimitsRecord { ceilings, ends, ends_known } = record;
        if !ceilings.is_whole() {
            return Err(StateError::Parts);
        }
        Ok(Self { ceilings, ends: ends.map(Judge::try_from).transpose()?, ends_known })
    }
}
