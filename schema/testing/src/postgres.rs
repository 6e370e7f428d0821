//! PostgreSQL from Debian's package.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use handover_skips::Lack;
use nix::sys::signal::Signal;
use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use tempfile::TempDir;

use crate::process::{Server, as_user, free_port, give, wait_for};
use crate::questions::{execute, value};

const USER: &str = "postgres";
const LACK: Lack = Lack::Program { name: "postgres", package: "postgresql" };

/// What a server has beyond the usual.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Lines of its configuration.
    pub settings: Vec<String>,
    /// All of its `pg_hba.conf`; without it everybody on the socket is let in.
    pub access: Option<String>,
    /// Whether it listens on 127.0.0.1 as well.
    pub tcp: bool,
    /// Files in its folder, readable by it only: a certificate, a key.
    pub files: Vec<(String, String)>,
}

/// A PostgreSQL of the test's own. The user is `postgres`, so is the database.
pub struct Postgres {
    folder: TempDir,
    programs: PathBuf,
    server: Server,
    port: u16,
}

impl Postgres {
    /// Starts one. None: the package is missing, and the test says that it is skipped.
    pub fn start(what: &str) -> Option<Self> {
        Self::start_with(what, &Setup::default())
    }

    /// Starts one that has more than the usual.
    pub fn start_with(what: &str, setup: &Setup) -> Option<Self> {
        let Some(programs) = programs() else {
            LACK.skips(what);
            return None;
        };
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("the folder is ours");
        let data = folder.path().join("data");
        fs::create_dir(&data).expect("a folder for the data");
        fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).expect("the folder is ours");
        give(&data, USER);
        let made = as_user(USER, &programs.join("initdb"))
            .args([
                "--no-sync",
                "--auth=trust",
                "--username=postgres",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "-D",
            ])
            .arg(&data)
            .output()
            .expect("initdb runs");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        for (name, content) in &setup.files {
            let path = data.join(name);
            fs::write(&path, content).expect("the file can be written");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("the file is ours");
            give(&path, USER);
        }
        if let Some(access) = &setup.access {
            fs::write(data.join("pg_hba.conf"), access).expect("the file can be written");
        }
        let sockets = folder.path().join("s");
        fs::create_dir(&sockets).expect("a folder for the socket");
        give(&sockets, USER);
        let port = if setup.tcp { free_port() } else { 5432 };
        let mut settings = vec![
            format!("unix_socket_directories = '{}'", sockets.display()),
            format!("listen_addresses = '{}'", if setup.tcp { "127.0.0.1" } else { "" }),
            format!("port = {port}"),
            "shared_buffers = 16MB".to_owned(),
            "max_connections = 40".to_owned(),
        ];
        settings.extend(setup.settings.iter().cloned());
        settings.push(String::new());
        let file = data.join("postgresql.conf");
        let before = fs::read_to_string(&file).expect("initdb wrote it");
        fs::write(&file, format!("{before}\n{}", settings.join("\n"))).expect("the file can be written");
        let server = Server::start(command(&programs, &data), &folder.path().join("log"));
        let mut postgres = Self { folder, programs, server, port };
        postgres.wait();
        Some(postgres)
    }

    fn wait(&mut self) {
        let (sockets, port, log) = (self.sockets(), self.port.to_string(), self.folder.path().join("log"));
        let program = self.programs.join("pg_isready");
        wait_for("PostgreSQL", &log, || {
            assert!(
                self.server.is_running(),
                "PostgreSQL ended: {}",
                fs::read_to_string(&log).unwrap_or_default()
            );
            let mut ask = Command::new(&program);
            ask.args(["-q", "-U", "postgres", "-p", &port, "-h"]).arg(&sockets);
            ask.status().is_ok_and(|status| status.success())
        });
    }

    /// The folder of its socket.
    pub fn sockets(&self) -> PathBuf {
        self.folder.path().join("s")
    }

    /// One of the programs that come with it.
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// The port of its socket's name, and of TCP where it has that.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address of its database for `user`.
    pub fn address(&self, user: &str) -> String {
        format!("postgres://{user}@localhost:{}/postgres?host={}", self.port, self.sockets().display())
    }

    /// What it wrote to its log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// A connection as its superuser.
    pub async fn connect(&self) -> PgConnection {
        let options = PgConnectOptions::new_without_pgpass()
            .socket(self.sockets())
            .port(self.port)
            .username("postgres")
            .database("postgres");
        options
            .application_name("test")
            .disable_statement_logging()
            .connect()
            .await
            .expect("PostgreSQL lets its superuser in")
    }

    /// Runs statements as its superuser.
    pub async fn run(&self, sql: &str) {
        execute(self.connect().await, sql).await;
    }

    /// One number, asked for as its superuser.
    pub async fn number(&self, sql: &str) -> i64 {
        value(self.connect().await, sql).await
    }

    /// One text, asked for as its superuser.
    pub async fn text(&self, sql: &str) -> String {
        value(self.connect().await, sql).await
    }

    /// A replica of it that applies what it gets only after `delay`.
    pub fn replica(&self, delay: Duration) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("the folder is ours");
        give(folder.path(), USER);
        let (data, log) = (folder.path().join("data"), folder.path().join("log"));
        let copied = as_user(USER, &self.programs.join("pg_basebackup"))
            .args([
                "-U",
                "postgres",
                "--no-sync",
                "--write-recovery-conf",
                "--checkpoint=fast",
                "-p",
                &self.port.to_string(),
                "-h",
            ])
            .arg(self.sockets())
            .arg("-D")
            .arg(&data)
            .output()
            .expect("pg_basebackup runs");
        assert!(copied.status.success(), "pg_basebackup: {}", String::from_utf8_lossy(&copied.stderr));
        let sockets = folder.path().join("s");
        fs::create_dir(&sockets).expect("a folder for the socket");
        give(&sockets, USER);
        let port = self.port;
        let settings = format!(
            "\nunix_socket_directories = '{}'\nrecovery_min_apply_delay = {}\n",
            sockets.display(),
            delay.as_millis()
        );
        let mut file =
            fs::OpenOptions::new().append(true).open(data.join("postgresql.conf")).expect("it was copied");
        file.write_all(settings.as_bytes()).expect("the file can be written");
        let server = Server::start(command(&self.programs, &data), &log);
        let mut replica = Self { folder, programs: self.programs.clone(), server, port };
        replica.wait();
        replica
    }

    /// kill -9 of all its processes, as a power cut would.
    pub fn kill(&mut self) {
        self.server.kill();
    }

    /// Starts it again on the same files.
    pub fn restart(&mut self) {
        self.server.kill();
        self.server = Server::start(
            command(&self.programs, &self.folder.path().join("data")),
            &self.folder.path().join("log"),
        );
        self.wait();
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Fast shutdown: whoever is connected is thrown out.
        self.server.stop(Signal::SIGINT);
    }
}

fn command(programs: &Path, data: &Path) -> Command {
    let mut command = as_user(USER, &programs.join("postgres"));
    command.arg("-D").arg(data);
    command
}

/// The newest version that is installed.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let number = |path: &Path| {
        path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse::<u32>().ok())
    };
    let newest = versions.filter_map(|entry| Some(entry.ok()?.path())).max_by_key(|path| number(path))?;
    Some(newest.join("bin")).filter(|folder| folder.join("initdb").exists())
}
