//! MariaDB from Debian's package, for what goes by the name of MySQL; or MySQL itself, where somebody brings one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use handover_skips::Lack;
use nix::sys::signal::Signal;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlSslMode};
use sqlx::{ConnectOptions, Executor};
use tempfile::TempDir;

use crate::process::{Server, as_user, free_port, give, wait_for};
use crate::questions::{execute, value};

const USER: &str = "mysql";
const PROGRAM: &str = "/usr/sbin/mariadbd";
const LACK: Lack = Lack::Program { name: PROGRAM, package: "mariadb-server" };

/// Names a `mysqld` of MySQL that is used instead: `make mysql` brings one.
const MYSQLD: &str = "HANDOVER_TEST_MYSQLD";

/// A MariaDB of the test's own. The user is `root`, the database `shop`.
pub struct MariaDb {
    folder: TempDir,
    server: Server,
    port: Option<u16>,
    program: Program,
}

/// Which server it is.
#[derive(Clone, Debug)]
enum Program {
    MariaDb,
    /// MySQL, at this path.
    MySql(PathBuf),
}

impl Program {
    fn found() -> Self {
        std::env::var_os(MYSQLD).map_or(Self::MariaDb, |path| Self::MySql(path.into()))
    }

    fn path(&self) -> &Path {
        match self {
            Self::MariaDb => Path::new(PROGRAM),
            Self::MySql(path) => path,
        }
    }

    /// Makes the data of a new one, which root may use without a password.
    fn install(&self) -> Command {
        match self {
            Self::MariaDb => {
                let mut command = as_user(USER, Path::new("/usr/bin/mariadb-install-db"));
                command.args([
                    "--no-defaults",
                    "--auth-root-authentication-method=normal",
                    "--skip-test-db",
                    "--skip-name-resolve",
                ]);
                command
            }
            Self::MySql(path) => {
                let mut command = as_user(USER, path);
                command.args(["--no-defaults", "--initialize-insecure"]);
                command
            }
        }
    }

    fn serve(&self, folder: &Path, port: Option<u16>) -> Command {
        let mut command = with_own_temporaries(as_user(USER, self.path()), folder);
        command
            .args(["--no-defaults", "--innodb-buffer-pool-size=16M", "--skip-name-resolve"])
            .arg(format!("--datadir={}", folder.join("data").display()))
            .arg(format!("--socket={}", folder.join("run/socket").display()))
            .arg(format!("--pid-file={}", folder.join("run/pid").display()));
        if let Self::MySql(_) = self {
            // A port that nobody asks for, and a folder that only its package makes.
            command.args(["--mysqlx=OFF", "--secure-file-priv=NULL"]);
        }
        match port {
            None => command.arg("--skip-networking"),
            Some(port) => command
                .args(["--bind-address=127.0.0.1", "--require-secure-transport=on"])
                .arg(format!("--port={port}"))
                .arg(format!("--ssl-cert={}", folder.join("run/certificate").display()))
                .arg(format!("--ssl-key={}", folder.join("run/key").display())),
        };
        command
    }
}

impl MariaDb {
    /// Starts one. None: the package is missing, and the test says that it is skipped.
    pub fn start(what: &str) -> Option<Self> {
        Self::start_with(what, None)
    }

    /// Starts one that, with a certificate and its key, listens on 127.0.0.1 as well, and there only with TLS.
    pub fn start_with(what: &str, tls: Option<(&str, &str)>) -> Option<Self> {
        let program = Program::found();
        if !program.path().exists() {
            LACK.skips(what);
            return None;
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("the folder is ours");
        for name in ["data", "run", "tmp"] {
            let path = folder.path().join(name);
            fs::create_dir(&path).expect("a folder");
            give(&path, USER);
        }
        let made = with_own_temporaries(program.install(), folder.path())
            .arg(format!("--datadir={}", folder.path().join("data").display()))
            .output()
            .expect("its data can be made");
        assert!(made.status.success(), "{program:?}: {}", String::from_utf8_lossy(&made.stderr));
        let port = tls.map(|(certificate, key)| {
            for (name, content) in [("certificate", certificate), ("key", key)] {
                let path = folder.path().join("run").join(name);
                fs::write(&path, content).expect("the file can be written");
                give(&path, USER);
            }
            free_port()
        });
        let server = Server::start(program.serve(folder.path(), port), &folder.path().join("log"));
        let mut mariadb = Self { folder, server, port, program };
        mariadb.wait();
        Some(mariadb)
    }

    /// Whether it is MySQL itself.
    pub fn is_mysql(&self) -> bool {
        matches!(self.program, Program::MySql(_))
    }

    fn wait(&mut self) {
        let (socket, log) = (self.socket(), self.folder.path().join("log"));
        wait_for("MariaDB", &log, || {
            assert!(
                self.server.is_running(),
                "MariaDB ended: {}",
                fs::read_to_string(&log).unwrap_or_default()
            );
            UnixStream::connect(&socket).is_ok()
        });
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("run/socket")
    }

    /// The address of its database `shop`, once that was made.
    pub fn address(&self) -> String {
        format!("mysql://root@localhost/shop?socket={}", self.socket().display())
    }

    /// The port where it listens for TLS.
    pub fn port(&self) -> u16 {
        self.port.expect("it was started with TLS")
    }

    /// A connection as root.
    pub async fn connect(&self) -> MySqlConnection {
        let options = MySqlConnectOptions::new()
            .socket(self.socket())
            .username("root")
            .ssl_mode(MySqlSslMode::Disabled);
        let mut connection =
            options.disable_statement_logging().connect().await.expect("MariaDB lets root in");
        connection.execute("CREATE DATABASE IF NOT EXISTS shop").await.expect("a database is made");
        connection.execute("USE shop").await.expect("it can be used");
        connection
    }

    /// Runs a statement as root.
    pub async fn run(&self, sql: &str) {
        execute(self.connect().await, sql).await;
    }

    /// One number, asked for as root.
    pub async fn number(&self, sql: &str) -> i64 {
        value(self.connect().await, sql).await
    }

    /// Lets it stand still, with all that it does.
    pub fn freeze(&self) {
        self.server.signal(Signal::SIGSTOP);
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.server.signal(Signal::SIGCONT);
    }

    /// kill -9, and started again on the same files.
    pub fn crash(&mut self) {
        self.server.kill();
        let command = self.program.serve(self.folder.path(), self.port);
        self.server = Server::start(command, &self.folder.path().join("log"));
        self.wait();
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        self.server.stop(Signal::SIGTERM);
    }
}

/// A MariaDB that starts deletes what another one has in the same folder for temporary tables.
fn with_own_temporaries(mut command: Command, folder: &Path) -> Command {
    command.env("TMPDIR", folder.join("tmp"));
    command
}
