//! Which hosts were asked for lines and may send them: each host for itself, once for each request.

use super::{Batch, MAX_REQUESTS, QUEUED_BATCHES};
use handover_model::HostName;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Every request that is open.
#[derive(Debug)]
pub struct LogRequests {
    asked: Mutex<BTreeMap<(u64, HostName), mpsc::Sender<Batch>>>,
    next: AtomicU64,
    places: Arc<Semaphore>,
}

impl Default for LogRequests {
    fn default() -> Self {
        Self {
            asked: Mutex::default(),
            next: AtomicU64::new(1),
            places: Arc::new(Semaphore::new(MAX_REQUESTS)),
        }
    }
}

impl LogRequests {
    /// A new request's number and place; `None` where all places are taken.
    #[must_use]
    pub fn open(&self) -> Option<(u64, OwnedSemaphorePermit)> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        Some((self.next.fetch_add(1, Relaxed), place))
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

    /// Forgets the hosts of a request that have not answered.
    pub fn close(&self, request: u64) {
        self.asked().retain(|(number, _), _| *number != request);
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
        let requests = LogRequests::default();
        let (number, _place) = requests.open().unwrap();
        let (a, b) = ("a".parse().unwrap(), "b".parse().unwrap());
        let _waiting = requests.expect(number, &a);
        assert!(requests.answer(number, &b).is_none());
        assert!(requests.answer(number + 1, &a).is_none());
        assert!(requests.answer(number, &a).is_some());
        assert!(requests.answer(number, &a).is_none());
        drop(requests.expect(number, &b));
        assert!(requests.answer(number, &b).is_none(), "nobody waits");
        let _waiting = requests.expect(number, &b);
        requests.close(number);
        assert!(requests.answer(number, &b).is_none());
    }

    #[test]
    fn there_are_only_so_many_requests() {
        let requests = LogRequests::default();
        let mut places: Vec<_> = (0..MAX_REQUESTS).map(|_| requests.open().unwrap().1).collect();
        assert!(requests.open().is_none());
        places.pop();
        assert!(requests.open().is_some());
    }
}
