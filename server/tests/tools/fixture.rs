//! A server's folder, servers on it, and the command line.

use handover_skips::Lack;
use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Nothing in these tests takes longer.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// The store that the first servers left behind, before there was a record of its format: one host, three releases
/// of one service, four deployments (d3 rolled back, d4 a rollback), two tokens.
const LAYOUT_0: &[u8] = include_bytes!("layout-0.tar.zst");

/// A folder with the server's `data` and its socket.
pub(crate) struct Place {
    folder: TempDir,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Done {
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// The last line as JSON.
    #[track_caller]
    pub(crate) fn last(&self) -> serde_json::Value {
        serde_json::from_str(self.stdout.lines().last().expect("nothing was printed")).unwrap()
    }
}

impl Place {
    pub(crate) fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        // Not the one of a server that is installed on this machine.
        fs::write(place.path("server.toml"), "").unwrap();
        place
    }

    /// With a store of the first format.
    pub(crate) fn with_layout_0() -> Self {
        let place = Self::new();
        let archive = zstd::decode_all(LAYOUT_0).unwrap();
        tar::Archive::new(&*archive).unpack(place.data()).unwrap();
        place
    }

    /// A copy, as it is.
    pub(crate) fn copy(&self) -> Self {
        let copy = Self::new();
        copy_folder(&self.data(), &copy.data());
        copy
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// The command, to be run or wrapped.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("HANDOVER_SOCKET", self.path("sock")).env("HANDOVER_DATA", self.data());
        command.env("HANDOVER_UNIX", self.path("sock")).env("HANDOVER_LISTEN", "127.0.0.1:0");
        command.env("HANDOVER_SERVER_CONFIG", self.path("server.toml"));
        command.env("HANDOVER_FLEET", "test").stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Done {
        let output = self.command(env!("CARGO_BIN_EXE_handover")).args(args).output().unwrap();
        Done {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Starts a server; not waited for.
    pub(crate) fn start(&self) -> Server {
        let mut command = self.command(env!("CARGO_BIN_EXE_handover"));
        command.arg("server");
        Server::of(command)
    }

    /// Starts a server and waits until it answers.
    pub(crate) fn serve(&self) -> Server {
        let mut server = self.start();
        assert!(server.is_ready(), "the server did not start:\n{}", server.log());
        server
    }

    /// Starts a server that must refuse, and what it says.
    #[track_caller]
    pub(crate) fn refused(&self) -> String {
        let mut server = self.start();
        assert!(!server.is_ready(), "the server started");
        assert_eq!(server.child.wait().unwrap().code(), Some(1));
        server.log()
    }

    /// A join token that the server has confirmed: its id.
    pub(crate) fn token(&self) -> String {
        let made = self.run(&["token", "create", "--json"]).expect(0).last();
        made["id"].as_str().unwrap().to_owned()
    }

    /// The ids of all tokens, in order.
    pub(crate) fn tokens(&self) -> Vec<String> {
        let listed = self.run(&["token", "list", "--json"]).expect(0).stdout;
        let mut ids: Vec<String> = listed
            .lines()
            .map(|line| {
                serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].as_str().unwrap().into()
            })
            .collect();
        ids.sort();
        ids
    }
}

/// A server's process, or a tracer's around it.
pub(crate) struct Server {
    child: Child,
    log: Arc<Mutex<String>>,
    reader: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    pub(crate) fn of(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (stderr, written) = (BufReader::new(child.stderr.take().unwrap()), Arc::clone(&log));
        let reader = std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let mut log = written.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        Self { child, log, reader: Some(reader) }
    }

    /// The server's pid, where this is a tracer around it and has started it. A tracer has other children before.
    pub(crate) fn traced(&self) -> Option<nix::unistd::Pid> {
        let tracer = self.child.id();
        let children = fs::read_to_string(format!("/proc/{tracer}/task/{tracer}/children")).ok()?;
        let is_server = |pid: &str| {
            fs::read_link(format!("/proc/{pid}/exe"))
                .is_ok_and(|exe| exe == Path::new(env!("CARGO_BIN_EXE_handover")))
        };
        let pid = children.split_whitespace().find(|pid| is_server(pid))?;
        Some(nix::unistd::Pid::from_raw(pid.parse().ok()?))
    }

    /// What it has written to standard error.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits until it is ready, or has ended.
    pub(crate) fn is_ready(&mut self) -> bool {
        let mut ended = false;
        until("the server to be ready or to end", || {
            ended = self.child.try_wait().unwrap().is_some();
            ended || self.log().contains("handover server ready")
        });
        if ended && let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        !ended
    }

    /// SIGKILL, in the middle of whatever it does.
    pub(crate) fn kill(mut self) -> String {
        self.end();
        self.log()
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for the end of what was killed otherwise.
    pub(crate) fn wait(&mut self) {
        until("the end", || self.child.try_wait().unwrap().is_some());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

#[track_caller]
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < end, "in vain waited for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_folder(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// Every file beneath a folder with its content: nothing was changed where two of these are the same.
pub(crate) fn contents(folder: &Path) -> std::collections::BTreeMap<PathBuf, Vec<u8>> {
    let mut found = std::collections::BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(contents(&entry.path())),
            false => drop(found.insert(entry.path(), fs::read(entry.path()).unwrap())),
        }
    }
    found
}

/// Whether processes can be traced here; says so where not.
pub(crate) fn can_trace() -> bool {
    let traced = Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).output();
    let can = traced.is_ok_and(|output| output.status.success());
    if !can {
        Lack::Tracing.skips("what is synced cannot be seen");
    }
    can
}
