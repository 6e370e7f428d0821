//! How an instance is taken out, started again, limited and logged.

use std::{fmt, time::Duration};

/// How an instance is taken out once it has no share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// What tells it to finish.
    pub signal: Signal,
    /// How long its SYN and accept queues may take to empty before it is told anyway, 0 to 1 h.
    pub queue_deadline: Duration,
    /// From the signal to SIGKILL, 0 to 24 h.
    pub deadline: Duration,
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            signal: Signal::Term,
            queue_deadline: Duration::from_secs(5),
            deadline: Duration::from_secs(30),
        }
    }
}

macro_rules! signals {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// A signal that can tell a program to finish.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Signal {
            $($(#[$doc])* $variant,)*
        }

        impl Signal {
            /// Every signal that a manifest may name.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name, as `signal(7)` has it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

signals! {
    /// Termination.
    Term = "SIGTERM",
    /// Interrupt from the keyboard.
    Int = "SIGINT",
    /// Quit from the keyboard; many servers finish gracefully on it.
    Quit = "SIGQUIT",
    /// Hang-up.
    Hup = "SIGHUP",
    /// For the program's own use.
    Usr1 = "SIGUSR1",
    /// For the program's own use.
    Usr2 = "SIGUSR2",
    /// Window size; Apache finishes gracefully on it.
    Winch = "SIGWINCH",
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How an instance that ended by itself is started again: after a pause that doubles each time, with jitter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restart {
    /// The first pause, 10 ms to 1 h.
    pub initial: Duration,
    /// The longest pause, at least `initial`, at most 24 h.
    pub max: Duration,
    /// Starts in a row, without having been ready for `stable`, before it gives up; 0: never gives up.
    pub attempts: u32,
    /// After having been ready this long the count begins anew, 0 to 24 h.
    pub stable: Duration,
}

impl Default for Restart {
    fn default() -> Self {
        Self {
            initial: Duration::from_millis(200),
            max: Duration::from_secs(30),
            attempts: 10,
            stable: Duration::from_secs(60),
        }
    }
}

/// What an instance may use; `None`: what the agent itself may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResourceLimits {
    /// Open descriptors, 16 to 1,048,576 (`RLIMIT_NOFILE`, `getrlimit(2)`).
    pub open_files: Option<u64>,
    /// Processes and threads of its user, 1 to 4,194,304 (`RLIMIT_NPROC`).
    pub processes: Option<u64>,
    /// Size of a core dump (`RLIMIT_CORE`).
    pub core: Option<CoreLimit>,
    /// Memory of the whole instance in bytes, at least 1 MiB (cgroup `memory.max`).
    pub memory: Option<u64>,
    /// Processor time of the whole instance (cgroup `cpu.max`).
    pub cpu: Option<CpuLimit>,
    /// Processes and threads of the whole instance, 1 to 4,194,304 (cgroup `pids.max`).
    pub tasks: Option<u64>,
}

/// The largest core dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CoreLimit {
    /// At most so many bytes; 0: none.
    Bytes(u64),
    /// As large as it gets.
    Unlimited,
}

/// Processor time in percent of one processor, 1 to 100,000: 150 is one and a half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuLimit {
    /// Percent of one processor.
    pub percent: u32,
}

/// Where an instance's output goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logs {
    /// Which kind of place.
    pub to: LogTarget,
    /// A file longer than this many bytes is rotated, 64 KiB to 1 TiB.
    pub max_size: u64,
    /// Rotated files that are kept, 0 to 100.
    pub keep: u32,
}

impl Default for Logs {
    fn default() -> Self {
        Self { to: LogTarget::Auto, max_size: 10 << 20, keep: 5 }
    }
}

/// Which kind of place output goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogTarget {
    /// journald where it runs, files otherwise.
    Auto,
    /// journald; an error where it does not run.
    Journald,
    /// Files of the agent's own.
    Files,
}
