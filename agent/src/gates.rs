//! All gates of this host, and their journal: what the kernel has and what is written down change together.

use crate::{
    instance::PassedSocket,
    journal::{GateRecord, Journal},
};
use handover_gate::{Gate, GateError, Order, PendingRequests, Pin, Retired};
use handover_model::{InstanceId, ServiceName, Share, config::Listener};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
    os::fd::OwnedFd,
};

/// Which gate: of one service's listener, at one address. A release that moves a listener opens another gate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    service: ServiceName,
    listener: String,
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
    #[error("listener {listener} of service {service}")]
    Gate {
        /// Whose.
        service: ServiceName,
        /// Which.
        listener: String,
        /// Why.
        source: GateError,
    },
    /// The change could not be written down, so it was not made.
    #[error("cannot write down the gate of listener {listener} of service {service}")]
    Journal {
        /// Whose.
        service: ServiceName,
        /// Which.
        listener: String,
        /// Why.
        source: io::Error,
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

    /// Takes gates back that stood before the agent's restart. `sockets` gives the listening socket with an inode,
    /// out of the instance that has it. Returns what an operator should know.
    ///
    /// # Errors
    /// When a gate cannot be taken back at all.
    pub fn restore(
        &mut self,
        records: Vec<GateRecord>,
        mut sockets: impl FnMut(&InstanceId, u64) -> Option<OwnedFd>,
    ) -> Result<(), GatesError> {
        for GateRecord { service, listener, gate: snapshot } in records {
            let found = snapshot
                .members
                .iter()
                .filter_map(|member| sockets(&member.instance, member.inode))
                .collect();
            let key = Key { service, listener, address: snapshot.address };
            let restored = Gate::restore(snapshot, found).map_err(|source| key.gate(source))?;
            for lost in &restored.lost {
                tracing::warn!(instance = %lost, address = %key.address, "its listening socket is gone");
            }
            self.gates.insert(key, restored.gate);
        }
        Ok(())
    }

    /// Checks, for each gate taken back, that the kernel numbers its sockets as the mirror does, and corrects it.
    ///
    /// # Errors
    /// When a gate's order can neither be confirmed nor found.
    pub fn verify_order(&mut self) -> Result<Vec<String>, GatesError> {
        let mut notes = Vec::new();
        let keys: Vec<Key> = self.gates.keys().cloned().collect();
        for key in keys {
            self.change(&key, |gate| {
                gate.verify_order().map(|check| notes.push(format!("{}: {check:?}", gate.address())))
            })?;
        }
        Ok(notes)
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
            let key = Key {
                service: service.clone(),
                listener: listener.name.to_string(),
                address: listener.address,
            };
            let gate = self
                .gates
                .entry(key.clone())
                .or_insert_with(|| Gate::new(listener.address, listener.backlog));
            if gate.members().all(|member| member != instance) {
                self.change(&key, |gate| gate.join(instance.clone(), pin))?;
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
            let key = Key { service: service.clone(), listener: name.clone(), address: listener.address };
            let found = self.gates.get(&key).and_then(|gate| gate.socket(instance));
            let found = found.ok_or_else(|| key.gate(GateError::NoSocket(instance.clone())))?;
            let socket =
                found.try_clone_to_owned().map_err(|e| GatesError::Duplicate(instance.clone(), e))?;
            Ok(PassedSocket { name, socket })
        };
        listeners.iter().map(socket).collect()
    }

    /// Puts shares into the kernel: one step for each listener of the service. At an address that one release has
    /// and the other has not, its only instance keeps everything until it goes.
    ///
    /// # Errors
    /// When a gate refuses, or the change cannot be written down.
    pub fn set_shares(
        &mut self,
        service: &ServiceName,
        shares: &BTreeMap<InstanceId, Share>,
    ) -> Result<(), GatesError> {
        for key in self.of(service) {
            self.change(&key, |gate| {
                let members: BTreeSet<&InstanceId> = gate.members().collect();
                let mut here: BTreeMap<InstanceId, Share> = shares
                    .iter()
                    .filter(|(instance, share)| !share.is_hidden() && members.contains(instance))
                    .map(|(instance, share)| (instance.clone(), *share))
                    .collect();
                // One release of two listens here: all of what comes is for it.
                if let [only] = here.values_mut().collect::<Vec<_>>().as_mut_slice() {
                    **only = Share::ALL;
                }
                gate.set_shares(&here).map(drop)
            })?;
        }
        Ok(())
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
                    // Nobody accepts there any more: what is still in its queue is told so.
                    Retired::Waiting => gate.reset_queue(instance),
                })?;
            }
            if self.gates[&key].members().next().is_none()
                && let Some(gate) = self.gates.remove(&key)
            {
                let forgotten = self.journal.forget_gate(&key.record(&gate));
                forgotten.map_err(|source| key.journal(source))?;
            }
        }
        Ok(left)
    }

    /// Takes note of sockets that left their group by themselves (a program may shut down its own), and finds the
    /// kernel's order again where it is not known.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    pub fn sweep(&mut self) -> Result<(), GatesError> {
        let keys: Vec<Key> = self.gates.keys().cloned().collect();
        for key in keys {
            let Some(gate) = self.gates.get_mut(&key) else { continue };
            let gone = gate.sweep().map_err(|source| key.gate(source))?;
            let unknown = gate.order() == Order::Unverified;
            if unknown {
                let check = gate.verify_order().map_err(|source| key.gate(source))?;
                tracing::warn!(address = %key.address, ?check, "the kernel's order was looked up");
            }
            if unknown || !gone.is_empty() {
                tracing::warn!(address = %key.address, ?gone, "sockets left the group by themselves");
                let written = self.journal.gate(&key.record(&self.gates[&key]));
                written.map_err(|source| key.journal(source))?;
            }
        }
        Ok(())
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
    pub fn connections(
        &self,
        service: &ServiceName,
        instance: &InstanceId,
        sockets: &BTreeSet<u64>,
    ) -> Result<u64, GatesError> {
        let mut count = 0;
        for key in self.of(service) {
            let gate = &self.gates[&key];
            if gate.members().any(|member| member == instance) {
                let connections = gate.connections().map_err(|source| key.gate(source))?;
                count += connections
                    .iter()
                    .filter(|c| c.inode.is_some_and(|inode| sockets.contains(&inode)))
                    .count() as u64;
            }
        }
        Ok(count)
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
        let written = self.journal.gate(&key.record(&self.gates[key]));
        let changed = changed?;
        written.map_err(|source| key.journal(source))?;
        Ok(changed)
    }
}

impl Key {
    fn gate(&self, source: GateError) -> GatesError {
        GatesError::Gate { service: self.service.clone(), listener: self.listener.clone(), source }
    }

    fn journal(&self, source: io::Error) -> GatesError {
        GatesError::Journal { service: self.service.clone(), listener: self.listener.clone(), source }
    }

    fn record(&self, gate: &Gate) -> GateRecord {
        GateRecord { service: self.service.clone(), listener: self.listener.clone(), gate: gate.snapshot() }
    }
}
