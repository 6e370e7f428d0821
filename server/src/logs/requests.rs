//! Which hosts were asked for lines and may send them: each host for itself, once for each request.

use super::{Batch, QUEUED_BATCHES};
use handover_model::HostName;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};
use tokio::sync::mpsc;

/// Every request that is open.
#[derive(Debug, Default)]
pub struct LogRequests {
    asked: Mutex<BTreeMap<(u64, HostName), mpsc::Sender<Batch>>>,
    last: AtomicU64,
}

/// A request, until this is dropped: then its hosts that have not answered are forgotten.
#[derive(Debug)]
pub struct OpenRequest {
    requests: Arc<LogRequests>,
    /// Its number.
    pub number: u64,
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.requests.close(self.number);
    }
}

impl LogRequests {
    /// A new request.
    #[must_use]
    pub fn open(self: &Arc<Self>) -> OpenRequest {
        OpenRequest { requests: Arc::clone(self), number: self.last.fetch_add(1, Relaxed) + 1 }
    }

    /// Lets a host answer a request.
    #[must_use]
    pub fn expect(&self, request: u64, host: &HostName) -> mpsc::Receiver<Batch> {
        let (sender, receiver) = mpsc::channel(QUEUED_BATCHES);
        self.asked().insert((request, host.clone()), sender);
        receiver
    }

    /// Where a host's answer goes; `None` where it was not asked, has answered, or nobody waits any more.
    #[must_use]
    pub fn answer(&self, request: u64, host: &HostName) -> Option<mpsc::Sender<Batch>> {
        self.asked().remove(&(request, host.clone())).filter(|sender| !sender.is_closed())
    }

    /// Forgets the hosts of a request that have not answered, and those of requests that ended before they were asked.
    fn close(&self, request: u64) {
        self.asked().retain(|(number, _), sender| *number != request && !sender.is_closed());
    }

    fn asked(&self) -> std::sync::MutexGuard<'_, BTreeMap<(u64, HostName), mpsc::Sender<Batch>>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_answers_once_and_only_what_it_was_asked() {
        let requests = Arc::new(LogRequests::default());
        let request = requests.open();
        let number = request.number;
        let (a, b) = ("a".parse().unwrap(), "b".parse().unwrap());
        let _waiting = requests.expect(number, &a);
        assert!(requests.answer(number, &b).is_none());
        assert!(requests.answer(number + 1, &a).is_none());
        assert!(requests.answer(number, &a).is_some());
        assert!(requests.answer(number, &a).is_none());
        drop(requests.expect(number, &b));
        assert!(requests.answer(number, &b).is_none(), "nobody waits");
        let _waiting = requests.expect(number, &b);
        drop(request);
        assert!(requests.answer(number, &b).is_none());
    }
}
