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
    blocks: VecDeque<Past>,
}

/// What was done in one block.
#[derive(Debug)]
struct Past {
    /// Hosts that counted something in it.
    hosts: usize,
    groups: Vec<Traffic>,
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
        self.blocks.push_back(Past { hosts, groups });
        if self.blocks.len() > REMEMBERED {
            self.blocks.pop_front();
        }
    }

    /// What the judge of a canary learns from: of each block both halves of the hosts.
    pub(super) fn learnt(&self) -> impl Iterator<Item = [Option<Traffic>; 2]> {
        self.blocks.iter().skip(self.blocks.len().saturating_sub(LEARNT)).map(|block| halves(&block.groups))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// The most hosts that counted something in one block: one is measured late now and then, and has nothing in the newest.
    pub(super) fn hosts(&self) -> usize {
        self.blocks.iter().map(|block| block.hosts).max().unwrap_or(0)
    }

    pub(super) fn blocks(&self) -> impl Iterator<Item = &[Traffic]> {
        self.blocks.iter().map(|block| block.groups.as_slice())
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

#[cfg(test)]
mod tests {
    use super::{super::blocks::LastEnds, *};
    use handover_model::{HostName, Measurement, Sample, Share, Timestamp, Usage};

    /// What an instance had counted at a moment on its host.
    fn measured(at: u64, requests: u64) -> (Timestamp, Measurement) {
        let traffic = Ok(Traffic { requests, bad: 0, latency: None });
        let sample = Sample { run: 0, share: Share::ALL, traffic, usage: Usage::default() };
        let instances = [("shop-1".parse().unwrap(), sample)].into();
        (Timestamp::from_unix_millis(at), Measurement { service: "shop".parse().unwrap(), instances })
    }

    #[test]
    fn a_host_that_is_measured_late_is_still_one_of_the_hosts() {
        let hosts: [HostName; 2] = ["a".parse().unwrap(), "b".parse().unwrap()];
        let (mut ends, mut history) = (LastEnds::default(), History::default());
        for moments in [[1, 1], [2, 2], [3, 2]] {
            let measured = moments.map(|moment| measured(moment, moment * 10));
            let seen = hosts.iter().zip(&measured).map(|(host, (at, of))| (host, *at, of));
            history.remember(&ends.close(seen));
        }
        let groups: Vec<usize> = history.blocks().map(<[Traffic]>::len).collect();
        assert_eq!((groups, history.hosts()), (vec![2, 1], 2));
    }
}
