//! A release's folder, ways to start programs in it, and waiting with a deadline.

use handover_agent::instance::{
    Containment, Group, GroupRecord, LaunchError, LaunchSpec, Launcher, LogSink, PassedSocket, Place,
    ResourceLimits, Running,
};
use handover_skips::Lack;
use std::{
    collections::BTreeMap,
    fs,
    future::Future,
    net::TcpListener,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};
use tempfile::TempDir;

/// No test waits longer for anything.
pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) fn launcher() -> Launcher {
    Launcher::of_program(PathBuf::from(env!("CARGO_BIN_EXE_handover-agent")))
}

/// A folder with a release in it and a file for its output.
pub(crate) struct Room {
    dir: TempDir,
}

impl Room {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Programs run as other users in it.
        make_enterable(dir.path());
        let room = Self { dir };
        fs::create_dir_all(room.release().join("bin")).unwrap();
        std::os::unix::fs::symlink("/bin/sh", room.release().join("bin/sh")).unwrap();
        room
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn release(&self) -> PathBuf {
        self.path().join("release")
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path().join("out.log")).unwrap_or_default()
    }

    pub(crate) fn spec(&self, command: &[&str]) -> LaunchSpec {
        LaunchSpec {
            service: "web".into(),
            release: "1.0".into(),
            instance: "web-1".into(),
            release_dir: self.release(),
            command: command.iter().map(ToString::to_string).collect(),
            working_directory: ".".into(),
            user: None,
            group: None,
            environment: BTreeMap::new(),
            notify_socket: None,
            limits: ResourceLimits::default(),
            log: LogSink::File { path: self.path().join("out.log") },
        }
    }

    /// A shell that runs `script`.
    pub(crate) fn shell(&self, script: &str) -> LaunchSpec {
        self.spec(&["bin/sh", "-c", script])
    }
}

fn make_enterable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

pub(crate) fn session() -> Place {
    Containment::process_groups("a test").place("web-1", Default::default()).unwrap()
}

pub(crate) async fn start(spec: &LaunchSpec, sockets: Vec<PassedSocket>) -> Result<Running, LaunchError> {
    launcher().prepare(spec, sockets, session()).await?.go().await
}

pub(crate) fn listener(name: &str) -> (TcpListener, PassedSocket) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = listener.try_clone().unwrap().into();
    (listener, PassedSocket { name: name.into(), socket })
}

pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, future).await.unwrap_or_else(|_| panic!("{what}: not within {SOON:?}"))
}

pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    within(what, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

pub(crate) fn is_root() -> bool {
    nix::unistd::Uid::effective().is_root()
}

/// Both drivers, the cgroup one only where this machine lets us; ends what it started and removes its cgroups.
pub(crate) struct Drivers {
    pub(crate) all: Vec<Containment>,
    root: String,
}

static ROOTS: AtomicU32 = AtomicU32::new(0);

impl Drivers {
    pub(crate) fn here() -> Self {
        let number = ROOTS.fetch_add(1, Ordering::Relaxed);
        let root = format!("handover-test-{}-{number}", std::process::id());
        let detected = Containment::detect(&root);
        if let Containment::ProcessGroup { why } = &detected {
            Lack::Cgroups.skips(&format!("the cgroup driver ({why})"));
            return Self { all: vec![detected], root };
        }
        Self { all: vec![detected, Containment::process_groups("a test")], root }
    }

    pub(crate) fn cgroups(&self) -> Option<&Containment> {
        self.all.iter().find(|driver| matches!(driver, Containment::Cgroup(_)))
    }
}

impl Drop for Drivers {
    fn drop(&mut self) {
        let Some(driver) = self.cgroups() else { return };
        let mut root = None;
        for instance in driver.instances().unwrap_or_default() {
            if let Some(group) = driver.leftover(&instance) {
                if let GroupRecord::Cgroup { path } = group.record() {
                    let _ = fs::write(path.join("cgroup.kill"), "1");
                    root = path.parent().map(Path::to_owned);
                }
                for _ in 0..200 {
                    if group.remove().is_ok() {
                        break;
                    }
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        }
        // Without any instance left the root's path is only known by its name.
        let root = root.or_else(|| find_root(&self.root));
        if let Some(root) = root {
            let _ = fs::remove_dir(root);
        }
    }
}

fn find_root(name: &str) -> Option<PathBuf> {
    ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
        .iter()
        .map(|mount| Path::new(mount).join(name))
        .find(|p| p.is_dir())
}

/// Ends everything of a test's instance.
pub(crate) async fn end(group: &Group) {
    group.kill(SOON).await.unwrap();
    let _ = group.remove();
}
