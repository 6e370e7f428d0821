//! An agent's process, and what it runs.

use crate::{
    clock, journald,
    process::{Running, binary},
    reboot,
};
use nix::{sys::signal::Signal, unistd::Pid};
use serde_json::Value;
use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// An agent that can be killed and started again.
#[derive(Debug)]
pub struct Agent {
    /// The host's name.
    pub host: String,
    /// The host's address.
    pub address: Ipv4Addr,
    folder: PathBuf,
    process: Option<Running>,
}

impl Agent {
    /// An agent that has not joined and does not run.
    #[must_use]
    pub fn not_joined(host: &str, address: Ipv4Addr, folder: &Path) -> Self {
        Self { host: host.to_owned(), address, folder: folder.to_owned(), process: None }
    }

    /// Joins the fleet and starts.
    #[must_use]
    pub fn join(host: &str, address: Ipv4Addr, folder: &Path, token: &str, label: &str) -> Self {
        let mut agent = Self::not_joined(host, address, folder);
        let joined = agent.join_command(token).args(["--label", label]).output().unwrap();
        assert!(joined.status.success(), "{}", String::from_utf8_lossy(&joined.stderr));
        agent.start();
        agent
    }

    /// The command with which it joins.
    #[must_use]
    pub fn join_command(&self, token: &str) -> Command {
        let mut command = Command::new(binary("handover-agent"));
        command
            .args(["join", "--token", token, "--name", &self.host, "--address", &self.address.to_string()])
            .arg("--config")
            .arg(self.folder.join("agent.toml"))
            .arg("--state")
            .arg(self.folder.join("state"))
            .arg("--runtime")
            .arg(self.runtime())
            .arg("--logs")
            .arg(self.folder.join("log"))
            .arg("--databases")
            .arg(self.databases())
            .args(["--metrics", "127.0.0.1:0"]);
        command
    }

    /// The folder of what does not outlive a boot.
    #[must_use]
    pub fn runtime(&self) -> PathBuf {
        self.folder.join("run")
    }

    /// The folder in which the host's databases are described.
    #[must_use]
    pub fn databases(&self) -> PathBuf {
        self.folder.join("databases")
    }

    /// Another agent, not started, that says it is `host` and has this one's key and certificate.
    #[must_use]
    pub fn impostor(&self, host: &str, folder: &Path) -> Self {
        let identity = folder.join("state/identity");
        fs::create_dir_all(&identity).unwrap();
        // Where a link names the generation that counts, the copy has that one's files.
        let own = self.folder.join("state/identity/current");
        for file in fs::read_dir(own).unwrap().flatten() {
            fs::copy(file.path(), identity.join(file.file_name())).unwrap();
        }
        let config = fs::read_to_string(self.folder.join("agent.toml")).unwrap();
        let config = config.replace(self.folder.to_str().unwrap(), folder.to_str().unwrap());
        fs::write(folder.join("agent.toml"), config.replace(&self.host, host)).unwrap();
        Self::not_joined(host, self.address, folder)
    }

    /// SIGKILL, in the middle of whatever it does.
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }

    /// Starts it (again).
    pub fn start(&mut self) {
        self.start_with(&[]);
    }

    /// As [`start`](Self::start), with these variables in its environment.
    pub fn start_with(&mut self, environment: &[(&str, &str)]) {
        let mut command = self.run_command();
        command.envs(environment.iter().copied());
        self.start_command(command);
    }

    /// Starts it (again) on a host that has a journald of its own, which ends with it: what it runs goes there.
    pub fn start_beside_a_journald(&mut self) {
        let command = journald::beside(&self.run_command());
        self.start_command(command);
    }

    /// Starts it (again) with a wall clock that is wrong by what stands in this file, whenever it looks.
    pub fn start_with_clock_of(&mut self, file: &Path) {
        self.start_with(&clock::followed(file));
    }

    /// Ends everything of the host at the same moment, as a power cut does.
    pub fn lose_power(&mut self) {
        self.kill();
        self.end_instances();
    }

    /// Starts it as after a boot of its machine, with this boot id.
    pub fn start_after_boot(&mut self, boot_id: &str) {
        let command = reboot::after(&self.run_command(), boot_id, &self.folder);
        self.start_command(command);
    }

    fn run_command(&self) -> Command {
        let mut command = Command::new(binary("handover-agent"));
        command.args(["run", "--config"]).arg(self.folder.join("agent.toml"));
        command
    }

    fn start_command(&mut self, mut command: Command) {
        self.kill();
        command.stdin(Stdio::null());
        self.process = Some(Running::start_command(&self.folder, "agent", command));
    }

    /// Its process id.
    ///
    /// # Panics
    /// Where it does not run.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.as_ref().unwrap().pid()
    }

    /// Where it tells its metrics and health.
    #[must_use]
    pub fn metrics(&self) -> SocketAddr {
        super::metrics_address(&self.log())
    }

    /// What its journal says of each instance.
    #[must_use]
    pub fn instances(&self) -> Vec<Value> {
        let Ok(entries) = fs::read_dir(self.folder.join("state/agent/instances")) else { return Vec::new() };
        let texts = entries.flatten().filter_map(|entry| fs::read(entry.path()).ok());
        texts.filter_map(|text| serde_json::from_slice(&text).ok()).collect()
    }

    /// The main processes of its instances.
    #[must_use]
    pub fn pids(&self) -> Vec<i32> {
        let pid = |instance: &Value| instance["life"]["running"]["process"]["pid"].as_i64();
        self.instances().iter().filter_map(pid).filter_map(|pid| i32::try_from(pid).ok()).collect()
    }

    /// All processes of its instances, children included, in order.
    #[must_use]
    pub fn processes(&self) -> Vec<i32> {
        let mut found = Vec::new();
        for instance in self.instances() {
            let running = &instance["life"]["running"];
            match running["group"]["cgroup"]["path"].as_str() {
                Some(path) => {
                    let text = fs::read_to_string(Path::new(path).join("cgroup.procs")).unwrap_or_default();
                    found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
                }
                None => {
                    found.extend(running["process"]["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()));
                }
            }
        }
        found.sort_unstable();
        found
    }

    /// Everything that it wrote to standard error since it was started last.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.as_ref().map(Running::stderr).unwrap_or_default()
    }

    fn end_instances(&self) {
        for instance in self.instances() {
            let running = &instance["life"]["running"];
            if let Some(path) = running["group"]["cgroup"]["path"].as_str() {
                let _ = fs::write(Path::new(path).join("cgroup.kill"), "1");
            } else if let Some(pid) =
                running["process"]["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok())
            {
                // Its own session, whose leader it is.
                let _ = nix::sys::signal::killpg(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.kill();
        self.end_instances();
        for mount in ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"] {
            remove_cgroups(&Path::new(mount).join(format!("handover-{}", self.host)));
        }
    }
}

/// Removes an agent's empty cgroups. What was killed just now needs a moment to be gone; one that stays does no harm.
fn remove_cgroups(root: &Path) {
    let until = Instant::now() + Duration::from_secs(2);
    while root.is_dir() && Instant::now() < until {
        for entry in fs::read_dir(root).into_iter().flatten().flatten() {
            let _ = fs::remove_dir(entry.path());
        }
        let _ = fs::remove_dir(root);
        std::thread::yield_now();
    }
}
