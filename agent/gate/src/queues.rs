//! The queues of a member that lost its share: when may its instance be told to drain?

use crate::{Gate, GateError, sock_diag, sys};
use handover_model::InstanceId;
use std::{collections::BTreeSet, io, thread, time::Duration};

/// The handshakes that were under way with a listener just after a flip, by the kernel's names for them.
///
/// The kernel does not say which socket of a group a handshake belongs to. But every handshake that belongs to a member
/// without a share began before the flip. So those that were there just after it are remembered, for all members
/// together; later ones belong to members with a share. When none of the remembered ones is left, none of the
/// member's is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingRequests(BTreeSet<u64>);

impl PendingRequests {
    /// How many handshakes were under way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none was under way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Gate {
    /// To be called after a flip: the handshakes that began before it, on any member.
    ///
    /// Waits until no packet is under way any more that the former program chose a member for: some milliseconds,
    /// 50 where the kernel offers no such wait.
    ///
    /// # Errors
    /// When sock_diag cannot be asked.
    pub fn pending_requests(&self) -> Result<PendingRequests, GateError> {
        if sys::wait_for_packets_under_way().is_err() {
            thread::sleep(Duration::from_millis(50));
        }
        Ok(PendingRequests(self.requests()?))
    }

    /// Whether nothing of the member's is left in the kernel: none of the handshakes of `pending`, and no connection in
    /// its accept queue. From then on a drain signal loses nobody.
    ///
    /// # Errors
    /// When it is no member, its socket is not in the agent's hands, or sock_diag cannot be asked.
    pub fn queues_empty(&self, pending: &PendingRequests, instance: &InstanceId) -> Result<bool, GateError> {
        // Handshakes first: one that ends between the two looks is then found in the accept queue. In the moment
        // between both it is a socket in state SYN_RECV with the same cookie (`tcp_check_req`, `tcp_child_process`).
        if !pending.is_empty() && !self.requests()?.is_disjoint(&pending.0) {
            return Ok(false);
        }
        Ok(self.accept_queue(instance)? == 0)
    }

    fn requests(&self) -> Result<BTreeSet<u64>, GateError> {
        let requests: io::Result<Vec<_>> = sock_diag::requests(self.address);
        let requests =
            requests.map_err(GateError::system("list the handshakes with sock_diag", self.address))?;
        Ok(requests.iter().map(|request| request.cookie).collect())
    }
}
