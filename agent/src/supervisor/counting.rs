//! Counting connections: of instances that drain each second, of those that clients are on at a slow pace.
//!
//! Where there are many sockets the latter takes its time. It is done by a thread, one count at a time, and the numbers
//! come in together: each change of them is a report to the server.

use super::Supervisor;
use crate::instance::Group;
use handover_gate::sock_diag;
use handover_model::{InstanceId, ServiceName};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::{Duration, Instant},
};
use tokio::sync::oneshot::{self, error::TryRecvError};

/// Counting takes at most one part in so many of a processor's time.
const PART: u32 = 100;

/// The count of instances that clients are on.
#[derive(Debug, Default)]
pub(super) struct Counting {
    under_way: Option<oneshot::Receiver<Counted>>,
    /// Not before this moment again.
    next: Option<Instant>,
}

/// What there is to count of one service.
#[derive(Debug)]
struct Asked {
    addresses: Vec<SocketAddr>,
    /// Instances with their lives and processes.
    instances: Vec<(InstanceId, u64, Group)>,
}

/// What was counted.
#[derive(Debug)]
struct Counted {
    took: Duration,
    /// By instance and life; `None` where it could not be counted.
    numbers: Vec<(InstanceId, u64, Option<u64>)>,
}

impl Counting {
    /// The numbers, where they have just come.
    fn take(&mut self, now: Instant) -> Vec<(InstanceId, u64, Option<u64>)> {
        let Some(under_way) = &mut self.under_way else { return Vec::new() };
        let numbers = match under_way.try_recv() {
            Err(TryRecvError::Empty) => return Vec::new(),
            // Its thread was ended in between: the next one counts.
            Err(TryRecvError::Closed) => Vec::new(),
            Ok(Counted { took, numbers }) => {
                self.next = Some(now + rest(took));
                numbers
            }
        };
        self.under_way = None;
        numbers
    }

    fn may_begin(&self, now: Instant) -> bool {
        self.under_way.is_none() && self.next.is_none_or(|next| next <= now)
    }
}

/// How long to count nothing after a count that took so long.
fn rest(took: Duration) -> Duration {
    took.saturating_mul(PART)
}

impl Supervisor {
    /// Counts what there is to count. Called once a second: one call begins a count, a later one takes its numbers and
    /// begins none, so that the numbers of live instances change at most every other second.
    pub(super) fn count_connections(&mut self) {
        let draining: Vec<InstanceId> =
            self.instances.iter().filter(|(_, i)| i.drains()).map(|(id, _)| id.clone()).collect();
        for id in draining {
            let connections = self.count(&id);
            if let Some(instance) = self.instances.get_mut(&id) {
                instance.connections = connections;
            }
        }
        let now = Instant::now();
        if self.counting.may_begin(now) {
            self.begin_counting();
            return;
        }
        for (id, life, connections) in self.counting.take(now) {
            if let Some(instance) = self.instances.get_mut(&id)
                && instance.life == life
                && !instance.drains()
            {
                instance.connections = connections;
            }
        }
    }

    fn begin_counting(&mut self) {
        let mut services: BTreeMap<&ServiceName, Vec<(InstanceId, u64, Group)>> = BTreeMap::new();
        for (id, instance) in &self.instances {
            // One that stands by is followed until its last client has left.
            let has_clients = !instance.share.is_hidden() || instance.connections.is_some_and(|n| n > 0);
            if let Some(group) = instance.state.group().filter(|_| has_clients && !instance.drains()) {
                let instances = services.entry(instance.service()).or_default();
                instances.push((id.clone(), instance.life, group.clone()));
            }
        }
        let asked: Vec<Asked> = services
            .into_iter()
            .map(|(service, instances)| Asked { addresses: self.gates.addresses(service), instances })
            .filter(|asked| !asked.addresses.is_empty())
            .collect();
        if asked.is_empty() {
            return;
        }
        let (tell, told) = oneshot::channel();
        self.counting.under_way = Some(told);
        tokio::task::spawn_blocking(move || {
            let began = Instant::now();
            let numbers = asked.iter().flat_map(count).collect();
            // A supervisor that is gone does not need to know.
            let _ = tell.send(Counted { took: began.elapsed(), numbers });
        });
    }

    /// The connections of an instance that the kernel knows; `None` where they cannot be counted.
    pub(super) fn count(&self, id: &InstanceId) -> Option<u64> {
        let instance = self.instances.get(id)?;
        let sockets = instance.state.group()?.sockets().ok()?;
        self.gates.connections(instance.service(), &sockets).ok()
    }
}

/// Asks the kernel once for each address, however many instances there are.
fn count(asked: &Asked) -> Vec<(InstanceId, u64, Option<u64>)> {
    let connected: Option<BTreeSet<u64>> = asked
        .addresses
        .iter()
        .map(|address| sock_diag::connections(*address).ok())
        .collect::<Option<Vec<_>>>()
        .map(|found| found.into_iter().flatten().filter_map(|connection| connection.inode).collect());
    let number = |group: &Group| {
        let sockets = group.sockets().ok()?;
        Some(sockets.intersection(connected.as_ref()?).count() as u64)
    };
    asked.instances.iter().map(|(id, life, group)| (id.clone(), *life, number(group))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_taken_once_and_a_count_that_took_long_is_followed_by_a_long_rest() {
        let (tell, told) = oneshot::channel();
        let mut counting = Counting { under_way: Some(told), next: None };
        let now = Instant::now();
        assert!(!counting.may_begin(now), "one at a time");
        assert!(counting.take(now).is_empty());
        let numbers = vec![("web-d1".parse().unwrap(), 3, Some(7))];
        tell.send(Counted { took: Duration::from_millis(50), numbers: numbers.clone() }).unwrap();
        assert_eq!(counting.take(now), numbers);
        assert!(counting.take(now).is_empty());
        assert!(!counting.may_begin(now + Duration::from_millis(4_999)));
        assert!(counting.may_begin(now + Duration::from_secs(5)));
    }

    #[test]
    fn a_count_whose_thread_was_ended_is_begun_again() {
        let (tell, told) = oneshot::channel();
        let mut counting = Counting { under_way: Some(told), next: None };
        drop(tell);
        assert!(counting.take(Instant::now()).is_empty());
        assert!(counting.may_begin(Instant::now()));
    }
}
