//! The room on a host's file systems, and what it means.

use crate::Timestamp;

const MIB: u64 = 1 << 20;
/// Below that, or a tenth of the file system where that is less, an operator is warned.
const LOW: u64 = 1024 * MIB;
/// That much, or a thirty-second part of the file system where that is less, releases leave free: what runs, and what
/// is written down of it, needs room too.
const RESERVE: u64 = 64 * MIB;

/// A file system of a host, as its agent sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    /// Which of the agent's folders lie on it, in words: `state`, `logs`, `runtime`.
    pub folders: Vec<String>,
    /// The path of the first of them.
    pub path: String,
    /// Bytes that the agent may still use.
    pub free: u64,
    /// All of its bytes; 0 where it does not count them.
    pub total: u64,
}

/// How much room is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Room {
    /// As it should be.
    Enough,
    /// Worth a warning.
    Low,
    /// Less than releases leave free: none is fetched.
    Full,
}

impl Disk {
    /// Bytes that releases leave free.
    #[must_use]
    pub fn reserve(&self) -> u64 {
        RESERVE.min(self.total / 32)
    }

    /// Bytes below which an operator is warned.
    #[must_use]
    pub fn low(&self) -> u64 {
        LOW.min(self.total / 10)
    }

    /// How much room is left.
    #[must_use]
    pub fn room(&self) -> Room {
        if self.total == 0 || self.free >= self.low() {
            Room::Enough
        } else if self.free >= self.reserve() {
            Room::Low
        } else {
            Room::Full
        }
    }
}

/// The agent cannot write down what it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unwritten {
    /// Of what, and why, in words for an operator.
    pub what: String,
    /// Since when.
    pub since: Timestamp,
}

/// Bytes as a person says them: in the largest unit that leaves a number above one.
#[must_use]
pub fn in_bytes(count: u64) -> String {
    let units = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(size, _)| count >= *size) {
        Some((size, unit)) => format!("{}.{} {unit}", count / size, count % size * 10 / size),
        None => format!("{count} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(free: u64, total: u64) -> Room {
        Disk { free, total, ..Disk::default() }.room()
    }

    #[test]
    fn room_is_low_below_a_tenth_or_a_gibibyte_and_full_below_what_releases_leave() {
        let large = 1024 * 1024 * MIB;
        assert_eq!(room(1024 * MIB, large), Room::Enough);
        assert_eq!(room(1024 * MIB - 1, large), Room::Low);
        assert_eq!(room(64 * MIB, large), Room::Low);
        assert_eq!(room(64 * MIB - 1, large), Room::Full);
        let small = 320 * MIB;
        assert_eq!(room(32 * MIB, small), Room::Enough);
        assert_eq!(room(32 * MIB - 1, small), Room::Low);
        assert_eq!(room(10 * MIB - 1, small), Room::Full);
        assert_eq!(room(0, 0), Room::Enough, "it does not count");
    }

    #[test]
    fn bytes_are_said_in_the_largest_unit() {
        assert_eq!(in_bytes(1023), "1023 B");
        assert_eq!(in_bytes(1536), "1.5 KiB");
        assert_eq!(in_bytes(u64::MAX), "16777215.9 TiB");
    }
}
