//! The blocks in which no deployment went on: what a judge learns from before a canary, and what is compared with itself to see
//! how often it is wrong.

use super::blocks::{ServiceBlock, plus};
use handover_model::Traffic;
use std::collections::VecDeque;

/// So many blocks are remembered.
const REMEMBERED: usize = 120;
/// From so many of them the judge of a canary learns.
pub(crate) const LEARNT: usize = 30;
/// What more hosts did than these is counted together. Even, so that the halves of the hosts stay those of the groups.
const GROUPS: usize = 8;

/// The last blocks of a service, the newest last.
#[derive(Debug, Default)]
pub(super) struct History {
    blocks: VecDeque<Vec<Traffic>>,
    /// Hosts that counted something in the last one.
    hosts: usize,
}

impl History {
    /// Remembers a block, and forgets the oldest. One in which nothing was counted is none.
    pub(super) fn remember(&mut self, block: &ServiceBlock) {
        let mut groups: Vec<Traffic> = Vec::new();
        let mut hosts = 0;
        for (place, traffic) in block.by_host().enumerate() {
            hosts = place + 1;
            match groups.get_mut(place % GROUPS) {
                Some(group) => *group = plus(group, &traffic),
                None => groups.push(traffic),
            }
        }
        if groups.is_empty() {
            return;
        }
        self.hosts = hosts;
        self.blocks.push_back(groups);
        if self.blocks.len() > REMEMBERED {
            self.blocks.pop_front();
        }
    }

    /// What the judge of a canary learns from: of each block both halves of the hosts.
    pub(super) fn learnt(&self) -> impl Iterator<Item = [Option<Traffic>; 2]> {
        self.blocks.iter().skip(self.blocks.len().saturating_sub(LEARNT)).map(|groups| halves(groups))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    pub(super) const fn hosts(&self) -> usize {
        self.hosts
    }

    pub(super) const fn blocks(&self) -> &VecDeque<Vec<Traffic>> {
        &self.blocks
    }
}

/// What both halves of the groups did.
pub(crate) fn halves(groups: &[Traffic]) -> [Option<Traffic>; 2] {
    let mut halves = [None::<Traffic>, None];
    for (place, traffic) in groups.iter().enumerate() {
        let half = &mut halves[place % 2];
        *half = Some(half.as_ref().map_or_else(|| traffic.clone(), |sum| plus(sum, traffic)));
    }
    halves
}
