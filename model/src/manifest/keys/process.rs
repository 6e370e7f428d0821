//! How an instance is taken out, started again, limited and logged.

use super::{
    Absent::{Default, Otherwise},
    Durations, Either, Integers, Key, Percents, Sizes, Table, Words, key,
};
use crate::manifest::{CoreLimit, LogTarget, MAX_DEADLINE, Signal};
use std::time::Duration;

pub(crate) const MOMENT: Duration = Duration::from_millis(10);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);
/// PID_MAX_LIMIT of linux/threads.h on 64 bits.
const MOST_TASKS: u64 = 4 * 1024 * 1024;
const UNLIMITED: &str = "no limit";

const fn signal(signal: Signal, meaning: &'static str) -> (&'static str, Signal, &'static str) {
    (signal.name(), signal, meaning)
}

pub(crate) const SIGNAL: Key<Words<Signal>> = key(
    "signal",
    Words(&[
        signal(Signal::Term, "termination"),
        signal(Signal::Int, "interrupt from the keyboard"),
        signal(Signal::Quit, "quit from the keyboard; many servers finish gracefully on it"),
        signal(Signal::Hup, "hang-up"),
        signal(Signal::Usr1, "for the program's own use"),
        signal(Signal::Usr2, "for the program's own use"),
        signal(Signal::Winch, "window size; Apache finishes gracefully on it"),
    ]),
    Default("\"SIGTERM\""),
    "What tells the program to finish.",
);
pub(crate) const QUEUE_DEADLINE: Key<Durations> = key(
    "queue_deadline",
    Durations(Duration::ZERO, HOUR),
    Default("\"5s\""),
    "How long the instance's SYN and accept queues may take to empty before it is told to finish anyway.",
);
pub(crate) const DEADLINE: Key<Durations> = key(
    "deadline",
    Durations(Duration::ZERO, MAX_DEADLINE),
    Default("\"30s\""),
    "From the signal to SIGKILL of everything that the instance started.",
);

pub(crate) const DRAIN: Table = Table {
    name: "drain",
    meaning: "How an instance is taken out once it has no share.",
    keys: &[&SIGNAL, &QUEUE_DEADLINE, &DEADLINE],
    kinds: Vec::new,
};

pub(crate) const INITIAL: Key<Durations> = key(
    "initial",
    Durations(MOMENT, HOUR),
    Default("\"200ms\""),
    "The first pause. Each next one is twice as long, with jitter.",
);
pub(crate) const MAX: Key<Durations> = key(
    "max",
    Durations(MOMENT, MAX_DEADLINE),
    Default("\"30s\""),
    "The longest pause. At least `initial`, which also raises its default.",
);
pub(crate) const ATTEMPTS: Key<Integers<u32>> = key(
    "attempts",
    Integers(0, 1_000_000),
    Default("10"),
    "Starts in a row, without having been ready for `stable`, before it gives up. 0: it never gives up.",
);
pub(crate) const STABLE: Key<Durations> = key(
    "stable",
    Durations(Duration::ZERO, MAX_DEADLINE),
    Default("\"60s\""),
    "After having been ready this long the count of starts begins anew.",
);

pub(crate) const RESTART: Table = Table {
    name: "restart",
    meaning: "How an instance that ended by itself is started again.",
    keys: &[&INITIAL, &MAX, &ATTEMPTS, &STABLE],
    kinds: Vec::new,
};

pub(crate) const OPEN_FILES: Key<Integers<u64>> = key(
    "open_files",
    Integers(16, 1_048_576),
    Otherwise(UNLIMITED),
    "Open descriptors of each process (`RLIMIT_NOFILE`).",
);
pub(crate) const PROCESSES: Key<Integers<u64>> = key(
    "processes",
    Integers(1, MOST_TASKS),
    Otherwise(UNLIMITED),
    "Processes and threads of the program's user on the whole host (`RLIMIT_NPROC`).",
);
pub(crate) const CORE: Key<Either<Words<CoreLimit>, Sizes>> = key(
    "core",
    Either(Words(&[("unlimited", CoreLimit::Unlimited, "as large as it gets")]), Sizes(0, 1 << 50)),
    Otherwise(UNLIMITED),
    "The largest core dump (`RLIMIT_CORE`). 0: none.",
);
pub(crate) const MEMORY: Key<Sizes> = key(
    "memory",
    Sizes(1 << 20, 1 << 50),
    Otherwise(UNLIMITED),
    "Memory of the whole instance (cgroup `memory.max`).",
);
pub(crate) const CPU: Key<Percents> = key(
    "cpu",
    Percents(1, 100_000),
    Otherwise(UNLIMITED),
    "Processor time of the whole instance (cgroup `cpu.max`), in percent of one processor: `\"150%\"` is one and a half.",
);
pub(crate) const TASKS: Key<Integers<u64>> = key(
    "tasks",
    Integers(1, MOST_TASKS),
    Otherwise(UNLIMITED),
    "Processes and threads of the whole instance (cgroup `pids.max`).",
);

pub(crate) const LIMITS: Table = Table {
    name: "limits",
    meaning: "What an instance may use. Without a limit: what the agent itself may use.",
    keys: &[&OPEN_FILES, &PROCESSES, &CORE, &MEMORY, &CPU, &TASKS],
    kinds: Vec::new,
};

pub(crate) const TO: Key<Words<LogTarget>> = key(
    "to",
    Words(&[
        ("auto", LogTarget::Auto, "journald where it runs, files otherwise"),
        ("journald", LogTarget::Journald, "journald; an error where it does not run"),
        ("files", LogTarget::Files, "files of the agent's own"),
    ]),
    Default("\"auto\""),
    "Where standard output and standard error go.",
);
pub(crate) const MAX_SIZE: Key<Sizes> =
    key("max_size", Sizes(64 << 10, 1 << 40), Default("\"10MiB\""), "A file longer than this is rotated.");
pub(crate) const KEEP: Key<Integers<u32>> =
    key("keep", Integers(0, 100), Default("5"), "Rotated files that are kept.");

pub(crate) const LOGS: Table = Table {
    name: "logs",
    meaning: "Where an instance's output goes.",
    keys: &[&TO, &MAX_SIZE, &KEEP],
    kinds: Vec::new,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signal_can_be_named() {
        let Words(words) = SIGNAL.value;
        assert_eq!(words.iter().map(|(_, signal, _)| *signal).collect::<Vec<_>>(), Signal::ALL);
    }
}
