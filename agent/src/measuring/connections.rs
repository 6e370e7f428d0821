//! Counting connections by looking again and again: each that was not there at the look before is one more.
//!
//! The kernel counts connections of a listener, but not by the socket of a group that got them; so they are found by the
//! inodes of the instance's sockets, as for draining, and told apart by the kernel's own name for them (the cookie). One
//! that came and went between two looks is missing, and so is one that waits to be accepted at each of them: the count is
//! a lower bound, and good for comparing shares of connections that last longer than a second. Those from pins, which are
//! the agent's own, are left out.

use super::subject::{Roster, Subject};
use handover_gate::{is_from_pin, sock_diag};
use handover_model::InstanceId;
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    error::Error,
    io,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
};

/// What was seen so far of every instance that is looked at.
#[derive(Debug, Default)]
pub(super) struct Connections(BTreeMap<InstanceId, Seen>);

/// What was seen of one instance.
#[derive(Debug)]
struct Seen {
    /// Of which start.
    life: u64,
    count: u64,
    /// Those of the last look, by the kernel's name for each.
    open: HashSet<u64>,
}

impl Connections {
    /// How many were seen of this start of an instance; `None` where nobody looked.
    pub(super) fn of(&self, instance: &InstanceId, life: u64) -> Option<u64> {
        self.0.get(instance).filter(|seen| seen.life == life).map(|seen| seen.count)
    }

    /// Notes a look at an instance.
    fn note(&mut self, subject: &Subject, open: HashSet<u64>) {
        let nothing = || Seen { life: subject.life, count: 0, open: HashSet::new() };
        let seen = self.0.entry(subject.instance.clone()).or_insert_with(nothing);
        if seen.life != subject.life {
            *seen = nothing();
        }
        seen.count += open.difference(&seen.open).count() as u64;
        seen.open = open;
    }
}

/// Looks at all instances of the roster; forgets the others. Blocks.
pub(super) fn look(connections: &Mutex<Connections>, roster: &Roster) {
    let mut found = Vec::new();
    for (service, subjects) in roster {
        match of_service(subjects) {
            Ok(open) => found.extend(subjects.iter().zip(open)),
            Err(error) => {
                tracing::debug!(%service, error = &error as &dyn Error, "its connections cannot be seen");
            }
        }
    }
    let named: BTreeSet<&InstanceId> = roster.values().flatten().map(|subject| &subject.instance).collect();
    let mut connections = connections.lock().unwrap_or_else(PoisonError::into_inner);
    connections.0.retain(|instance, _| named.contains(instance));
    for (subject, open) in found {
        connections.note(subject, open);
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
    use crate::{
        instance::{Group, GroupRecord, ProcessKey},
        measuring::Asked,
    };
    use handover_model::Share;

    fn subject(life: u64) -> Subject {
        let leader = ProcessKey { pid: std::process::id(), start_time: 0 };
        let record = GroupRecord::ProcessGroup { leader, instance: String::new() };
        Subject {
            instance: "web-1".parse().unwrap(),
            life,
            run: 0,
            share: Share::HIDDEN,
            asked: Asked::NotYet,
            config: None,
            listeners: Vec::new(),
            group: Group::reopen(record).unwrap(),
        }
    }

    #[test]
    fn each_connection_is_counted_once_and_another_start_begins_anew() {
        let mut connections = Connections::default();
        let id = subject(1).instance;
        assert_eq!(connections.of(&id, 1), None);
        connections.note(&subject(1), [1, 2].into());
        connections.note(&subject(1), [2, 3].into());
        connections.note(&subject(1), [].into());
        connections.note(&subject(1), [4].into());
        assert_eq!((connections.of(&id, 1), connections.of(&id, 2)), (Some(4), None));
        connections.note(&subject(2), [4].into());
        assert_eq!(connections.of(&id, 2), Some(1));
    }
}
