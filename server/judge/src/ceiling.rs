//! Ceilings: what no instance of the canary may use of its host, or turn away, block after block. No statistics, and no traffic needed.
//!
//! A canary fails where an instance of it was above a ceiling on one host in so many blocks in a row. A block without a
//! figure changes nothing: it is neither of them. An instance that was started again begins anew, and so does one that
//! was within the ceiling once.

use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};

use crate::Reading;

/// The most ceilings of one deployment.
pub const MAX_CEILINGS: usize = 3;
/// Of so many hosts at most it is remembered how long they have been above a ceiling: those that have been longest. It
/// bounds the saved state; one host is enough to fail.
const MAX_RUNS: usize = 16;

/// What is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// Memory at the end of a block, bytes.
    Memory,
    /// Processor time over a block, in millionths of one processor.
    Cpu,
    /// Connections that were turned away over a block, in thousandths of one a minute.
    Refused,
}

/// What no instance of the canary may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ceiling {
    /// Its name, for the verdict.
    pub name: String,
    /// What of.
    pub resource: Resource,
    /// The most that is no failure.
    pub most: u64,
    /// In so many blocks in a row it must be more; above 0.
    pub blocks: u32,
}

/// What one instance used in a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uses {
    /// Of memory.
    pub memory: Reading<u64>,
    /// Of processors.
    pub cpu: Reading<u64>,
    /// Connections that it did not accept in time.
    pub refused: Reading<u64>,
}

/// What both releases' instances used on one host in a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostUses {
    /// Which host.
    pub host: String,
    /// The new release.
    pub canary: Uses,
    /// The old one.
    pub baseline: Uses,
}

/// What was used on one host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    /// Which host.
    pub host: String,
    /// By the canary's instance.
    pub canary: u64,
    /// By the baseline's on the same host; `None` where there is none, or nothing is known of it.
    pub baseline: Option<u64>,
}

/// All ceilings of one deployment, with how they stand. Saved and loaded it goes on where it was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ceilings(Vec<State>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    ceiling: Ceiling,
    /// Hosts that are above it, with in how many blocks in a row.
    above: BTreeMap<String, u32>,
    /// The most of the last block that had a figure.
    highest: Option<Used>,
    /// What made the canary fail; it stays.
    breach: Option<Used>,
}

/// One ceiling as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CeilingReport {
    /// The ceiling.
    pub ceiling: Ceiling,
    /// The most that the canary used in the last block with a figure; `None` before there was one.
    pub highest: Option<Used>,
    /// In how many blocks in a row the host that is longest above it has been.
    pub above: u32,
}

impl Ceilings {
    /// Nothing was seen yet. More than [`MAX_CEILINGS`] are cut.
    #[must_use]
    pub fn new(ceilings: impl IntoIterator<Item = Ceiling>) -> Self {
        let begun = |ceiling| State { ceiling, above: BTreeMap::new(), highest: None, breach: None };
        Self(ceilings.into_iter().take(MAX_CEILINGS).map(begun).collect())
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes in a block in which the canary serves. Blocks come in the order of time; a host that is not in one is
    /// forgotten.
    pub fn observe(&mut self, hosts: &[HostUses]) {
        for state in &mut self.0 {
            state.observe(hosts);
        }
    }

    /// Why the canary failed, with the numbers, in a line; `None` where it did not.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.0.iter().find_map(|State { ceiling, breach, .. }| {
            let Ceiling { name, resource, most, blocks } = ceiling;
            let Used { host, canary, baseline } = breach.as_ref()?;
            let figure = |amount| Amount(*resource, amount);
            let baseline = baseline.map_or_else(|| "none there".to_owned(), |used| figure(used).to_string());
            let (canary, most) = (figure(*canary), figure(*most));
            Some(format!(
                "limit {name}: canary {canary} on {host} against baseline {baseline}, more than {most} in {blocks} blocks in a row"
            ))
        })
    }

    /// The names of those that were not looked at yet: no block had a figure for them.
    pub fn without_figure(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|state| state.highest.is_none()).map(|state| state.ceiling.name.as_str())
    }

    /// How each of them stands.
    #[must_use]
    pub fn report(&self) -> Vec<CeilingReport> {
        let report = |state: &State| CeilingReport {
            ceiling: state.ceiling.clone(),
            highest: state.breach.clone().or_else(|| state.highest.clone()),
            above: state.above.values().copied().max().unwrap_or(0),
        };
        self.0.iter().map(report).collect()
    }

    /// Whether the parts fit together; a saved state is checked by it.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let fits = |state: &State| state.ceiling.blocks > 0 && state.above.len() <= MAX_RUNS;
        self.0.len() <= MAX_CEILINGS && self.0.iter().all(fits)
    }
}

impl State {
    fn observe(&mut self, hosts: &[HostUses]) {
        let Ceiling { resource, most, blocks, .. } = self.ceiling;
        let mut before = std::mem::take(&mut self.above);
        let (mut highest, mut breach) = (None, None);
        for HostUses { host, canary, baseline } in hosts {
            let so_far = before.remove(host);
            let run = match canary.of(resource) {
                Reading::Counted(used) => {
                    let baseline = baseline.of(resource).counted().copied();
                    let used = Used { host: host.clone(), canary: *used, baseline };
                    let above = (used.canary > most).then(|| so_far.unwrap_or(0).saturating_add(1));
                    if above.is_some_and(|run| run >= blocks) {
                        breach = higher(breach, used.clone());
                    }
                    highest = higher(highest, used);
                    above
                }
                Reading::Absent => so_far,
                Reading::Reset => None,
            };
            self.above.extend(run.map(|run| (host.clone(), run)));
        }
        if self.above.len() > MAX_RUNS {
            let mut longest: Vec<_> = std::mem::take(&mut self.above).into_iter().collect();
            longest.sort_by(|(a, long), (b, longer)| longer.cmp(long).then(a.cmp(b)));
            self.above = longest.into_iter().take(MAX_RUNS).collect();
        }
        self.highest = highest.or_else(|| self.highest.take());
        self.breach = self.breach.take().or(breach);
    }
}

/// Which of two is more; the first where they are equal.
fn higher(most: Option<Used>, other: Used) -> Option<Used> {
    match most {
        Some(most) if most.canary >= other.canary => Some(most),
        Some(_) | None => Some(other),
    }
}

impl Uses {
    /// Of what nothing is known.
    pub const UNKNOWN: Self =
        Self { memory: Reading::Absent, cpu: Reading::Absent, refused: Reading::Absent };

    const fn of(&self, resource: Resource) -> &Reading<u64> {
        match resource {
            Resource::Memory => &self.memory,
            Resource::Cpu => &self.cpu,
            Resource::Refused => &self.refused,
        }
    }
}

/// So much of a resource, for people: `734.2 MiB`, `151.0 % of a processor`, `12.5 refused a minute`.
#[derive(Clone, Copy, Debug)]
pub struct Amount(pub Resource, pub u64);

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        #[expect(clippy::cast_precision_loss, reason = "a decimal is shown")]
        let number = self.1 as f64;
        match self.0 {
            Resource::Memory => write!(f, "{:.1} MiB", number / f64::from(1 << 20)),
            Resource::Cpu => write!(f, "{:.1} % of a processor", number / 10_000.0),
            Resource::Refused => write!(f, "{:.1} refused a minute", number / 1000.0),
        }
    }
}
