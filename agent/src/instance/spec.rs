//! What the launcher needs to know to start one program: the supervisor fills it from the manifest.

use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
};

/// Most bytes that a spec may have as JSON.
pub(super) const MAX_SPEC_BYTES: u64 = 1024 * 1024;
/// Most sockets that one instance gets.
pub(super) const MAX_SOCKETS: usize = 256;

/// Where a program's standard output and error go. Opened by the launcher before it gives up its privileges, and
/// written to by the program itself: never through the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogSink {
    /// journald's stream socket, as sd_journal_stream_fd(3) uses it.
    Journald {
        /// The socket, normally [`super::logs::JOURNALD_SOCKET`].
        socket: PathBuf,
        /// What `journalctl -t` finds: the service's name.
        identifier: String,
        /// What `journalctl -u` finds; journald believes it of root only.
        unit: String,
    },
    /// A file, appended to. Its folder must exist.
    File {
        /// Which.
        path: PathBuf,
    },
    /// The descriptors that the launcher itself was started with: for probes, whose output the agent reads.
    Inherited,
}

/// Resource limits of a process, setrlimit(2); each is both the soft and the hard limit. `None` leaves the agent's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceLimits {
    /// RLIMIT_NOFILE: open descriptors.
    pub open_files: Option<u64>,
    /// RLIMIT_NPROC: processes and threads of the user.
    pub processes: Option<u64>,
    /// RLIMIT_CORE: bytes of a core dump; `u64::MAX` is unlimited.
    pub core: Option<u64>,
}

/// One program to start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchSpec {
    /// Becomes `HANDOVER_SERVICE`.
    pub service: String,
    /// The release's version; becomes `HANDOVER_RELEASE`.
    pub release: String,
    /// The instance's name; becomes `HANDOVER_INSTANCE`, by which orphans are known again.
    pub instance: String,
    /// The folder of the unpacked release, absolute.
    pub release_dir: PathBuf,
    /// Program and arguments. A relative program is beneath the release's folder; nothing is looked up in `PATH`.
    pub command: Vec<String>,
    /// Relative to the release's folder, or absolute.
    pub working_directory: PathBuf,
    /// User by name or number; `None` stays the agent's.
    pub user: Option<String>,
    /// Group by name or number; `None` is the user's own.
    pub group: Option<String>,
    /// The manifest's environment. It cannot change what the agent itself sets.
    pub environment: BTreeMap<String, String>,
    /// Becomes `NOTIFY_SOCKET`.
    pub notify_socket: Option<PathBuf>,
    /// Resource limits.
    pub limits: ResourceLimits,
    /// Where the output goes.
    pub log: LogSink,
}

/// A command whose program is not beneath its release's folder.
#[derive(Debug, thiserror::Error)]
#[error("the program {0:?} is not beneath the release's folder: leave out \"..\" or give an absolute path")]
pub(super) struct ProgramError(String);

impl LaunchSpec {
    /// The program's absolute path.
    pub(super) fn program(&self) -> Result<PathBuf, ProgramError> {
        let given = self.command.first().map_or("", String::as_str);
        let path = Path::new(given);
        let climbs = path.components().any(|part| part == Component::ParentDir);
        match (given.is_empty(), path.is_absolute(), climbs) {
            (false, true, _) => Ok(path.to_owned()),
            (false, false, false) => Ok(self.release_dir.join(path)),
            (true, _, _) | (false, false, true) => Err(ProgramError(given.to_owned())),
        }
    }
}

/// What the launcher reads: the spec and what only the agent knows.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) spec: LaunchSpec,
    /// The cgroup folder to join.
    pub(super) cgroup: Option<PathBuf>,
    /// Names of the passed sockets, in the order of their descriptors.
    pub(super) socket_names: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_program_stays_beneath_its_release() {
        let spec = |program: &str| LaunchSpec {
            service: "web".into(),
            release: "1".into(),
            instance: "web-1".into(),
            release_dir: "/releases/1".into(),
            command: vec![program.into()],
            working_directory: ".".into(),
            user: None,
            group: None,
            environment: BTreeMap::new(),
            notify_socket: None,
            limits: ResourceLimits::default(),
            log: LogSink::Inherited,
        };
        assert_eq!(spec("bin/web").program().unwrap(), Path::new("/releases/1/bin/web"));
        assert_eq!(spec("/bin/true").program().unwrap(), Path::new("/bin/true"));
        assert!(spec("../2/bin/web").program().is_err());
        assert!(spec("").program().is_err());
    }
}
