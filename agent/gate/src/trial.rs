//! Trying the gate for real: what no version number of a kernel can promise.

use crate::{Gate, GateError, Pin};
use handover_model::{InstanceId, Share};
use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr, TcpListener},
};

/// Makes a gate of two members on a free port of 127.0.0.1, gives one of them all connections, and asks for the
/// connections by sock_diag. Leaves nothing behind.
///
/// # Errors
/// What this host does not allow.
pub fn try_gate() -> Result<(), GateError> {
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    // Free once the listener is dropped; somebody who takes it in between makes the trial fail, and it is tried again.
    let port = TcpListener::bind(local)
        .and_then(|listener| listener.local_addr())
        .map_err(GateError::system("find a free port", local))?;
    let mut gate = Gate::new(port, 16);
    let mut members = Vec::new();
    for (name, number) in [("trial-a", 1), ("trial-b", 2)] {
        let (Ok(instance), Ok(pin)) = (name.parse::<InstanceId>(), Pin::new(number)) else { continue };
        gate.join(instance.clone(), pin)?;
        members.push(instance);
    }
    let shares: BTreeMap<InstanceId, Share> =
        members.into_iter().rev().take(1).map(|instance| (instance, Share::ALL)).collect();
    gate.set_shares(&shares)?;
    gate.connections().map(drop)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_host_that_can_run_the_gate_passes_the_trial_again_and_again() {
        for _ in 0..3 {
            super::try_gate().unwrap();
        }
    }
}
