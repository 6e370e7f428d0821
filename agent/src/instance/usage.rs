//! What the kernel says that an instance uses: its cgroup where it has one with these figures, /proc of its processes
//! elsewhere.
//!
//! Summed over processes, what has ended is missing but where its parent has waited for it, and memory that several share
//! counts several times: good for a comparison of two releases on one host, and for nothing finer.

use super::{Group, procfs};
use std::{fs, io, path::Path};

const MICROS: u64 = 1_000_000;

impl Group {
    /// Bytes of memory and microseconds on processors of all processes; `None` for what the kernel does not say.
    #[must_use]
    pub fn usage(&self) -> (Option<u64>, Option<u64>) {
        let place = self.place_beside();
        let of_cgroup = place.cgroup().map(|folder| (memory(folder), cpu_micros(folder))).unwrap_or_default();
        match of_cgroup {
            (Some(memory), Some(cpu)) => (Some(memory), Some(cpu)),
            (memory, cpu) => {
                let (resident, ticks) = self.of_processes().unwrap_or_default();
                (memory.or(resident), cpu.or(ticks))
            }
        }
    }

    /// Nothing where it has no processes: then nothing is known of it.
    fn of_processes(&self) -> io::Result<(Option<u64>, Option<u64>)> {
        let (mut memory, mut ticks) = (None, None);
        for pid in self.members()? {
            if let Some(bytes) = procfs::resident(pid)? {
                memory = Some(memory.unwrap_or(0_u64).saturating_add(bytes));
            }
            if let Some(stat) = procfs::stat(pid)? {
                ticks = Some(ticks.unwrap_or(0_u64).saturating_add(stat.ticks));
            }
        }
        let second = rustix::param::clock_ticks_per_second().max(1);
        Ok((memory, ticks.map(|ticks| ticks.saturating_mul(MICROS) / second)))
    }
}

/// Without the files that the kernel keeps in memory only for as long as there is room: a service that reads many files
/// would look like one that needs much memory.
fn memory(cgroup: &Path) -> Option<u64> {
    let all: u64 = fs::read_to_string(cgroup.join("memory.current")).ok()?.trim().parse().ok()?;
    Some(all.saturating_sub(line(&cgroup.join("memory.stat"), "inactive_file").unwrap_or(0)))
}

fn cpu_micros(cgroup: &Path) -> Option<u64> {
    line(&cgroup.join("cpu.stat"), "usage_usec")
}

/// The number behind a name in a file of such lines.
fn line(file: &Path, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let rest = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    rest.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::{GroupRecord, ProcessKey};

    #[test]
    fn a_cgroups_files_are_read() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!((memory(folder.path()), cpu_micros(folder.path())), (None, None));
        fs::write(folder.path().join("memory.current"), "4096\n").unwrap();
        fs::write(folder.path().join("cpu.stat"), "nr_periods 0\nusage_usec 1234\nuser_usec 1\n").unwrap();
        assert_eq!((memory(folder.path()), cpu_micros(folder.path())), (Some(4096), Some(1234)));
        fs::write(folder.path().join("memory.stat"), "anon 7\ninactive_file_x 9\ninactive_file 96\n")
            .unwrap();
        assert_eq!(memory(folder.path()), Some(4000), "what is only kept while there is room");
    }

    #[test]
    fn processes_without_a_cgroup_are_summed() {
        let mut child = std::process::Command::new("setsid").args(["sleep", "60"]).spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while procfs::stat(pid).unwrap().unwrap().session != pid {
            assert!(std::time::Instant::now() < deadline, "setsid began no session");
        }
        let start_time = procfs::stat(pid).unwrap().unwrap().start_time;
        let leader = ProcessKey { pid: child.id(), start_time };
        let group = Group::reopen(GroupRecord::ProcessGroup { leader, instance: String::new() }).unwrap();
        let (memory, cpu) = group.usage();
        assert!(memory.unwrap() > 0 && cpu.is_some(), "{memory:?} {cpu:?}");
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(group.usage(), (None, None), "nothing is known of nobody");
    }
}
