//! Descriptors for as many connections as the server takes.

use handover_identity::AcceptLimits;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Files, the store, the Unix socket's connections, and what libraries open.
const OWN: usize = 1024;

/// Agents of a fleet that is still small.
const FEW: u64 = 1000;

/// Raises the soft limit on descriptors to the hard one, and warns where that is enough for a few agents only. With
/// too few the server goes on: its accept loop pauses while there are none.
pub(crate) fn provide(limits: &AcceptLimits) {
    let others = limits.handshakes + limits.anonymous + OWN;
    let needed = (others + limits.identified) as u64;
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    let wanted = hard.min(needed.max(soft));
    let limit = match setrlimit(Resource::RLIMIT_NOFILE, wanted, hard) {
        Ok(()) => wanted,
        Err(error) => {
            tracing::warn!(%error, "the limit on open files cannot be raised from {soft} to {wanted}");
            soft
        }
    };
    let agents = limit.saturating_sub(others as u64);
    // A small fleet needs no more, and for a large one the accept loop says when there are none left.
    if agents < FEW {
        tracing::warn!(
            "at most {limit} files may be open, which is enough for {agents} agents; for more raise LimitNOFILE in \
             the server's unit"
        );
    }
}
