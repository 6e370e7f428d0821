//! What happened in the fleet, for people who watch: the last [`MOST`] events, in memory.
//!
//! An event is told once what it tells is durable. Events themselves are never written: after a start of the server
//! the ring holds what the store tells anyway (hosts enrolled, releases pushed, deployments begun and ended); what
//! connected, failed or moved before is told by nobody. Numbers begin anew with each start.

mod event;
mod reports;
mod seed;

pub use event::{Event, EventKind};
pub(crate) use reports::instances;
pub(crate) use seed::{ended, from_store};

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::watch;

/// How many events are remembered.
pub const MOST: usize = 10_000;

/// The last events, and who waits for the next. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Events(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    ring: Mutex<Ring>,
    last: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Ring {
    events: VecDeque<(u64, Arc<Event>)>,
    /// Number of the last event, the first being 1.
    last: u64,
}

/// Some events in a row.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// With their numbers.
    pub events: Vec<(u64, Arc<Event>)>,
    /// Events that were forgotten before they were read.
    pub left_out: u64,
}

impl Default for Events {
    fn default() -> Self {
        Self(Arc::new(Inner { ring: Mutex::default(), last: watch::Sender::new(0) }))
    }
}

impl Events {
    /// Remembers events, in order, and wakes who waits. Never waits itself.
    pub fn publish(&self, events: Vec<Event>) {
        if events.is_empty() {
            return;
        }
        let last = {
            let mut ring = self.0.ring.lock().unwrap_or_else(PoisonError::into_inner);
            for event in events {
                ring.last += 1;
                let number = ring.last;
                if ring.events.len() == MOST {
                    ring.events.pop_front();
                }
                ring.events.push_back((number, Arc::new(event)));
            }
            ring.last
        };
        self.0.last.send_replace(last);
    }

    /// The number of the last event; changes with each.
    #[must_use]
    pub fn last(&self) -> watch::Receiver<u64> {
        self.0.last.subscribe()
    }

    /// The number before the oldest of the newest `most` remembered events that are `wanted`, and the number of the last
    /// event of all. Where there are fewer, the number before the oldest that is remembered.
    #[must_use]
    pub fn newest(&self, most: usize, wanted: impl Fn(&Event) -> bool) -> (u64, u64) {
        let ring = self.0.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = ring.events.front().map_or(ring.last, |(number, _)| number - 1);
        let mut found = ring.events.iter().rev().filter(|(_, event)| wanted(event));
        let first = most.checked_sub(1).and_then(|before| found.nth(before));
        (first.map_or(oldest, |(number, _)| number - 1), ring.last)
    }

    /// At most `most` events behind number `after`.
    #[must_use]
    pub fn after(&self, after: u64, most: usize) -> Page {
        let ring = self.0.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = ring.events.front().map_or(ring.last + 1, |(number, _)| *number);
        let left_out = oldest.saturating_sub(after + 1);
        // Numbers are in a row: the place follows from the number.
        let skip = usize::try_from((after + 1).saturating_sub(oldest)).unwrap_or(usize::MAX);
        Page { events: ring.events.iter().skip(skip).take(most).cloned().collect(), left_out }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use handover_model::Timestamp;

    fn event(number: u64) -> Event {
        Event::new(EventKind::StageEntered, Timestamp::from_unix_millis(number))
    }

    fn numbers(page: &Page) -> Vec<u64> {
        page.events
            .iter()
            .map(|(number, event)| {
                assert_eq!(event.at.unix_millis(), *number);
                *number
            })
            .collect()
    }

    #[test]
    fn a_reader_gets_every_event_once_and_in_order() {
        let events = Events::default();
        events.publish((1..=5).map(event).collect());
        assert_eq!(numbers(&events.after(0, 3)), [1, 2, 3]);
        assert_eq!(numbers(&events.after(3, 3)), [4, 5]);
        assert_eq!(numbers(&events.after(5, 3)), [0; 0]);
        assert_eq!(*events.last().borrow(), 5);
    }

    #[test]
    fn the_newest_that_are_wanted_begin_at_a_number() {
        let events = Events::default();
        assert_eq!(events.newest(5, |_| true), (0, 0));
        events.publish((1..=10).map(event).collect());
        let even = |event: &Event| event.at.unix_millis().is_multiple_of(2);
        assert_eq!(events.newest(3, |_| true), (7, 10));
        assert_eq!(events.newest(3, even), (5, 10), "6, 8 and 10");
        assert_eq!(events.newest(6, even), (0, 10), "there are five only");
    }

    #[test]
    fn the_ring_is_bounded_and_a_reader_who_was_too_slow_learns_how_many_are_gone() {
        let events = Events::default();
        let most = MOST as u64;
        events.publish((1..=most).map(event).collect());
        assert_eq!(events.newest(MOST, |_| true), (0, most));
        assert_eq!(events.after(0, 1).left_out, 0);
        events.publish((most + 1..=most + 7).map(event).collect());
        let page = events.after(0, 2);
        assert_eq!((numbers(&page), page.left_out), (vec![8, 9], 7));
        assert_eq!(events.newest(MOST, |_| true), (7, most + 7));
        assert_eq!(events.after(7, MOST * 2).events.len(), MOST);
    }
}
