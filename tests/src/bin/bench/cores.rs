//! A core for the program and another for its clients, so that the scheduler's choice of which of them waits for the
//! other is not what is measured.

use crate::Failed;
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};
use std::{fmt, fs};

/// Which processor runs what; none on a machine with a single one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cores(Option<Pair>);

#[derive(Clone, Copy, Debug)]
struct Pair {
    program: usize,
    clients: usize,
}

impl Cores {
    /// The first two that this process may use.
    pub(crate) fn choose() -> Result<Self, Failed> {
        let allowed = sched_getaffinity(Pid::from_raw(0))?;
        let mut free = (0..CpuSet::count()).filter(|&core| allowed.is_set(core).unwrap_or(false));
        Ok(Self(free.next().zip(free.next()).map(|(program, clients)| Pair { program, clients })))
    }

    /// Keeps all threads of a program on its core, whoever started it. Those that it makes later inherit that.
    pub(crate) fn keep_program(self, pid: i32) -> Result<(), Failed> {
        let Some(Pair { program, .. }) = self.0 else { return Ok(()) };
        let tasks = format!("/proc/{pid}/task");
        for task in fs::read_dir(&tasks).map_err(|error| format!("{tasks}: {error}"))? {
            let task = task?.file_name().to_string_lossy().parse()?;
            set(Pid::from_raw(task), program)?;
        }
        Ok(())
    }

    /// Keeps the calling thread, and the load generator's threads that it starts, on the clients' core.
    pub(crate) fn keep_clients(self) -> Result<(), Failed> {
        match self.0 {
            Some(Pair { clients, .. }) => set(Pid::from_raw(0), clients),
            None => Ok(()),
        }
    }
}

fn set(task: Pid, core: usize) -> Result<(), Failed> {
    let mut cores = CpuSet::new();
    cores.set(core)?;
    match sched_setaffinity(task, &cores) {
        // A thread that has ended since.
        Ok(()) | Err(nix::errno::Errno::ESRCH) => Ok(()),
        Err(error) => Err(format!("cannot keep task {task} on core {core}: {error}").into()),
    }
}

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(Pair { program, clients }) => {
                write!(f, "program on core {program}, clients on core {clients}")
            }
            None => f.write_str("program and clients share the only core"),
        }
    }
}
