//! A fleet on this machine, of real processes: the server, agents with a loopback address each, the command line.
//!
//! What it starts it ends: the server and the agents by their handles, the instances, which outlive agents on
//! purpose, by what the agents' journals say of them.

mod agent;
mod cli;
mod release;
mod server;

pub use agent::Agent;
pub use cli::{Cli, Done};
pub use release::Sample;
pub use server::Server;

use crate::process::wait_until;
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
        let folder = tempfile::Builder::new().prefix("handover-").tempdir().unwrap();
        let number = FLEETS.fetch_add(1, Ordering::Relaxed);
        let process = u16::try_from(std::process::id() % 30_000).unwrap();
        let name = format!("t{process}-{number}");
        // 127.77 is the gate's own; the rest of 127.2 to 127.76 is free for tests.
        let spread = usize::from(process) + usize::from(number) * 7919;
        let block = (u8::try_from(2 + spread % 75).unwrap(), u8::try_from(1 + spread / 75 % 250).unwrap());
        let server = Server::start(folder.path());
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
        let zone = if number % 2 == 0 { "zone=a" } else { "zone=b" };
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

    /// The versions that answer at each host's address, one request each.
    #[must_use]
    pub fn versions(&self) -> Vec<String> {
        self.addresses().into_iter().map(|address| crate::http::version(address)).collect()
    }

    /// The path of a file of this fleet.
    #[must_use]
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }
}
