//! Counting connections by looking again and again: each that was not there at the look before is one more.
//!
//! The kernel counts connections of a listener, but not by the socket of a group that got them; so they are found by the
//! inodes of the instance's sockets, as for draining, and told apart by the kernel's own name for them (the cookie). One
//! that came and went between two looks is missing, and so is one that waits to be accepted at each of them: the count is
//! a lower bound, and good for comparing shares of connections that last longer than a second. Those from pins, which are
//! the agent's own, are left out.
//!
//! How they end the kernel tells by their cookies ([`super::hearing`]): so of those that were seen it is known, and of others
//! nothing. Where some of it was lost, or a look failed, the counting begins anew, and of an instance that nobody has looked at
//! lately nothing is told: what is not known is not told as nothing.

use super::{
    hearing::{Ear, Told},
    subject::{self, Roster, Subject},
};
use crate::clock;
use handover_gate::{is_from_pin, sock_diag};
use handover_model::{Ends, InstanceId};
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    error::Error,
    io,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// So long after a look what it saw counts, though the next one should have come; looks are a second apart.
const SIGHT: Duration = Duration::from_secs(5);
/// So many connections of an instance at most may be gone from sight without a word of how they ended, as where their program
/// keeps them open after a reset.
const MAX_UNTOLD: usize = 1 << 16;

/// What was seen so far of every instance that is looked at.
#[derive(Debug, Default)]
pub(super) struct Connections(BTreeMap<InstanceId, Seen>);

/// What was seen of one instance.
#[derive(Debug)]
struct Seen {
    /// Of which start.
    life: u64,
    count: u64,
    /// When the last look was, by the host's running clock.
    looked_micros: u64,
    /// Those of the last look, by the kernel's name for each.
    open: HashSet<u64>,
    /// How they end, where somebody wants to know.
    ends: Option<Ending>,
}

/// How connections end, counted up.
#[derive(Debug)]
struct Ending {
    ends: Ends,
    /// Those that were seen and of which no end was told yet, by the kernel's name for each.
    going_on: HashSet<u64>,
}

impl Ending {
    fn begin(open: &HashSet<u64>, now_micros: u64) -> Self {
        Self { ends: Ends { since_micros: now_micros, ended: 0, reset: 0 }, going_on: open.clone() }
    }
}

impl Connections {
    /// How many were seen of this start of an instance; `None` where nobody looked.
    pub(super) fn of(&self, instance: &InstanceId, life: u64) -> Option<u64> {
        self.0.get(instance).filter(|seen| seen.life == life).map(|seen| seen.count)
    }

    /// How those ended that were seen of this start of an instance; `None` where nobody listens, or nobody has looked lately.
    pub(super) fn ends(&self, instance: &InstanceId, life: u64, now_micros: u64) -> Option<Ends> {
        let seen = self.0.get(instance).filter(|seen| seen.life == life)?;
        let in_sight = u128::from(now_micros.saturating_sub(seen.looked_micros)) <= SIGHT.as_micros();
        seen.ends.as_ref().filter(|_| in_sight).map(|ending| ending.ends)
    }

    /// A look at an instance failed: connections may have come and gone unseen.
    fn lose_sight(&mut self, instance: &InstanceId) {
        if let Some(seen) = self.0.get_mut(instance) {
            seen.ends = None;
        }
    }

    /// Notes a look at all instances of a service. `listening` since before it: whether ends are heard of.
    fn take_in(
        &mut self,
        subjects: &[Subject],
        found: io::Result<Vec<HashSet<u64>>>,
        listening: bool,
        now_micros: u64,
    ) {
        match found {
            Ok(open) => {
                let listening = listening && subject::limited(subjects).resets;
                for (subject, open) in subjects.iter().zip(open) {
                    self.note(subject, open, listening, now_micros);
                }
            }
            Err(error) => {
                let error = &error as &dyn Error;
                for Subject { instance, .. } in subjects {
                    tracing::debug!(%instance, error, "its connections cannot be seen");
                    self.lose_sight(instance);
                }
            }
        }
    }

    /// Notes a look at an instance. `listening` since before it: whether ends are counted.
    fn note(&mut self, subject: &Subject, open: HashSet<u64>, listening: bool, now_micros: u64) {
        let nothing = || Seen {
            life: subject.life,
            count: 0,
            looked_micros: now_micros,
            open: HashSet::new(),
            ends: None,
        };
        let seen = self.0.entry(subject.instance.clone()).or_insert_with(nothing);
        if seen.life != subject.life {
            *seen = nothing();
        }
        seen.count += open.difference(&seen.open).count() as u64;
        (seen.open, seen.looked_micros) = (open, now_micros);
        if !listening {
            seen.ends = None;
            return;
        }
        let ending = seen.ends.get_or_insert_with(|| Ending::begin(&seen.open, now_micros));
        ending.going_on.extend(&seen.open);
        if ending.going_on.len() > seen.open.len() + MAX_UNTOLD {
            *ending = Ending::begin(&seen.open, now_micros);
        }
    }

    /// Notes what was told since the look before, after this one was noted: whatever ended since it was seen is known then.
    fn hear(&mut self, told: &Told, now_micros: u64) {
        let counted =
            self.0.values_mut().filter_map(|seen| seen.ends.as_mut().map(|ending| (&seen.open, ending)));
        let mut counted: Vec<_> = counted.collect();
        if told.lost {
            for (open, ending) in counted {
                *ending = Ending::begin(open, now_micros);
            }
            return;
        }
        for end in &told.ended {
            let of = counted
                .iter_mut()
                .find_map(|(_, ending)| ending.going_on.remove(&end.cookie).then_some(ending));
            if let Some(ending) = of {
                ending.ends.ended += 1;
                ending.ends.reset += u64::from(end.reset);
            }
        }
    }
}

/// Looks at all instances of the roster, and takes what was heard of their ends; forgets the others. Blocks.
pub(super) fn look(connections: &Mutex<Connections>, roster: &Roster, ear: Option<&Ear>) {
    let found: Vec<_> = roster.values().map(|subjects| (subjects, of_service(subjects))).collect();
    let named: BTreeSet<&InstanceId> = roster.values().flatten().map(|subject| &subject.instance).collect();
    let mut connections = connections.lock().unwrap_or_else(PoisonError::into_inner);
    connections.0.retain(|instance, _| named.contains(instance));
    let now_micros = clock::running_micros();
    for (subjects, found) in found {
        connections.take_in(subjects, found, ear.is_some(), now_micros);
    }
    if let Some(ear) = ear {
        connections.hear(&ear.take(), now_micros);
    }
}

/// The open connections of each instance.
fn of_service(subjects: &[Subject]) -> io::Result<Vec<HashSet<u64>>> {
    let listeners: BTreeSet<SocketAddr> =
        subjects.iter().flat_map(|subject| subject.listeners.iter().copied()).collect();
    let mut all = Vec::new();
    for listener in listeners {
        let clients = sock_diag::connections(listener)?.into_iter();
        let clients = clients.filter(|connection| !is_from_pin(connection.local, connection.peer));
        all.extend(clients.filter_map(|connection| Some((connection.inode?, connection.cookie))));
    }
    let open = |subject: &Subject| {
        let sockets = subject.group.sockets()?;
        let own = all.iter().filter(|(inode, _)| sockets.contains(inode));
        Ok(own.map(|(_, cookie)| *cookie).collect())
    };
    subjects.iter().map(open).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measuring::{Limited, subject::tests::subject};
    use handover_gate::destroyed::Ended;

    fn told(ended: &[(u64, bool)]) -> Told {
        let ended = ended.iter().map(|(cookie, reset)| Ended { cookie: *cookie, reset: *reset });
        Told { ended: ended.collect(), lost: false }
    }

    #[test]
    fn each_connection_is_counted_once_and_another_start_begins_anew() {
        let mut connections = Connections::default();
        let id = subject(1).instance;
        assert_eq!(connections.of(&id, 1), None);
        for open in [[1, 2].into(), [2, 3].into(), [].into(), [4].into()] {
            connections.note(&subject(1), open, false, 0);
        }
        assert_eq!((connections.of(&id, 1), connections.of(&id, 2)), (Some(4), None));
        assert_eq!(connections.ends(&id, 1, 0), None, "nobody listens");
        connections.note(&subject(2), [4].into(), false, 0);
        assert_eq!(connections.of(&id, 2), Some(1));
    }

    #[test]
    fn ends_of_those_that_were_seen_are_counted_whenever_they_are_told() {
        let mut connections = Connections::default();
        let id = subject(1).instance;
        let ends = |ended, reset| Some(Ends { since_micros: 7, ended, reset });
        connections.note(&subject(1), [1, 2, 3].into(), true, 7);
        assert_eq!(connections.ends(&id, 1, 11), ends(0, 0));
        // 9 came and went between two looks.
        connections.hear(&told(&[(1, false), (9, true)]), 7);
        assert_eq!(connections.ends(&id, 1, 11), ends(1, 0));
        // 2 is gone from sight, and its program closes it later.
        connections.note(&subject(1), [3, 4].into(), true, 8);
        connections.hear(&told(&[(4, true)]), 8);
        connections.note(&subject(1), [].into(), true, 9);
        connections.hear(&told(&[(2, true), (3, false), (3, true)]), 9);
        assert_eq!(connections.ends(&id, 1, 11), ends(4, 2), "each of them once");
        assert_eq!(connections.ends(&id, 2, 11), None);
        connections.note(&subject(2), [].into(), true, 10);
        assert_eq!(connections.ends(&id, 2, 11), Some(Ends { since_micros: 10, ended: 0, reset: 0 }));
        connections.note(&subject(2), [].into(), false, 11);
        assert_eq!(connections.ends(&id, 2, 11), None, "nobody listens any more");
    }

    #[test]
    fn where_some_were_lost_the_counting_begins_anew_with_those_that_are_open() {
        let mut connections = Connections::default();
        let id = subject(1).instance;
        connections.note(&subject(1), [1, 2].into(), true, 7);
        connections.hear(&told(&[(1, true)]), 7);
        connections.note(&subject(1), [3].into(), true, 8);
        connections.hear(&Told { lost: true, ..told(&[(2, true)]) }, 8);
        assert_eq!(connections.ends(&id, 1, 11), Some(Ends { since_micros: 8, ended: 0, reset: 0 }));
        connections.hear(&told(&[(2, true), (3, false)]), 9);
        assert_eq!(connections.ends(&id, 1, 11), Some(Ends { since_micros: 8, ended: 1, reset: 0 }));
    }

    #[test]
    fn whoever_was_out_of_sight_has_no_ends_until_it_is_counted_anew() {
        let mut connections = Connections::default();
        let limited = Limited { resets: true, refused: false };
        let both =
            ["web-1", "web-2"].map(|id| Subject { instance: id.parse().unwrap(), limited, ..subject(1) });
        let ids = both.clone().map(|subject| subject.instance);
        let found = || Ok(vec![[1, 2].into(), [3].into()]);
        connections.take_in(&both, found(), true, 7);
        connections.hear(&told(&[(1, true), (3, false)]), 7);
        let ends = |ended, reset| Some(Ends { since_micros: 7, ended, reset });
        let of = |connections: &Connections, now| ids.each_ref().map(|id| connections.ends(id, 1, now));
        assert_eq!(of(&connections, 7), [ends(1, 1), ends(1, 0)]);
        assert_eq!(of(&connections, 5_000_007), [ends(1, 1), ends(1, 0)]);
        assert_eq!(of(&connections, 5_000_008), [None, None], "the next look hangs");
        connections.take_in(&both, Err(io::ErrorKind::PermissionDenied.into()), true, 8);
        assert_eq!(of(&connections, 8), [None, None]);
        connections.hear(&told(&[(2, true)]), 8);
        connections.take_in(&both, found(), true, 9);
        assert_eq!(of(&connections, 9), [Some(Ends { since_micros: 9, ended: 0, reset: 0 }); 2]);
        assert_eq!(connections.of(&ids[0], 1), Some(2), "the count of those that were seen goes on");
    }

    #[test]
    fn a_program_that_keeps_what_was_reset_takes_no_memory_without_bound() {
        let mut connections = Connections::default();
        let id = subject(1).instance;
        let most = MAX_UNTOLD as u64;
        connections.note(&subject(1), (0..most).collect(), true, 7);
        connections.note(&subject(1), [most].into(), true, 8);
        assert_eq!(connections.ends(&id, 1, 11).unwrap().since_micros, 7);
        connections.note(&subject(1), [most + 1].into(), true, 9);
        assert_eq!(connections.ends(&id, 1, 11).unwrap().since_micros, 9);
    }
}
