//! The handshakes that run, and which of them gives way when all places are taken.

use super::source::Source;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

/// Handshakes in the order in which they began. `T` is what stops one.
#[derive(Debug)]
pub(super) struct Handshakes<T> {
    running: VecDeque<Running<T>>,
    by_source: BTreeMap<Source, usize>,
}

#[derive(Debug)]
struct Running<T> {
    source: Source,
    spoke: Arc<AtomicBool>,
    task: T,
}

impl<T> Handshakes<T> {
    pub(super) const fn new() -> Self {
        Self { running: VecDeque::new(), by_source: BTreeMap::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.running.len()
    }

    /// One more; `spoke` is set once its client has sent something.
    pub(super) fn began(&mut self, source: Source, spoke: Arc<AtomicBool>, task: T) {
        self.running.push_back(Running { source, spoke, task });
        *self.by_source.entry(source).or_default() += 1;
    }

    /// The one that `is_it` says has ended.
    pub(super) fn ended(&mut self, is_it: impl Fn(&T) -> bool) {
        if let Some(at) = self.running.iter().position(|running| is_it(&running.task)) {
            self.remove(at);
        }
    }

    /// Takes out the one that gives way: of the sources that have the most, the oldest whose client has sent nothing,
    /// else the oldest. So a crowd displaces itself, and a client from elsewhere is left alone.
    pub(super) fn displace(&mut self) -> Option<T> {
        let most = self.by_source.values().copied().max()?;
        let crowded = |running: &Running<T>| self.by_source.get(&running.source) == Some(&most);
        let silent = |running: &Running<T>| !running.spoke.load(Relaxed);
        let at = self.running.iter().position(|running| silent(running) && crowded(running));
        let at = at.or_else(|| self.running.iter().position(crowded))?;
        self.remove(at)
    }

    fn remove(&mut self, at: usize) -> Option<T> {
        let Running { source, task, .. } = self.running.remove(at)?;
        if let Some(count) = self.by_source.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.by_source.remove(&source);
            }
        }
        Some(task)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Handshakes numbered in their order: from `(source, spoke)`.
    fn running(clients: &[(u8, bool)]) -> Handshakes<usize> {
        let mut handshakes = Handshakes::new();
        for (number, (source, spoke)) in clients.iter().enumerate() {
            let source = std::net::SocketAddr::from(([192, 0, 2, *source], 1)).into();
            handshakes.began(source, Arc::new(AtomicBool::new(*spoke)), number);
        }
        handshakes
    }

    fn displaced(clients: &[(u8, bool)], count: usize) -> Vec<usize> {
        let mut handshakes = running(clients);
        (0..count).map_while(|_| handshakes.displace()).collect()
    }

    #[test]
    fn of_one_source_the_silent_go_first_and_the_oldest_of_them() {
        assert_eq!(displaced(&[(1, true), (1, false), (1, false), (1, true)], 9), [1, 2, 0, 3]);
    }

    #[test]
    fn a_crowd_displaces_itself_also_one_that_speaks() {
        let clients = [(9, false), (1, true), (1, true), (1, true), (2, false), (2, false)];
        assert_eq!(displaced(&clients, 4), [1, 4, 2, 0], "the one from elsewhere goes when all have one");
    }

    #[test]
    fn what_ended_is_not_counted_any_more() {
        let mut handshakes = running(&[(1, true), (1, true), (2, true)]);
        handshakes.ended(|number| *number == 0);
        handshakes.ended(|number| *number == 0);
        assert_eq!((handshakes.len(), handshakes.by_source.len()), (2, 2));
        assert_eq!(handshakes.displace(), Some(1));
        handshakes.ended(|number| *number == 2);
        assert!(handshakes.by_source.is_empty() && handshakes.displace().is_none());
    }
}
