//! A real Prometheus server of the test's own, never the distribution's service.

use super::{Fleet, UP};
use crate::{
    http,
    process::{Running, wait_until},
};
use handover_skips::Lack;
use std::{
    fmt::Write as _,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::{Command, Stdio},
};

/// The program, and the package that brings it.
const PROGRAM: &str = "/usr/bin/prometheus";

/// A Prometheus server on a loopback port of its own, which it keeps.
#[derive(Debug)]
pub struct Prometheus {
    address: SocketAddr,
    process: Option<Running>,
}

impl Prometheus {
    /// One that does not run yet; `None` where this machine has none, which is said.
    #[must_use]
    pub fn here(test: &str) -> Option<Self> {
        if !Path::new(PROGRAM).exists() {
            Lack::Program { name: PROGRAM, package: "prometheus" }.skips(test);
            return None;
        }
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        Some(Self { address, process: None })
    }

    /// Where it is asked.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Starts it. Every second it scrapes, on each host, the port on which each release tells its metrics.
    pub fn scrape(&mut self, fleet: &Fleet, ports: &[(&str, u16)]) {
        let mut config =
            "global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n- job_name: web\n  static_configs:\n"
                .to_owned();
        for agent in &fleet.agents {
            for (version, port) in ports {
                let labels = format!("{{host: {:?}, version: {version:?}}}", agent.host);
                // Writing to a text cannot fail.
                let _ = writeln!(config, "  - {{targets: [\"{}:{port}\"], labels: {labels}}}", agent.address);
            }
        }
        let file = fleet.path("prometheus.yml");
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new(PROGRAM);
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", fleet.path("prometheus").display()))
            .arg(format!("--web.listen-address={}", self.address))
            .env_clear()
            .stdin(Stdio::null());
        self.process = Some(Running::start_command(fleet.folder.path(), "prometheus", command));
        wait_until(UP, "Prometheus to be ready", || {
            http::get(self.address, "/-/ready").is_ok_and(|answer| answer.status == 200)
        });
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }
}
