//! The program, run in a folder of its own and with nothing of this process's environment.

use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// Longest time that any of these commands may take, on a machine that compiles at the same time.
const DEADLINE: Duration = Duration::from_secs(20);

/// A folder in which the program runs; also its home.
#[derive(Debug)]
pub(crate) struct Here {
    folder: tempfile::TempDir,
    environment: Vec<(String, String)>,
}

/// How the program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Here {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), environment: Vec::new() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file, with the folders that it needs.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        self
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// With one environment variable more.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs the program to its end; one that does not end in time fails the test.
    #[track_caller]
    pub(crate) fn run(&self, args: &[&str]) -> Ended {
        self.run_with(args, Stdio::null())
    }

    /// The same with this file as standard input.
    #[track_caller]
    pub(crate) fn run_fed(&self, args: &[&str], name: &str) -> Ended {
        self.run_with(args, File::open(self.path(name)).unwrap().into())
    }

    #[track_caller]
    fn run_with(&self, args: &[&str], stdin: Stdio) -> Ended {
        let mut child = Command::new(env!("CARGO_BIN_EXE_handover"))
            .args(args)
            .current_dir(self.folder.path())
            .env_clear()
            .env("HOME", self.folder.path())
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let read = |mut from: Box<dyn std::io::Read + Send>| {
            std::thread::spawn(move || {
                let mut text = String::new();
                from.read_to_string(&mut text).unwrap();
                text
            })
        };
        let stdout = read(Box::new(child.stdout.take().unwrap()));
        let stderr = read(Box::new(child.stderr.take().unwrap()));
        let end = Instant::now() + DEADLINE;
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > end {
                child.kill().unwrap();
                panic!("`handover {}` did not end", args.join(" "));
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let code = status.code().unwrap_or(-1);
        Ended { code, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() }
    }
}

impl Ended {
    /// Fails the test where it ended otherwise.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {}\n{}", self.stdout, self.stderr))
    }
}

/// Compares with a file of this folder's `snapshots`; `HANDOVER_WRITE_SNAPSHOTS=1` writes it anew.
#[track_caller]
pub(crate) fn is_as_in(name: &str, text: &str) {
    is_as_in_file(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/snapshots").join(name), text);
}

/// Compares with a file; `HANDOVER_WRITE_SNAPSHOTS=1` writes it anew.
#[track_caller]
pub(crate) fn is_as_in_file(path: &Path, text: &str) {
    if std::env::var_os("HANDOVER_WRITE_SNAPSHOTS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        text == expected,
        "{} is not up to date; look at the difference, then run this test with HANDOVER_WRITE_SNAPSHOTS=1.\n\
         --- now:\n{text}\n--- there:\n{expected}",
        path.display()
    );
}
