//! Commands of operators beside hidden instances: each host's agent is asked through its session and answers with a call of
//! its own.
//!
//! Bounds: [`MAX_REQUESTS`] at once, [`MAX_INSTANCES`] in each, [`LONGEST`] for each command, [`MAX_OUTPUT_BYTES`] of its
//! output.

use handover_model::HostName;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::timeout,
};

/// Requests of operators at once.
pub const MAX_REQUESTS: usize = 4;
/// Instances in one request.
pub const MAX_INSTANCES: usize = 100;
/// Words of a command, and their bytes together.
pub const MAX_WORDS: usize = 256;
/// See [`MAX_WORDS`].
pub const MAX_COMMAND_BYTES: usize = 32 * 1024;
/// Output of one command that is taken; of more the agent sends the last part.
pub const MAX_OUTPUT_BYTES: usize = 64 * 1024;
/// How long a command may take where nothing is said.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
/// The shortest time that can be given to one, and the longest.
pub const SHORTEST: Duration = Duration::from_secs(1);
/// See [`SHORTEST`].
pub const LONGEST: Duration = Duration::from_secs(600);

/// How a command ended on a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Whether with code 0.
    pub passed: bool,
    /// In words; also why it was not run.
    pub ended: String,
    /// Its exit code, where it ended with one.
    pub code: Option<i32>,
    /// The last part of its output.
    pub output: Vec<u8>,
    /// Whether there was more.
    pub cut: bool,
}

impl Outcome {
    /// One that was not run, or of which nothing is known.
    #[must_use]
    pub fn failed(why: impl Into<String>) -> Self {
        Self { ended: why.into(), ..Self::default() }
    }
}

/// Which hosts were asked to run a command and may tell how it ended: each for itself, once for each order.
#[derive(Debug)]
pub struct Orders {
    open: Mutex<BTreeMap<u64, (HostName, oneshot::Sender<Outcome>)>>,
    next: AtomicU64,
    places: Arc<Semaphore>,
}

/// An order that was given, until this is dropped: then nobody waits for its outcome any more.
#[derive(Debug)]
pub struct Expected {
    /// Its number.
    pub number: u64,
    outcome: oneshot::Receiver<Outcome>,
    orders: Arc<Orders>,
}

impl Expected {
    /// What the host tells in this time; `None` where it tells nothing.
    pub async fn heard(mut self, within: Duration) -> Option<Outcome> {
        timeout(within, &mut self.outcome).await.ok()?.ok()
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.orders.open().remove(&self.number);
    }
}

impl Default for Orders {
    fn default() -> Self {
        let places = Arc::new(Semaphore::new(MAX_REQUESTS));
        Self { open: Mutex::default(), next: AtomicU64::new(1), places }
    }
}

impl Orders {
    /// A place for a request; `None` where all are taken.
    #[must_use]
    pub fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// A new order's number, and where its outcome comes.
    #[must_use]
    pub fn expect(self: &Arc<Self>, host: &HostName) -> Expected {
        let (sender, outcome) = oneshot::channel();
        let number = self.next.fetch_add(1, Relaxed);
        self.open().insert(number, (host.clone(), sender));
        Expected { number, outcome, orders: Arc::clone(self) }
    }

    /// Takes a host's outcome; false where it was not asked, has answered, or nobody waits any more.
    #[must_use]
    pub fn answer(&self, number: u64, host: &HostName, outcome: Outcome) -> bool {
        let mut open = self.open();
        if open.get(&number).is_none_or(|(asked, _)| asked != host) {
            return false;
        }
        open.remove(&number).is_some_and(|(_, sender)| sender.send(outcome).is_ok())
    }

    fn open(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, (HostName, oneshot::Sender<Outcome>)>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_host_tells_once_and_only_of_what_it_was_asked() {
        let orders = Arc::new(Orders::default());
        let (a, b) = ("a".parse().unwrap(), "b".parse().unwrap());
        let expected = orders.expect(&a);
        let number = expected.number;
        assert!(!orders.answer(number, &b, Outcome::failed("of another host")));
        assert!(!orders.answer(number + 1, &a, Outcome::failed("of another order")));
        assert!(orders.answer(number, &a, Outcome::failed("its own")));
        assert!(!orders.answer(number, &a, Outcome::failed("again")));
        assert_eq!(expected.heard(Duration::from_secs(1)).await, Some(Outcome::failed("its own")));
        let expected = orders.expect(&a);
        let number = expected.number;
        assert_eq!(expected.heard(Duration::ZERO).await, None);
        assert!(!orders.answer(number, &a, Outcome::failed("nobody waits")));
        assert!(orders.open().is_empty());
    }

    #[test]
    fn there_are_only_so_many_requests() {
        let orders = Orders::default();
        let mut places: Vec<_> = (0..MAX_REQUESTS).map(|_| orders.place().unwrap()).collect();
        assert!(orders.place().is_none());
        places.pop();
        assert!(orders.place().is_some());
    }
}
