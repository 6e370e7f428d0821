//! What /proc says of processes: proc(5).

use std::{fs, io, thread, time::Duration};

/// The fields of /proc/PID/stat that the agent uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    /// `Z` for a zombie, `X` for a dead one.
    pub(super) state: char,
    /// Process group (field 5).
    pub(super) group: i32,
    /// Session (field 6).
    pub(super) session: i32,
    /// Clock ticks on processors, its own and those of children that it has waited for (fields 14 to 17).
    pub(super) ticks: u64,
    /// Threads (field 20).
    pub(super) threads: u32,
    /// Clock ticks from boot to its start (field 22). With the pid it names a process once per boot.
    pub(super) start_time: u64,
}

impl Stat {
    /// Whether it has ended and only waits to be reaped. A first thread that has ended is a zombie too, while others
    /// of the process go on.
    pub(super) fn is_dead(self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x') && self.threads <= 1
    }
}

/// What /proc says of `pid`; `None` where there is no such process.
pub(super) fn stat(pid: i32) -> io::Result<Option<Stat>> {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(text) => parse(&text)
            .map(Some)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/stat: {text:?}"))),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether an error of reading below /proc/PID says that the process has ended meanwhile.
pub(super) fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(nix::libc::ESRCH)
}

/// The second field is the program's name in parentheses and may hold anything, spaces and parentheses too: the
/// fields are counted from the last closing one.
fn parse(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3).copied();
    Some(Stat {
        state: field(3)?.chars().next()?,
        group: field(5)?.parse().ok()?,
        session: field(6)?.parse().ok()?,
        ticks: (14..=17).filter_map(|number| field(number)?.parse::<u64>().ok()).sum(),
        threads: field(20)?.parse().ok()?,
        start_time: field(22)?.parse().ok()?,
    })
}

/// Bytes of memory that a process has of its own or shares; `None` where there is no such process.
pub(super) fn resident(pid: i32) -> io::Result<Option<u64>> {
    match fs::read_to_string(format!("/proc/{pid}/statm")) {
        Ok(text) => {
            let pages = text.split_ascii_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
            Ok(pages.map(|pages| pages.saturating_mul(rustix::param::page_size() as u64)))
        }
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The pids of all processes that this process can see.
pub(super) fn pids() -> io::Result<Vec<i32>> {
    let mut pids = Vec::new();
    for entry in fs::read_dir("/proc")? {
        if let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) {
            pids.push(pid);
        }
    }
    Ok(pids)
}

/// How often an empty environment is read again, a millisecond apart: a process in the middle of execve(2) shows none.
const ENVIRONMENT_TRIES: usize = 20;

/// Whether the environment that `pid` was started with has the line `NAME=value`.
pub(super) fn was_started_with(pid: i32, line: &str) -> bool {
    for _ in 0..ENVIRONMENT_TRIES {
        match fs::read(format!("/proc/{pid}/environ")) {
            Ok(bytes) if bytes.is_empty() => thread::sleep(Duration::from_millis(1)),
            Ok(bytes) => return bytes.split(|&byte| byte == 0).any(|entry| entry == line.as_bytes()),
            Err(_) => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_name_with_parentheses_does_not_shift_the_fields() {
        let text = "77 (a) R (b) S 1 70 60 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1 2";
        assert_eq!(
            parse(text),
            Some(Stat { state: 'S', group: 70, session: 60, ticks: 26, threads: 1, start_time: 987_654 })
        );
        assert_eq!(parse("77 (cut"), None);
    }

    #[test]
    fn this_process_is_known_and_a_missing_one_is_not() {
        let me = i32::try_from(std::process::id()).unwrap();
        assert!(!stat(me).unwrap().unwrap().is_dead());
        assert!(pids().unwrap().contains(&me));
        // Above the largest pid that Linux can give out (PID_MAX_LIMIT, 2^22).
        assert_eq!(stat(5_000_000).unwrap(), None);
    }
}
