//! The driver for cgroup v2: a folder for each instance. See Documentation/admin-guide/cgroup-v2.rst of the kernel.

use super::{cgroup::CgroupLimits, error::LaunchError};
use rustix::fs::{Access, access};
use std::{
    collections::BTreeSet,
    fs, io,
    path::{Component, Path, PathBuf},
};

/// How deep the cgroups that a program makes below its own are followed.
const MAX_DEPTH: usize = 16;
/// Folders in which an agent tries out at its start what it may do; followed by its pid.
const TRIAL: &str = "trial.";

/// The part of the host's cgroup tree that is the agent's.
#[derive(Clone, Debug)]
pub struct Hierarchy {
    mount: PathBuf,
    root: PathBuf,
}

impl Hierarchy {
    /// Makes `<cgroup2>/<root>` and checks that cgroups can be made in it and processes moved there; says why not.
    pub(super) fn open(root: &str) -> Result<Self, String> {
        let relative = Path::new(root);
        if root.is_empty() || !relative.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(format!("{root:?} is no path of a cgroup: give names joined by '/'"));
        }
        let mounts =
            fs::read_to_string("/proc/self/mounts").map_err(|error| format!("/proc/self/mounts: {error}"))?;
        let mount = mount_point(&mounts).ok_or("cgroup v2 is not mounted")?;
        let hierarchy = Self { root: mount.join(relative), mount };
        hierarchy.check()?;
        Ok(hierarchy)
    }

    fn check(&self) -> Result<(), String> {
        let say = |path: &Path| {
            let path = path.display().to_string();
            move |error: io::Error| format!("{path}: {error}")
        };
        fs::create_dir_all(&self.root).map_err(say(&self.root))?;
        self.sweep_trials();
        // Another agent that starts at the same moment must not meet this one's folder.
        let trial = self.root.join(format!("{TRIAL}{}", std::process::id()));
        fs::create_dir(&trial).map_err(say(&trial))?;
        let procs = trial.join("cgroup.procs");
        let written = fs::OpenOptions::new().write(true).open(&procs).map(drop).map_err(say(&procs));
        let removed = fs::remove_dir(&trial).map_err(say(&trial));
        // Moving a process needs the right to write here too, for the cgroup above both.
        let common = self.common_ancestor().join("cgroup.procs");
        let allowed = access(&common, Access::WRITE_OK).map_err(|error| say(&common)(error.into()));
        written.and(removed).and(allowed)
    }

    /// Removes the trials of agents that were killed in the middle of theirs. Best effort: an empty folder does no harm.
    fn sweep_trials(&self) {
        for entry in fs::read_dir(&self.root).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let of = name.to_str().and_then(|name| name.strip_prefix(TRIAL));
            if of.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
                let _ = fs::remove_dir(entry.path());
            }
        }
    }

    /// Removes the agent's folder, where nothing is in it any more.
    pub(super) fn give_back(&self) {
        let _ = fs::remove_dir(&self.root);
    }

    /// The lowest cgroup above both the agent and its instances.
    fn common_ancestor(&self) -> PathBuf {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default().to_owned();
        let own = self.mount.join(own);
        let shared = own.components().zip(self.root.components()).take_while(|(left, right)| left == right);
        shared.map(|(component, _)| component).collect()
    }

    /// The agent's folder.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The instances that have a folder.
    pub(super) fn instances(&self) -> io::Result<BTreeSet<String>> {
        let mut names = BTreeSet::new();
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            match entry.file_name().into_string() {
                Ok(name) if entry.file_type()?.is_dir() && !name.starts_with(TRIAL) => names.insert(name),
                Ok(_) | Err(_) => false,
            };
        }
        Ok(names)
    }

    /// The folder of an instance, where it has one.
    pub(super) fn existing(&self, instance: &str) -> Option<CgroupDir> {
        let path = self.root.join(instance);
        (is_one_name(instance) && path.is_dir()).then(|| CgroupDir::at(path))
    }

    /// Makes the folder of an instance and sets its limits. One that is there already (a restart) is used again.
    pub(super) fn make(&self, instance: &str, limits: CgroupLimits) -> Result<CgroupDir, LaunchError> {
        let path = self.root.join(instance);
        let failed = |source| LaunchError::Cgroup { path: path.display().to_string(), source };
        if !is_one_name(instance) {
            return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "no name for a folder")));
        }
        for (limit, controller, ..) in limits.settings() {
            self.enable(limit, controller)?;
        }
        let existed = path.is_dir();
        if !existed {
            fs::create_dir(&path).map_err(failed)?;
        }
        let dir = CgroupDir::at(path.clone());
        for (limit, controller, file, value) in limits.settings() {
            if let Err(source) = fs::write(path.join(file), &value) {
                if !existed {
                    // The limit is what failed; an empty folder that stays is swept with the leftovers.
                    let _ = dir.remove();
                }
                let why = format!("writing {value:?} to {} failed", path.join(file).display());
                return Err(LaunchError::Limit { limit, controller, why, source: Some(source) });
            }
        }
        Ok(dir)
    }

    /// Hands a controller down from the top of the tree to the agent's folder.
    fn enable(&self, limit: &'static str, controller: &'static str) -> Result<(), LaunchError> {
        let refuse = |why, source| Err(LaunchError::Limit { limit, controller, why, source });
        let has = |file: PathBuf| {
            fs::read_to_string(file).is_ok_and(|list| list.split_whitespace().any(|c| c == controller))
        };
        if !has(self.mount.join("cgroup.controllers")) {
            let mount = self.mount.display();
            let why = format!(
                "{mount} does not have it: the kernel lacks it, or it is in use by cgroup v1. Boot with \
                 cgroup_no_v1=all or systemd.unified_cgroup_hierarchy=1, or leave the limit out"
            );
            return refuse(why, None);
        }
        let Ok(below) = self.root.strip_prefix(&self.mount) else { return Ok(()) };
        let mut at = self.mount.clone();
        for part in std::iter::once(Component::CurDir).chain(below.components()) {
            if part != Component::CurDir {
                at.push(part);
            }
            let control = at.join("cgroup.subtree_control");
            if has(control.clone()) {
                continue;
            }
            if let Err(source) = fs::write(&control, format!("+{controller}")) {
                let why = format!(
                    "{} refused it; a cgroup with processes in it cannot hand controllers down",
                    control.display()
                );
                return refuse(why, Some(source));
            }
        }
        Ok(())
    }
}

fn is_one_name(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None))
}

/// Where cgroup v2 is mounted, from the text of /proc/self/mounts, in which a space is written as `\040`.
fn mount_point(mounts: &str) -> Option<PathBuf> {
    let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let mut of_type = fields.filter(|fields| fields.get(2) == Some(&"cgroup2"));
    of_type.find_map(|fields| Some(PathBuf::from(fields.get(1)?.replace("\\040", " "))))
}

/// The cgroup of one instance.
#[derive(Clone, Debug)]
pub(super) struct CgroupDir {
    path: PathBuf,
}

impl CgroupDir {
    /// A folder that was made earlier; it may be gone, and is empty then.
    pub(super) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether no process is left in it and below, also none that is only just ending.
    pub(super) fn is_empty(&self) -> io::Result<bool> {
        match fs::read_to_string(self.path.join("cgroup.events")) {
            Ok(events) => Ok(events.lines().any(|line| line == "populated 0")),
            Err(error) if gone(&error) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// All living processes in it and in what the program made below it; the kernel leaves zombies out.
    pub(super) fn members(&self) -> io::Result<Vec<i32>> {
        let mut members = Vec::new();
        for dir in self.with_all_below()? {
            let text = match fs::read_to_string(dir.join("cgroup.procs")) {
                Ok(text) => text,
                // ENODEV: removed between listing and reading. EOPNOTSUPP: a threaded one, listed by those above it.
                Err(error) if gone(&error) || error.raw_os_error() == Some(nix::libc::EOPNOTSUPP) => continue,
                Err(error) => return Err(error),
            };
            members.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
        }
        Ok(members)
    }

    /// The folder itself and those below it, the deepest last.
    fn with_all_below(&self) -> io::Result<Vec<PathBuf>> {
        let mut all = vec![self.path.clone()];
        let mut layer = all.clone();
        for _ in 0..MAX_DEPTH {
            let mut next = Vec::new();
            for dir in &layer {
                let entries = match fs::read_dir(dir) {
                    Ok(entries) => entries,
                    Err(error) if gone(&error) => continue,
                    Err(error) => return Err(error),
                };
                for entry in entries {
                    let entry = entry?;
                    if entry.file_type()?.is_dir() {
                        next.push(entry.path());
                    }
                }
            }
            if next.is_empty() {
                break;
            }
            all.extend(next.iter().cloned());
            layer = next;
        }
        Ok(all)
    }

    /// Kills everything in it at once; false on a kernel before 5.14, which cannot, so that each process must be
    /// killed by itself.
    pub(super) fn kill(&self) -> io::Result<bool> {
        let file = self.path.join("cgroup.kill");
        // Without O_CREAT: on an old kernel the file is missing, and in cgroupfs none can be made.
        match fs::OpenOptions::new()
            .write(true)
            .open(&file)
            .and_then(|mut file| io::Write::write_all(&mut file, b"1"))
        {
            Ok(()) => Ok(true),
            Err(error) if gone(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes it with what the program made below it.
    pub(super) fn remove(&self) -> io::Result<()> {
        for dir in self.with_all_below()?.iter().rev() {
            match fs::remove_dir(dir) {
                Ok(()) => {}
                Err(error) if gone(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(nix::libc::ENODEV)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_is_found_among_others() {
        let mounts = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw 0 0\n\
                      cgroup2 /sys/fs/my\\040cgroup cgroup2 rw 0 0\n";
        assert_eq!(mount_point(mounts), Some(PathBuf::from("/sys/fs/my cgroup")));
        assert_eq!(mount_point("proc /proc proc rw 0 0\n"), None);
    }

    #[test]
    fn an_instance_is_one_folder() {
        assert!(is_one_name("web-17"));
        for bad in ["", "..", "a/b", "/", "."] {
            assert!(!is_one_name(bad), "{bad:?} was taken");
        }
    }
}
