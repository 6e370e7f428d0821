//! What a process uses, from /proc (proc(5)).

use std::{fs, time::Duration};

/// Processor time that a process has used, of all its threads.
///
/// # Panics
/// Where there is no such process.
#[must_use]
pub fn cpu_time(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name, in parentheses, may hold anything; behind it utime and stime are the 12th and 13th.
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks = |at: usize| fields[at].parse::<u64>().unwrap();
    // USER_HZ is 100 on every architecture that Linux still runs on.
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}

/// Memory that a process has resident, in bytes.
///
/// # Panics
/// Where there is no such process.
#[must_use]
pub fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
