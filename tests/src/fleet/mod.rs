//! A fleet on this machine, of real processes: the server, agents with a loopback address each, the command line.
//!
//! What it starts it ends: the server and the agents by their handles, the instances, which outlive agents on
//! purpose, by what the agents' journals say of them.

mod agent;
mod cli;
mod deploying;
mod release;
mod server;
mod traffic;

pub use agent::Agent;
pub use cli::{Cli, Done};
pub use deploying::Deploying;
pub use release::Sample;
pub use server::{Server, without_settings};
pub use traffic::{Seen, Traffic};

use crate::{
    http,
    process::{Running, wait_until},
};
use handover_model::Timestamp;
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

/// Longest wait for a process to be up, on a machine that compiles at the same time.
pub const UP: Duration = Duration::from_secs(30);

/// A server with agents.
#[derive(Debug)]
pub struct Fleet {
    /// The server; it can be killed and started again.
    pub server: Server,
    /// The agents; each can be killed and started again.
    pub agents: Vec<Agent>,
    /// Everything's folder.
    pub folder: tempfile::TempDir,
    /// Names this fleet's hosts, since cgroups are named after them.
    name: String,
    block: (u8, u8),
    port: u16,
}

/// Where a daemon says that it tells its metrics and health, in the line that says that it is ready.
fn metrics_address(log: &str) -> SocketAddr {
    let (_, rest) = log.split_once(", metrics on ").expect("the daemon is not ready or tells no metrics");
    rest.lines().next().unwrap().parse().unwrap()
}

static FLEETS: AtomicU16 = AtomicU16::new(0);

impl Fleet {
    /// A server and `hosts` agents that have joined and are online. Their labels: `zone=a`, `zone=b`, in turn.
    #[must_use]
    pub fn of(hosts: usize) -> Self {
        let mut fleet = Self::with_server();
        for _ in 0..hosts {
            fleet.add_host();
        }
        fleet.online(hosts);
        fleet
    }

    /// A server without agents.
    #[must_use]
    pub fn with_server() -> Self {
        Self::with_server_and(&[])
    }

    /// A server with more arguments, without agents.
    #[must_use]
    pub fn with_server_and(arguments: &[&str]) -> Self {
        Self::in_folder_and(tempfile::Builder::new().prefix("handover-").tempdir().unwrap(), arguments)
    }

    /// A server without agents, in a folder that the test has prepared: its data lies in `server`.
    #[must_use]
    pub fn in_folder(folder: tempfile::TempDir) -> Self {
        Self::in_folder_and(folder, &[])
    }

    fn in_folder_and(folder: tempfile::TempDir, arguments: &[&str]) -> Self {
        let number = FLEETS.fetch_add(1, Ordering::Relaxed);
        let process = u16::try_from(std::process::id() % 30_000).unwrap();
        let name = format!("t{process}-{number}");
        // 127.77 is the gate's own; the rest of 127.2 to 127.76 is free for tests.
        let spread = usize::from(process) + usize::from(number) * 7919;
        let block = (u8::try_from(2 + spread % 75).unwrap(), u8::try_from(1 + spread / 75 % 250).unwrap());
        let server = Server::start(folder.path(), arguments);
        Self { server, agents: Vec::new(), folder, name, block, port: 8080 }
    }

    /// The command line, on the server's socket.
    #[must_use]
    pub fn cli(&self) -> Cli {
        Cli::on(self.server.socket())
    }

    /// One host more, joined and running; not waited for.
    pub fn add_host(&mut self) -> &mut Agent {
        let number = self.agents.len();
        let letter = char::from(b'a' + u8::try_from(number).unwrap());
        let host = format!("{}-{letter}", self.name);
        let address = Ipv4Addr::new(127, self.block.0, self.block.1, u8::try_from(number + 1).unwrap());
        let zone = if number.is_multiple_of(2) { "zone=a" } else { "zone=b" };
        let token = self.cli().run(["token", "create", "--address", &self.server.address()]).expect(0).stdout;
        let folder = self.folder.path().join(format!("host-{letter}"));
        let agent = Agent::join(&host, address, &folder, token.trim(), zone);
        self.agents.push(agent);
        self.agents.last_mut().unwrap()
    }

    /// Waits until so many hosts are online.
    pub fn online(&self, hosts: usize) {
        wait_until(UP, &format!("{hosts} hosts to be online"), || {
            let listed = self.cli().run(["hosts", "list", "--json"]);
            listed.json().iter().filter(|host| host["online"] == true).count() >= hosts
        });
    }

    /// Where the service of a host listens.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.agents.iter().map(|agent| SocketAddr::new(agent.address.into(), self.port)).collect()
    }

    /// Pushes a release of the sample service.
    pub fn push(&self, sample: &Sample) {
        let folder = self.folder.path().join(format!("release-{}", sample.version));
        sample.write(&folder);
        self.cli().run(["release", "push", folder.to_str().unwrap(), "--version", &sample.version]).expect(0);
    }

    /// Deploys and waits for the end.
    #[must_use]
    pub fn deploy(&self, version: &str) -> Done {
        self.cli().run(["deploy", "web", "--version", version, "--yes", "--json"])
    }

    /// Begins to deploy and returns while it goes on.
    #[must_use]
    pub fn begin(&self, version: &str) -> Deploying {
        let name = format!("deploy-{version}");
        self.begin_with(&name, &["deploy", "web", "--version", version, "--yes", "--json"])
    }

    /// Begins whatever shows snapshots of a deployment, and returns while it goes on. `name` names its output.
    #[must_use]
    pub fn begin_with(&self, name: &str, args: &[&str]) -> Deploying {
        let command = self.cli().command(args);
        Deploying::of(Running::start_command(self.folder.path(), name, command))
    }

    /// Waits until a host is offline.
    pub fn offline(&self, host: usize) {
        let name = &self.agents[host].host;
        wait_until(UP, &format!("{name} to be offline"), || {
            let listed = self.cli().run(["hosts", "show", name, "--json"]);
            listed.last()["online"] == false
        });
    }

    /// Waits until these versions answer, host by host.
    pub fn until_versions(&self, versions: &[&str]) {
        wait_until(UP, &format!("{versions:?} to answer"), || self.versions() == versions);
    }

    /// Waits until a version answers at a host.
    pub fn until_version(&self, host: usize, version: &str) {
        wait_until(UP, &format!("{version} to answer"), || http::version(self.addresses()[host]) == version);
    }

    /// Waits until so many requests run at a host.
    pub fn until_requests(&self, host: usize, count: u64) {
        wait_until(UP, &format!("{count} requests to run"), || {
            let stats = http::get(self.addresses()[host], "/stats").unwrap();
            let stats: serde_json::Value = serde_json::from_str(&stats.body).unwrap();
            // The one that asks is among them.
            stats["connections"].as_u64().unwrap() > count
        });
    }

    /// Since when a version is ready on a host, as its agent says.
    #[must_use]
    pub fn ready_since(&self, host: &str, version: &str) -> Timestamp {
        let shown = self.cli().run(["hosts", "show", host, "--json"]).last();
        let instances = shown["instances"].as_array().unwrap();
        let ready = instances.iter().find(|i| i["version"] == version && i["phase"] == "ready").unwrap();
        Timestamp::from_unix_millis(ready["since"].as_u64().unwrap())
    }

    /// Fails the test where a host runs anything but one instance, or has a process more than that one's.
    pub fn one_instance_each(&self, point: usize) {
        for agent in &self.agents {
            let (pids, processes) = (agent.pids(), agent.processes());
            assert_eq!(pids.len(), 1, "point {point}: {} runs {:?}", agent.host, agent.instances());
            assert_eq!(processes, pids, "point {point}: {} has an orphan", agent.host);
        }
    }

    /// A port that nothing listens on, the same for all hosts.
    #[must_use]
    pub fn free_port(&self) -> u16 {
        std::net::TcpListener::bind("[::1]:0").unwrap().local_addr().unwrap().port()
    }

    /// The main processes on each host, in the order of their numbers.
    #[must_use]
    pub fn pids(&self) -> Vec<Vec<i32>> {
        let of_host = |agent: &Agent| {
            let mut pids = agent.pids();
            pids.sort_unstable();
            pids
        };
        self.agents.iter().map(of_host).collect()
    }

    /// The versions that answer at each host's address, one request each.
    #[must_use]
    pub fn versions(&self) -> Vec<String> {
        self.addresses().into_iter().map(http::version).collect()
    }

    /// The path of a file of this fleet.
    #[must_use]
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }
}
