//! What to do when accept(2) fails: some errors are the next client's luck, others need time.

use super::counters::AcceptCounters;
use handover_model::Duration;
use std::io;
use tokio::time::Instant;

const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(1);

/// When accept(2) may be called again.
#[derive(Debug)]
pub(super) struct Backoff {
    pause: Duration,
    until: Instant,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { pause: Duration::ZERO, until: Instant::now() }
    }

    /// Not before this moment.
    pub(super) const fn until(&self) -> Instant {
        self.until
    }

    /// A connection was accepted.
    pub(super) const fn succeeded(&mut self) {
        self.pause = Duration::ZERO;
    }

    /// accept(2) failed. A connection that was gone before it was accepted (accept(2), "Error handling") is skipped;
    /// for the rest, above all EMFILE and ENFILE, the socket stays readable: trying at once would burn a core.
    pub(super) fn failed(&mut self, error: &io::Error, counters: &AcceptCounters) {
        if is_of_one_connection(error) {
            return;
        }
        if self.pause.is_zero() {
            tracing::warn!(%error, "cannot accept connections, trying again; raise LimitNOFILE if descriptors are short");
        }
        counters.paused();
        self.pause = (self.pause * 2).clamp(FIRST, LONGEST);
        self.until = Instant::now() + self.pause;
    }
}

/// Linux passes pending network errors of the new socket on as errors of accept(2).
fn is_of_one_connection(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let of_one = [
        Errno::CONNABORTED,
        Errno::CONNRESET,
        Errno::INTR,
        Errno::NETDOWN,
        Errno::PROTO,
        Errno::NOPROTOOPT,
        Errno::HOSTDOWN,
        Errno::NONET,
        Errno::HOSTUNREACH,
        Errno::OPNOTSUPP,
        Errno::NETUNREACH,
        Errno::PERM,
    ];
    error.raw_os_error().is_some_and(|code| of_one.iter().any(|errno| errno.raw_os_error() == code))
}
