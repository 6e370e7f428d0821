//! Many rows of lines, each in the order of time, become one. Pure: time is a parameter.
//!
//! While a host still sends what was there already, the merge waits for it: the order is exact. Of hosts that send
//! what is written now a line waits for [`WINDOW`], in which an older one of another host may come; one that comes
//! later still is told late, not left out.

use handover_model::{Duration, Timestamp};
use std::collections::VecDeque;

/// How long a line waits for older ones of other hosts.
pub const WINDOW: Duration = Duration::from_millis(500);
/// Lines of one host that wait; then nothing more of it is taken for a while.
const ENOUGH: usize = 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It sends what was there already.
    Before,
    /// It sends what is written now.
    Now,
    /// Nothing more comes.
    Ended,
}

#[derive(Debug)]
struct Row<T> {
    /// Micros, arrival, line.
    waiting: VecDeque<(u64, Timestamp, T)>,
    phase: Phase,
}

/// The rows of all hosts.
#[derive(Debug)]
pub struct Merge<T> {
    rows: Vec<Row<T>>,
}

impl<T> Merge<T> {
    /// So many rows, numbered from 0.
    #[must_use]
    pub fn of(rows: usize) -> Self {
        let row = || Row { waiting: VecDeque::new(), phase: Phase::Before };
        Self { rows: (0..rows).map(|_| row()).collect() }
    }

    /// A line of a row, with its time in Unix microseconds. Lines without a time come first.
    pub fn push(&mut self, row: usize, micros: Option<u64>, line: T, now: Timestamp) {
        if let Some(row) = self.rows.get_mut(row) {
            row.waiting.push_back((micros.unwrap_or(0), now, line));
        }
    }

    /// What a row sends from now on is written now.
    pub fn caught_up(&mut self, row: usize) {
        if let Some(row) = self.rows.get_mut(row)
            && row.phase == Phase::Before
        {
            row.phase = Phase::Now;
        }
    }

    /// A row is over.
    pub fn ended(&mut self, row: usize) {
        if let Some(row) = self.rows.get_mut(row) {
            row.phase = Phase::Ended;
        }
    }

    /// Whether more of a row is to be taken now.
    #[must_use]
    pub fn wants(&self, row: usize) -> bool {
        self.rows.get(row).is_some_and(|row| row.phase != Phase::Ended && row.waiting.len() < ENOUGH)
    }

    /// Whether everything was told.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.rows.iter().all(|row| row.phase == Phase::Ended && row.waiting.is_empty())
    }

    /// The next line, with its row, where nothing before it can come any more.
    pub fn pop(&mut self, now: Timestamp) -> Option<(usize, T)> {
        let (row, ready) = self.next()?;
        if ready.is_none_or(|at| at > now) {
            return None;
        }
        let (_, _, line) = self.rows.get_mut(row)?.waiting.pop_front()?;
        Some((row, line))
    }

    /// When the next line may go although nothing more comes; `None` where a row must be heard of first.
    #[must_use]
    pub fn wake(&self) -> Option<Timestamp> {
        self.next().and_then(|(_, ready)| ready)
    }

    /// The row with the oldest line, and from when on it may go.
    fn next(&self) -> Option<(usize, Option<Timestamp>)> {
        let oldest = |(number, row): (usize, &Row<T>)| {
            row.waiting.front().map(|(micros, arrived, _)| (*micros, number, *arrived))
        };
        let (_, number, arrived) = self.rows.iter().enumerate().filter_map(oldest).min()?;
        let mut ready = Some(Timestamp::default());
        for row in self.rows.iter().filter(|row| row.waiting.is_empty()) {
            ready = match row.phase {
                Phase::Ended => ready,
                Phase::Now => ready.map(|at| at.max(arrived + WINDOW)),
                Phase::Before => None,
            };
        }
        Some((number, ready))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_unix_millis(millis)
    }

    #[test]
    fn what_was_there_waits_for_every_host() {
        let mut merge = Merge::of(2);
        merge.push(0, Some(10), "a10", at(0));
        assert_eq!(merge.pop(at(1_000_000)), None, "the other host may have an older line");
        assert_eq!(merge.wake(), None);
        merge.push(1, Some(5), "b5", at(1));
        assert_eq!(merge.pop(at(1)), Some((1, "b5")));
        assert_eq!(merge.pop(at(1)), None);
        merge.ended(1);
        assert_eq!(merge.pop(at(1)), Some((0, "a10")));
        assert!(!merge.is_done());
        merge.ended(0);
        assert!(merge.is_done());
    }

    #[test]
    fn what_is_written_now_waits_for_the_window_only() {
        let mut merge = Merge::of(2);
        merge.caught_up(0);
        merge.caught_up(1);
        merge.push(0, Some(2_000), "new", at(100));
        assert_eq!((merge.pop(at(599)), merge.wake()), (None, Some(at(600))));
        merge.push(1, Some(1_000), "old, later", at(300));
        assert_eq!(merge.pop(at(300)), Some((1, "old, later")));
        assert_eq!(merge.pop(at(600)), Some((0, "new")));
        merge.push(1, Some(1), "too late", at(700));
        assert_eq!(merge.pop(at(1200)), Some((1, "too late")), "late is not lost");
    }

    #[test]
    fn a_host_that_sends_faster_than_the_others_waits() {
        let mut merge = Merge::of(2);
        for number in 0..ENOUGH {
            assert!(merge.wants(0));
            merge.push(0, Some(number as u64), number, at(0));
        }
        assert!(!merge.wants(0) && merge.wants(1));
    }

    proptest! {
        #[test]
        fn everything_that_was_there_comes_once_and_in_the_order_of_time(
            mut rows in prop::collection::vec(prop::collection::vec(0_u64..50, 0..20), 1..6),
            picks in prop::collection::vec(any::<usize>(), 0..200),
        ) {
            rows.iter_mut().for_each(|row| row.sort_unstable());
            let mut expected: Vec<u64> = rows.iter().flatten().copied().collect();
            expected.sort_unstable();
            let mut merge = Merge::of(rows.len());
            let mut told = Vec::new();
            let mut next = vec![0; rows.len()];
            // By chance first, the rest in order.
            let rest = (0..rows.len()).flat_map(|row| vec![row; rows[row].len() + 1]);
            for pick in picks.iter().map(|pick| pick % rows.len()).chain(rest) {
                match rows[pick].get(next[pick]) {
                    Some(micros) => merge.push(pick, Some(*micros), *micros, at(0)),
                    None => merge.ended(pick),
                }
                next[pick] += 1;
                while let Some((_, line)) = merge.pop(at(0)) {
                    told.push(line);
                }
            }
            prop_assert!(merge.is_done());
            prop_assert_eq!(told, expected);
        }
    }
}
