//! What tests lack on some machines. The one place where a test may say that it is skipped.
//!
//! Where `HANDOVER_NO_SKIP=1` is in the environment, as `.ci/run` sets it, a lack fails its test, unless it has a reason
//! here that holds on machines that are supported all the same. So CI cannot skip silently.

use std::{env, fmt};

/// The variable that turns a skip into a failure.
pub const VARIABLE: &str = "HANDOVER_NO_SKIP";

/// Something that a test needs and that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// To be root.
    Root,
    /// A mount namespace of the test's own.
    MountNamespace,
    /// A network namespace of the test's own.
    NetworkNamespace,
    /// A program, and the Debian package that brings it.
    Program {
        /// Its name, or where it lies.
        name: &'static str,
        /// The package.
        package: &'static str,
    },
    /// strace, or the permission to trace a process.
    Tracing,
    /// A cgroup v2 that can be written.
    Cgroups,
    /// Controllers for memory, processor and tasks in that cgroup v2.
    Controllers,
    /// To run outside of every unit of systemd.
    NoUnit,
    /// A file system that can take blocks out of the middle of a file, fallocate(2).
    Collapsing,
}

impl Lack {
    /// Every kind of lack, those of programs as one.
    const ALL: [Self; 9] = [
        Self::Root,
        Self::MountNamespace,
        Self::NetworkNamespace,
        Self::Program { name: "any program", package: "its package" },
        Self::Tracing,
        Self::Cgroups,
        Self::Controllers,
        Self::NoUnit,
        Self::Collapsing,
    ];

    /// Why CI may lack it: a machine without it is supported, and what is not seen there is seen elsewhere. `None`: CI
    /// may not, `.ci/needs` and root bring it.
    #[must_use]
    pub const fn may_lack(self) -> Option<&'static str> {
        match self {
            Self::Controllers => Some(
                "containers and hosts with both versions of cgroups mount cgroup v2 without controllers: there the test sees that a limit is refused by its name",
            ),
            Self::NoUnit => Some(
                "a machine of CI may start its jobs from a unit, and journald then names that one: all but the unit's name is looked at there",
            ),
            Self::Collapsing => Some(
                "only ext4 and xfs can: on others the file is copied and truncated, which a test beside it shows",
            ),
            Self::Root
            | Self::MountNamespace
            | Self::NetworkNamespace
            | Self::Program { .. }
            | Self::Tracing
            | Self::Cgroups => None,
        }
    }

    /// Says that this test, or a part of it, is skipped.
    ///
    /// # Panics
    /// Where [`VARIABLE`] is `1` and CI may not lack it.
    #[track_caller]
    pub fn skips(self, what: &str) {
        let said = said(self, what, env::var_os(VARIABLE).is_some_and(|value| value == "1"));
        match said {
            Ok(line) => eprintln!("{line}"),
            #[expect(clippy::panic, reason = "a skip that is not allowed fails its test")]
            Err(line) => panic!("{line}"),
        }
    }
}

/// The line that tells of it; an error where it must not be.
fn said(lack: Lack, what: &str, strict: bool) -> Result<String, String> {
    let line = format!("SKIPPED: {what}: {lack}");
    match (strict, lack.may_lack()) {
        (true, None) => Err(format!("{line} is missing, and {VARIABLE} is set")),
        (true, Some(reason)) => Ok(format!("{line} is missing, which is allowed: {reason}")),
        (false, _) => Ok(format!("{line} is missing")),
    }
}

/// The lacks that are allowed everywhere, each with its reason, one a line.
#[must_use]
pub fn allowed() -> String {
    let allowed = Lack::ALL.iter().filter_map(|lack| Some(format!("{lack}: {}\n", lack.may_lack()?)));
    allowed.collect()
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("root"),
            Self::MountNamespace => f.write_str("a mount namespace of the test's own"),
            Self::NetworkNamespace => f.write_str("a network namespace of the test's own"),
            Self::Program { name, package } => write!(f, "{name} (Debian's package {package})"),
            Self::Tracing => f.write_str("strace, or the permission to trace"),
            Self::Cgroups => f.write_str("a cgroup v2 that can be written"),
            Self::Controllers => f.write_str("the cgroup controllers memory, cpu and pids"),
            Self::NoUnit => f.write_str("a place outside of every unit of systemd"),
            Self::Collapsing => f.write_str("a file system that can collapse a range"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_skips_are_forbidden_only_a_lack_with_a_reason_is_let_through() {
        for lack in Lack::ALL {
            assert!(said(lack, "the test", false).is_ok_and(|line| line.starts_with("SKIPPED: the test: ")));
            let strict = said(lack, "the test", true);
            assert_eq!(strict.is_ok(), lack.may_lack().is_some(), "{strict:?}");
            let line = strict.unwrap_or_else(|line| line);
            assert!(line.contains(&lack.to_string()), "{line}");
        }
    }

    #[test]
    fn what_may_be_lacking_is_a_list_that_can_be_printed() {
        let list = allowed();
        println!("{list}");
        assert_eq!(list.lines().count(), 3, "{list}");
        assert!(list.lines().all(|line| line.contains(": ")), "{list}");
    }
}
