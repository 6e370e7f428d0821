//! The demo's processes: started from the programs beside this one, ended in any case.

use super::Act;
use crate::cli::{error::CliError, exit};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

/// Longest wait for the server and for the hosts.
const UP: Duration = Duration::from_secs(60);
/// How often a condition is looked at.
const STEP: Duration = Duration::from_millis(50);
/// The hosts, and the zone each is in.
const HOSTS: [(&str, &str); 3] = [("demo-a", "north"), ("demo-b", "south"), ("demo-c", "south")];
/// The address of the first; loopback, and not the 127.77.0.0/24 of the gates' pins.
const FIRST_ADDRESS: u8 = 11;
const PORT: u16 = 18080;

/// A server with three agents, in a temporary folder.
#[derive(Debug)]
pub(super) struct Fleet {
    programs: PathBuf,
    folder: tempfile::TempDir,
    server: Child,
    agents: Vec<Child>,
}

fn system(what: &str) -> impl Fn(std::io::Error) -> CliError + '_ {
    move |source| CliError::System { what: what.to_owned(), source }
}

impl Fleet {
    /// Starts the server and waits until it answers.
    pub(super) async fn start(programs: &Path) -> Result<Self, CliError> {
        for program in ["handover", "handover-agent", "sample-service", "load"] {
            let path = programs.join(program);
            if !path.is_file() {
                let problem = "is missing; `cargo build --workspace --bins` builds it".to_owned();
                return Err(CliError::File { path, problem });
            }
        }
        let folder =
            tempfile::Builder::new().prefix("handover-demo-").tempdir().map_err(system("make a folder"))?;
        println!("everything of this demo is in {}", folder.path().display());
        let socket = folder.path().join("handover.sock");
        // Not the one of a server that is installed on this machine.
        let config = folder.path().join("server.toml");
        fs::write(&config, "").map_err(system("write the server's configuration"))?;
        let server = start(
            &programs.join("handover"),
            &folder.path().join("server.log"),
            &[
                "server",
                "--data",
                &folder.path().join("server").display().to_string(),
                "--listen",
                "127.0.0.1:0",
                "--unix",
                &socket.display().to_string(),
                "--config",
                &config.display().to_string(),
            ],
        )?;
        let fleet = Self { programs: programs.to_owned(), folder, server, agents: Vec::new() };
        let log = fleet.folder.path().join("server.log");
        until("the server to be ready", || {
            fs::read_to_string(&log).is_ok_and(|log| log.contains("server ready"))
        })
        .await?;
        Ok(fleet)
    }

    /// A program of the demo's folder.
    pub(super) fn program(&self, name: &str) -> Command {
        Command::new(self.programs.join(name))
    }

    /// Where the hosts' services listen.
    pub(super) fn addresses(&self) -> Vec<String> {
        (0..HOSTS.len()).map(|host| format!("{}:{PORT}", address(host))).collect()
    }

    /// Runs `handover` as an operator does, its output on this terminal.
    pub(super) async fn handover(&self, words: &[&str]) -> Result<exit::Exit, CliError> {
        println!("$ handover {}", words.join(" "));
        let status = self.command(words).status().await.map_err(system("run handover"))?;
        Ok(exit::of_process(status))
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.program("handover");
        command.args(words).env("HANDOVER_SOCKET", self.folder.path().join("handover.sock"));
        command
    }

    /// Joins the hosts, starts their agents and waits until they are online.
    pub(super) async fn join_hosts(&mut self) -> Result<(), CliError> {
        let address = self.server_address()?;
        for (number, (host, zone)) in HOSTS.into_iter().enumerate() {
            let token = self.output(&["token", "create", "--address", &address]).await?;
            let folder = self.folder.path().join(host);
            let config = folder.join("agent.toml").display().to_string();
            let joined = self
                .program("handover-agent")
                .args(["join", "--name", host, "--address", &super::fleet::address(number)])
                .args(["--label", &format!("zone={zone}"), "--config", &config])
                .arg("--state")
                .arg(folder.join("state"))
                .arg("--runtime")
                .arg(folder.join("run"))
                .arg("--logs")
                .arg(folder.join("log"))
                .env("HANDOVER_TOKEN", token.trim())
                .status()
                .await
                .map_err(system("run handover-agent"))?;
            if !joined.success() {
                return Err(CliError::Failed(format!("host {host} could not join")));
            }
            let agent = start(
                &self.programs.join("handover-agent"),
                &folder.join("agent.log"),
                &["run", "--config", &config],
            )?;
            self.agents.push(agent);
        }
        let began = Instant::now();
        loop {
            let hosts = self.output(&["hosts", "--json"]).await?;
            if hosts.matches("\"online\":true").count() == HOSTS.len() {
                return Ok(());
            }
            if began.elapsed() > UP {
                return Err(CliError::Failed(format!("the hosts are not online after {UP:?}")));
            }
            sleep(STEP).await;
        }
    }

    fn server_address(&self) -> Result<String, CliError> {
        let log = fs::read_to_string(self.folder.path().join("server.log"))
            .map_err(system("read the server's log"))?;
        let found = log.split("TLS on ").nth(1).and_then(|rest| rest.split([',', ' ', '\n']).next());
        found
            .map(str::to_owned)
            .ok_or_else(|| CliError::Failed("the server does not say where it listens".to_owned()))
    }

    async fn output(&self, words: &[&str]) -> Result<String, CliError> {
        let output = self.command(words).output().await.map_err(system("run handover"))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(CliError::Failed(format!(
            "handover {}: {}",
            words.join(" "),
            String::from_utf8_lossy(&output.stderr)
        )))
    }

    /// Makes and pushes a release of the sample service.
    pub(super) async fn push(&self, act: &Act) -> Result<(), CliError> {
        let version = act.version;
        let folder = self.folder.path().join(format!("web-{version}"));
        let make = || -> std::io::Result<()> {
            fs::create_dir_all(folder.join("bin"))?;
            fs::copy(self.programs.join("sample-service"), folder.join("bin/web"))?;
            fs::set_permissions(folder.join("bin/web"), fs::Permissions::from_mode(0o755))?;
            fs::write(folder.join("handover.toml"), manifest(act))
        };
        make().map_err(system("make a release"))?;
        let pushed =
            self.handover(&["release", "push", &folder.display().to_string(), "--version", version]).await?;
        if pushed == exit::DONE {
            Ok(())
        } else {
            Err(CliError::Failed(format!("release {version} was refused")))
        }
    }

    /// Ends everything: agents first, then what they ran, then the server.
    pub(super) async fn end(mut self) {
        for agent in &mut self.agents {
            // One that has ended already is ended.
            let _ = agent.kill().await;
        }
        for (host, _) in HOSTS {
            let config = self.folder.path().join(host).join("agent.toml");
            if config.exists() {
                let stop = self
                    .program("handover-agent")
                    .arg("stop")
                    .arg("--config")
                    .arg(config)
                    .stdout(Stdio::null())
                    .status();
                if timeout(UP, stop).await.is_err() {
                    eprintln!("host {host}: what it runs did not end within {UP:?}");
                }
            }
        }
        let _ = self.server.kill().await;
    }
}

fn address(host: usize) -> String {
    format!("127.66.{}.1", usize::from(FIRST_ADDRESS) + host)
}

fn manifest(act: &Act) -> String {
    let Act { version, flags, rollout, .. } = act;
    let flags: String = flags.split_whitespace().map(|flag| format!(", \"{flag}\"")).collect();
    format!(
        r#"service = "web"
command = ["bin/web", "--version", "{version}"{flags}]

[listeners]
http = "{{host.address}}:{PORT}"

[readiness]
kind = "http"
path = "/ready"
interval = "50ms"
deadline = "5s"

[liveness]
kind = "http"
path = "/live"

[drain]
deadline = "20s"

[logs]
to = "files"

[rollout]
{rollout}

[metrics]
interval = "1s"
timeout = "1s"

[judge]
block = "1s"
"#
    )
}

fn start(program: &Path, log: &Path, words: &[&str]) -> Result<Child, CliError> {
    let log = fs::File::create(log).map_err(system("make a log file"))?;
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true);
    command
        .spawn()
        .map_err(|source| CliError::System { what: format!("start {}", program.display()), source })
}

async fn until(what: &str, condition: impl Fn() -> bool) -> Result<(), CliError> {
    let began = Instant::now();
    while !condition() {
        if began.elapsed() > UP {
            return Err(CliError::Failed(format!("waited {UP:?} for {what}")));
        }
        sleep(STEP).await;
    }
    Ok(())
}
