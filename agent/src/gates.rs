//! All gates of this host, and their journal: what the kernel has and what is written down change together.

use crate::{
    instance::PassedSocket,
    journal::{GateRecord, Journal, NotWritten},
};
use handover_gate::{Gate, GateError, GateSnapshot, Order, PendingRequests, Pin, Restored, Retired};
use handover_model::{InstanceId, ServiceName, Share, config::Listener};
use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    io,
    net::SocketAddr,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

/// Which gate: of one service, at one address. A release that moves a listener opens another gate; one that gives it
/// another name does not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    service: ServiceName,
    address: SocketAddr,
}

/// All gates of this host.
#[derive(Debug)]
pub struct Gates {
    journal: Journal,
    gates: BTreeMap<Key, Gate>,
}

/// A change of gates that did not happen.
#[derive(Debug, thiserror::Error)]
pub enum GatesError {
    /// The gate refused.
    #[error("the gate of service {service} at {address}")]
    Gate {
        /// Whose.
        service: ServiceName,
        /// Where.
        address: SocketAddr,
        /// Why.
        source: GateError,
    },
    /// The journal cannot be written.
    #[error(transparent)]
    Journal(#[from] NotWritten),
    /// Another service listens there.
    #[error(
        "{address} is the listener of service {other} on this host; give one of the two services another address"
    )]
    Taken {
        /// Where.
        address: SocketAddr,
        /// Whose it is.
        other: ServiceName,
    },
    /// The instance was there before and is not quite gone.
    #[error(
        "an earlier instance {instance} is still leaving the gate at {address}; deploy again under another name"
    )]
    Leaving {
        /// Which.
        instance: InstanceId,
        /// Where.
        address: SocketAddr,
    },
    /// A listening socket cannot be duplicated.
    #[error("cannot duplicate a listening socket for instance {0}")]
    Duplicate(InstanceId, #[source] io::Error),
    /// More instances than pins.
    #[error("no pin is left: 254 instances are on this host; wait until some are gone")]
    NoPin,
}

/// The handshakes that were under way to an instance when its share went, per gate.
#[derive(Debug)]
pub struct QueueWatch {
    pending: Vec<(Key, PendingRequests)>,
    /// Looks in a row at which nothing was left.
    quiet: u8,
}

/// So often in a row the queues must be seen empty: a handshake that completes is for a moment in neither queue
/// (`inet_csk_complete_hashdance` in net/ipv4/inet_connection_sock.c takes the request out before it adds the
/// connection), and one that the kernel was just accepting when the snapshot was taken is not in the snapshot.
const QUIET: u8 = 3;

impl Gates {
    /// No gates yet.
    #[must_use]
    pub fn new(journal: Journal) -> Self {
        Self { journal, gates: BTreeMap::new() }
    }

    /// Takes gates back that stood before the agent's restart, and checks that the kernel numbers their sockets as the
    /// mirror does. `sockets` gives the listening socket with an inode, out of the instance that has it. A gate that
    /// cannot be taken back goes on as it is in the kernel, and is told in the log; it does not keep others from it.
    pub fn restore(
        &mut self,
        records: Vec<GateRecord>,
        mut sockets: impl FnMut(&InstanceId, u64) -> Option<OwnedFd>,
    ) {
        for GateRecord { service, gate: snapshot } in records {
            let key = Key { service, address: snapshot.address };
            let members = snapshot.members.iter();
            let found = members.filter_map(|member| sockets(&member.instance, member.inode)).collect();
            if let Err(error) = self.restore_one(&key, snapshot, found) {
                tracing::error!(error = &error as &dyn Error, "a gate cannot be taken over");
            }
        }
    }

    fn restore_one(
        &mut self,
        key: &Key,
        snapshot: GateSnapshot,
        sockets: Vec<OwnedFd>,
    ) -> Result<(), GatesError> {
        // What is unmatched are second descriptors of one socket: each was asked for by its inode.
        let Restored { gate, lost, .. } =
            Gate::restore(snapshot, sockets).map_err(|source| key.gate(source))?;
        for lost in &lost {
            tracing::info!(instance = %lost, address = %key.address, "its listening socket ended with the earlier agent");
        }
        if gate.members().next().is_none() {
            return Ok(self.journal.forget_gate(&key.record(&gate))?);
        }
        self.gates.insert(key.clone(), gate);
        let check = self.change(key, Gate::verify_order)?;
        tracing::info!(address = %key.address, ?check, "gate taken over");
        Ok(())
    }

    /// The share that the kernel gives an instance; `None` where it is in no gate. Where its gates differ (an address
    /// that no other release has) the smallest one is it.
    #[must_use]
    pub fn share(&self, service: &ServiceName, instance: &InstanceId) -> Option<Share> {
        let gates = self.gates.iter().filter(|(key, _)| key.service == *service);
        gates.filter_map(|(_, gate)| gate.share(instance)).min()
    }

    /// Whether an instance's pin leads to it on each of these listeners. A pin that nobody has leads where strangers go.
    #[must_use]
    pub fn leads_to(&self, service: &ServiceName, listeners: &[Listener], instance: &InstanceId) -> bool {
        listeners.iter().all(|listener| {
            let key = Key { service: service.clone(), address: listener.address };
            self.gates.get(&key).is_some_and(|gate| gate.pin(instance).is_some())
        })
    }

    /// A pin that nobody on this host has.
    ///
    /// # Errors
    /// When all are taken.
    pub fn free_pin(&self, taken: &BTreeSet<u8>) -> Result<Pin, GatesError> {
        let in_gates: BTreeSet<u8> = self
            .gates
            .values()
            .flat_map(|gate| gate.members().filter_map(|member| gate.pin(member)))
            .map(Pin::number)
            .collect();
        (1..=254u8)
            .filter(|number| !taken.contains(number) && !in_gates.contains(number))
            .find_map(|number| Pin::new(number).ok())
            .ok_or(GatesError::NoPin)
    }

    /// Makes the listening sockets that an instance does not have yet. One that it has stays: that is how an
    /// instance that is started again finds its queue.
    ///
    /// # Errors
    /// When an address is in use, or the change cannot be written down.
    pub fn join(
        &mut self,
        service: &ServiceName,
        listeners: &[Listener],
        instance: &InstanceId,
        pin: Pin,
    ) -> Result<(), GatesError> {
        for listener in listeners {
            let key = Key { service: service.clone(), address: listener.address };
            let elsewhere = |other: &&Key| other.address == key.address && other.service != key.service;
            if let Some(other) = self.gates.keys().find(elsewhere) {
                return Err(GatesError::Taken { address: key.address, other: other.service.clone() });
            }
            let gate = self
                .gates
                .entry(key.clone())
                .or_insert_with(|| Gate::new(listener.address, listener.backlog));
            if gate.members().any(|member| member == instance) && gate.socket(instance).is_none() {
                // Its last holder may be gone by now: then it is no member any more.
                gate.sweep().map_err(|source| key.gate(source))?;
            }
            if gate.members().all(|member| member != instance) {
                let joined = self.change(&key, |gate| gate.join(instance.clone(), pin));
                if joined.is_err() && self.gates[&key].members().next().is_none() {
                    // Another service may have the address.
                    self.gates
                        .remove(&key)
                        .map_or(Ok(()), |gate| self.journal.forget_gate(&key.record(&gate)))?;
                }
                joined?;
            } else if gate.snapshot().members.iter().any(|m| m.instance == *instance && m.retired) {
                return Err(GatesError::Leaving { instance: instance.clone(), address: key.address });
            }
        }
        Ok(())
    }

    /// Duplicates of an instance's listening sockets, in the manifest's order.
    ///
    /// # Errors
    /// When one is not there, or descriptors have run out.
    pub fn sockets(
        &self,
        service: &ServiceName,
        listeners: &[Listener],
        instance: &InstanceId,
    ) -> Result<Vec<PassedSocket>, GatesError> {
        let socket = |listener: &Listener| {
            let name = listener.name.to_string();
            let key = Key { service: service.clone(), address: listener.address };
            let found = self.gates.get(&key).and_then(|gate| gate.socket(instance));
            let found = found.ok_or_else(|| key.gate(GateError::NoSocket(instance.clone())))?;
            let socket =
                found.try_clone_to_owned().map_err(|e| GatesError::Duplicate(instance.clone(), e))?;
            Ok(PassedSocket { name, socket })
        };
        listeners.iter().map(socket).collect()
    }

    /// Puts shares into the kernel: one step for each listener of the service, all of them before anything is written
    /// down. At an address that not all of the instances have, those that have it share everything. Returns how long
    /// it took from `decided` until the last one was in the kernel.
    ///
    /// # Errors
    /// When a gate refuses, or the change cannot be written down: to be called again.
    pub fn set_shares(
        &mut self,
        service: &ServiceName,
        shares: &BTreeMap<InstanceId, Share>,
        decided: Instant,
    ) -> Result<Duration, GatesError> {
        let keys = self.of(service);
        let flipped = keys.iter().try_for_each(|key| {
            let Some(gate) = self.gates.get_mut(key) else { return Ok(()) };
            let here = shares_here(gate, shares);
            gate.set_shares(&here).map(drop).map_err(|source| key.gate(source))
        });
        let took = decided.elapsed();
        let written = keys.iter().try_for_each(|key| self.write(key));
        flipped?;
        written?;
        Ok(took)
    }

    /// Lets an instance go: its sockets are closed where that is safe now, else as soon as it is. Returns how many
    /// connections were left in its queues.
    ///
    /// # Errors
    /// When a gate refuses, or the change cannot be written down.
    pub fn retire(&mut self, service: &ServiceName, instance: &InstanceId) -> Result<u64, GatesError> {
        let mut left = 0;
        for key in self.of(service) {
            if self.gates[&key].members().any(|member| member == instance) {
                left += self.change(&key, |gate| match gate.retire(instance)? {
                    Retired::Closed => Ok(0),
                    // A stranger holds it, and the agent does not: there is nothing to be done.
                    Retired::Waiting if gate.socket(instance).is_none() => Ok(0),
                    // Nobody accepts there any more: what is still in its queue is told so.
                    Retired::Waiting => gate.reset_queue(instance),
                })?;
            }
            if self.gates[&key].members().next().is_none()
                && let Some(gate) = self.gates.remove(&key)
            {
                self.journal.forget_gate(&key.record(&gate))?;
            }
        }
        Ok(left)
    }

    /// Takes note of sockets that left their group by themselves (a program may shut down its own), and finds the
    /// kernel's order again where it is not known. A gate that cannot be asked does not keep others from it.
    pub fn sweep(&mut self) {
        let keys: Vec<Key> = self.gates.keys().cloned().collect();
        for key in keys {
            if let Err(error) = self.sweep_one(&key) {
                tracing::warn!(error = &error as &dyn Error, "a gate cannot be looked after");
            }
        }
    }

    fn sweep_one(&mut self, key: &Key) -> Result<(), GatesError> {
        let Some(gate) = self.gates.get_mut(key) else { return Ok(()) };
        let gone = gate.sweep().map_err(|source| key.gate(source))?;
        if !gone.is_empty() {
            tracing::warn!(address = %key.address, ?gone, "sockets left the group by themselves");
        }
        let unknown = gate.order() == Order::Unverified;
        if unknown {
            let check = gate.verify_order().map_err(|source| key.gate(source))?;
            tracing::warn!(address = %key.address, ?check, "the kernel's order was looked up");
        }
        if unknown || !gone.is_empty() { self.write(key) } else { Ok(()) }
    }

    /// Begins to watch the queues of an instance whose share has just gone.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    pub fn watch(&self, service: &ServiceName, instance: &InstanceId) -> Result<QueueWatch, GatesError> {
        let mut pending = Vec::new();
        for key in self.of(service) {
            let gate = &self.gates[&key];
            if gate.members().any(|member| member == instance) {
                let requests = gate.pending_requests().map_err(|source| key.gate(source))?;
                pending.push((key, requests));
            }
        }
        Ok(QueueWatch { pending, quiet: 0 })
    }

    /// Whether the handshakes that were under way are done and have been accepted.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    pub fn empty(&self, watch: &mut QueueWatch, instance: &InstanceId) -> Result<bool, GatesError> {
        for (key, pending) in &watch.pending {
            let Some(gate) = self.gates.get(key) else { continue };
            // First the SYN queue, then the accept queue: what leaves the one is seen in the other.
            if !gate.queues_empty(pending, instance).map_err(|source| key.gate(source))? {
                watch.quiet = 0;
                return Ok(false);
            }
        }
        watch.quiet = watch.quiet.saturating_add(1);
        Ok(watch.quiet >= QUIET || watch.pending.is_empty())
    }

    /// Connections of an instance that the kernel knows, found by the inodes of its sockets.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    pub fn connections(&self, service: &ServiceName, sockets: &BTreeSet<u64>) -> Result<u64, GatesError> {
        let mut count = 0;
        for (key, gate) in self.gates.iter().filter(|(key, _)| key.service == *service) {
            // Also where the instance is no member any more: it may have shut down its own socket.
            let connections = gate.connections().map_err(|source| key.gate(source))?;
            let own = |inode: Option<u64>| inode.is_some_and(|inode| sockets.contains(&inode));
            count += connections.iter().filter(|connection| own(connection.inode)).count() as u64;
        }
        Ok(count)
    }

    /// Where the service listens on this host.
    #[must_use]
    pub fn addresses(&self, service: &ServiceName) -> Vec<SocketAddr> {
        self.of(service).into_iter().map(|key| key.address).collect()
    }

    fn of(&self, service: &ServiceName) -> Vec<Key> {
        self.gates.keys().filter(|key| key.service == *service).cloned().collect()
    }

    /// Changes a gate and writes it down: after the change, since the numbers are the kernel's to give. A crash in
    /// between is found at the next start, where the order is checked against the kernel.
    fn change<T>(
        &mut self,
        key: &Key,
        change: impl FnOnce(&mut Gate) -> Result<T, GateError>,
    ) -> Result<T, GatesError> {
        let gate = self.gates.get_mut(key).ok_or(GatesError::NoPin)?;
        let changed = change(gate).map_err(|source| key.gate(source));
        let written = self.write(key);
        let changed = changed?;
        written?;
        Ok(changed)
    }

    fn write(&self, key: &Key) -> Result<(), GatesError> {
        let Some(gate) = self.gates.get(key) else { return Ok(()) };
        Ok(self.journal.gate(&key.record(gate))?)
    }
}

/// What the members of one gate get of a service's shares: they add up to all, or to nothing.
fn shares_here(gate: &Gate, shares: &BTreeMap<InstanceId, Share>) -> BTreeMap<InstanceId, Share> {
    let members: BTreeSet<&InstanceId> = gate.members().collect();
    let here: Vec<(&InstanceId, u32)> = shares
        .iter()
        .filter(|(instance, share)| !share.is_hidden() && members.contains(instance))
        .map(|(instance, share)| (instance, u32::from(share.basis_points())))
        .collect();
    let all = u32::from(Share::ALL.basis_points());
    let sum: u32 = here.iter().map(|(_, share)| share).sum();
    let mut left = all;
    let mut given = BTreeMap::new();
    for (at, (instance, share)) in here.iter().enumerate() {
        // The last one gets what rounding left.
        let part = if at + 1 == here.len() { left } else { share * all / sum };
        left -= part;
        given.extend(Share::new(part).ok().map(|share| ((*instance).clone(), share)));
    }
    given
}

impl Key {
    fn gate(&self, source: GateError) -> GatesError {
        GatesError::Gate { service: self.service.clone(), address: self.address, source }
    }

    fn record(&self, gate: &Gate) -> GateRecord {
        GateRecord { service: self.service.clone(), gate: gate.snapshot() }
    }
}
