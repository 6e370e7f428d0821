//! Counting what instances turn away: what the kernel dropped at their listening sockets, as they did not accept it in time.
//!
//! What is counted at such a socket while its instance is hidden are strangers whom the gate keeps away from it (see
//! `handover_gate::wall`): so only what came between two readings with a share counts. An instance's sockets are found by their
//! inodes; the sockets outlast its processes, and each start begins anew.

use super::subject::{Roster, Subject};
use handover_gate::sock_diag;
use handover_model::{InstanceId, Refused};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

/// What was turned away so far, of every instance that is read.
#[derive(Debug, Default)]
pub(super) struct TurnedAway(BTreeMap<InstanceId, Counted>);

#[derive(Debug)]
struct Counted {
    /// Of which start.
    life: u64,
    since_micros: u64,
    count: u64,
    /// Whether it had a share at the reading before.
    shown: bool,
    /// What each socket had dropped then, by its inode.
    drops: BTreeMap<u64, u32>,
}

/// What each listening socket of an instance has dropped, by its inode. Blocks.
pub(super) fn read(subject: &Subject) -> io::Result<BTreeMap<u64, u32>> {
    let own = subject.group.sockets()?;
    let mut drops = BTreeMap::new();
    for listener in subject.listeners.iter().collect::<BTreeSet<_>>() {
        drops.extend(sock_diag::drops(*listener)?.into_iter().filter(|(inode, _)| own.contains(inode)));
    }
    if drops.is_empty() {
        return Err(io::Error::other("none of its processes has a listening socket open"));
    }
    Ok(drops)
}

impl TurnedAway {
    /// Takes in a reading; tells what was turned away since the first one of this start.
    pub(super) fn note(&mut self, subject: &Subject, drops: BTreeMap<u64, u32>, now_micros: u64) -> Refused {
        let shown = !subject.share.is_hidden();
        let begun = || Counted {
            life: subject.life,
            since_micros: now_micros,
            count: 0,
            shown: false,
            drops: BTreeMap::new(),
        };
        let counted = self.0.entry(subject.instance.clone()).or_insert_with(begun);
        if counted.life != subject.life {
            *counted = begun();
        }
        if shown && counted.shown {
            let more = drops.iter().filter_map(|(inode, now)| {
                // The kernel's number has 32 bits and wraps around.
                Some(u64::from(now.wrapping_sub(*counted.drops.get(inode)?)))
            });
            counted.count += more.sum::<u64>();
        }
        (counted.shown, counted.drops) = (shown, drops);
        Refused { since_micros: counted.since_micros, clock_micros: now_micros, count: counted.count }
    }

    /// Forgets who is not in the roster.
    pub(super) fn keep(&mut self, roster: &Roster) {
        let named: BTreeSet<&InstanceId> =
            roster.values().flatten().map(|subject| &subject.instance).collect();
        self.0.retain(|instance, _| named.contains(instance));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measuring::subject::tests::subject;
    use handover_model::Share;

    fn shown(life: u64) -> Subject {
        Subject { share: Share::ALL, ..subject(life) }
    }

    #[test]
    fn what_all_sockets_dropped_while_it_had_a_share_is_counted_up() {
        let mut away = TurnedAway::default();
        let mut note = |subject: &Subject, drops: &[(u64, u32)], now| {
            away.note(subject, drops.iter().copied().collect(), now).count
        };
        assert_eq!(note(&shown(1), &[(1, 100), (2, u32::MAX)], 1), 0, "of before the first reading");
        assert_eq!(note(&shown(1), &[(1, 103), (2, 1)], 2), 5, "a number wraps around");
        assert_eq!(note(&shown(1), &[(1, 104), (3, 70)], 3), 6, "another socket begins with what it has");
        assert_eq!(
            note(&subject(1), &[(1, 109)], 4),
            6,
            "the last packets before it was hidden are left out"
        );
        assert_eq!(note(&subject(1), &[(1, 500)], 5), 6, "strangers whom the wall keeps away");
        assert_eq!(note(&shown(1), &[(1, 900)], 6), 6);
        assert_eq!(note(&shown(1), &[(1, 901)], 7), 7);
    }

    #[test]
    fn another_start_begins_anew_on_the_same_socket() {
        let mut away = TurnedAway::default();
        away.note(&shown(1), [(1, 0)].into(), 10);
        let before = away.note(&shown(1), [(1, 7)].into(), 20);
        assert_eq!(before, Refused { since_micros: 10, clock_micros: 20, count: 7 });
        let after = away.note(&shown(2), [(1, 8)].into(), 30);
        assert_eq!(after, Refused { since_micros: 30, clock_micros: 30, count: 0 });
        away.keep(&Roster::new());
        assert_eq!(away.note(&shown(2), [(1, 9)].into(), 40).since_micros, 40);
    }
}
