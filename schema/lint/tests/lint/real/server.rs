//! A PostgreSQL of the tests' own: a socket in a folder of its own, no port, gone with the test.

use handover_skips::Lack;
use std::{
    fs,
    io::Write as _,
    os::unix::{fs::chown, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// A user that is not root: the server refuses to run as root.
const NOBODY: u32 = 65534;
/// The server ends by itself after that, also where a test was killed.
const LONGEST: &str = "600";
/// Until it answers.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Server {
    folder: tempfile::TempDir,
    programs: PathBuf,
    child: Child,
}

impl Server {
    /// Started and answering; `None` where there is none on this machine.
    pub(crate) fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            Lack::Program { name: "postgres", package: "postgresql" }.skips("what a real PostgreSQL says");
            return None;
        };
        // Its path goes into the name of a socket, which has to be short.
        let folder = tempfile::Builder::new().prefix("lint").tempdir_in("/tmp").unwrap();
        let is_root =
            fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
        let user = is_root.then_some(NOBODY);
        chown(folder.path(), user, user).unwrap();
        let data = folder.path().join("data");
        let mut made = as_user(&programs.join("initdb"), user, folder.path());
        made.args(["-U", "postgres", "--auth=trust", "--no-sync", "-D"]).arg(&data);
        let made = made.output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let mut server = as_user(Path::new("timeout"), user, folder.path());
        server.args(["--signal=QUIT", LONGEST]).arg(programs.join("postgres")).arg("-D").arg(&data);
        server.arg("-k").arg(folder.path()).args(["-c", "listen_addresses=", "-c", "fsync=off"]);
        let child = server.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let server = Self { folder, programs, child };
        let began = Instant::now();
        while server.run("postgres", "SELECT 1").is_err() {
            assert!(
                began.elapsed() < PATIENCE,
                "{}",
                fs::read_to_string(server.folder.path().join("log")).unwrap()
            );
            thread::sleep(Duration::from_millis(20));
        }
        Some(server)
    }

    /// What it says to a text of SQL, each statement in a transaction of its own; what it has against it otherwise.
    pub(crate) fn run(&self, database: &str, sql: &str) -> Result<String, String> {
        self.psql(&["-d", database], sql)
    }

    /// The same with all of it in one transaction.
    pub(crate) fn run_in_one(&self, database: &str, sql: &str) -> Result<String, String> {
        self.psql(&["-1", "-d", database], sql)
    }

    fn psql(&self, options: &[&str], sql: &str) -> Result<String, String> {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args(["-X", "-qAt", "-U", "postgres", "-v", "ON_ERROR_STOP=1", "-h"]).arg(self.folder.path());
        psql.args(options).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = psql.spawn().unwrap();
        // It may end before it has read everything.
        let _ = child.stdin.take().unwrap().write_all(sql.as_bytes());
        let output = child.wait_with_output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Timeout hands the signal on, and the server ends at once on it.
        let _ = Command::new("kill").args(["-QUIT", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}

fn as_user(program: &Path, user: Option<u32>, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).stdin(Stdio::null());
    if let Some(user) = user {
        command.uid(user).gid(user);
    }
    command
}

/// Where Debian keeps the newest version's programs.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let all = versions.filter_map(|entry| Some(entry.ok()?.path().join("bin")));
    all.filter(|folder| folder.join("postgres").exists()).max()
}
