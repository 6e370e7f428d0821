//! A host: an agent's process with its folders, and releases for it.

use crate::{driver::Driver, program::FLAGS};
use handover_agent::config::AgentConfig;
use handover_model::{
    BundleDescriptor, HostReport, HostValues, InstanceId, InstancePhase, InstanceReport, InstanceTarget,
    Release, ReleaseRef, ServiceName, ServiceTarget, Share, Target,
};
use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU8, Ordering},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Nothing in these tests takes longer.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A drain that ends soon, so that each test does.
pub(crate) const DRAIN: &str = "[drain]\ndeadline = \"2s\"\nqueue_deadline = \"1s\"\n";
/// The listener and the probe of the service `web`.
pub(crate) const HTTP: &str = "[listeners]\nhttp = \"{host.address}:8080\"\n[readiness]\nkind = \"http\"\npath = \"/ready\"\ninterval = \"20ms\"\n";

/// A host with its server. Everything that runs on it ends with it.
pub(crate) struct Host {
    pub(crate) folder: TempDir,
    pub(crate) driver: Driver,
    pub(crate) name: String,
    pub(crate) address: Ipv4Addr,
    agent: Option<Child>,
    /// How often it was started.
    starts: usize,
    revision: u64,
    config: PathBuf,
}

static HOSTS: AtomicU8 = AtomicU8::new(1);

impl Host {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let driver = Driver::start(folder.path());
        let [low, high, ..] = std::process::id().to_le_bytes();
        let number = HOSTS.fetch_add(1, Ordering::Relaxed);
        let name = format!("heart-{}-{number}", std::process::id());
        let address = Ipv4Addr::new(127, 100 + (high & 0x7f), low, number);
        let path = |name: &str| folder.path().join(name);
        let config = AgentConfig {
            metrics: None,
            server: driver.address.to_string(),
            name: name.parse().unwrap(),
            address: address.to_string(),
            state: path("state"),
            runtime: path("run"),
            logs: path("log"),
            databases: path("databases"),
        };
        driver.enrol(&name, &config.identity());
        config.write(&path("agent.toml")).unwrap();
        let config = path("agent.toml");
        let mut host = Self { folder, driver, name, address, agent: None, starts: 0, revision: 0, config };
        host.start_agent();
        host
    }

    pub(crate) fn start_agent(&mut self) {
        self.start_agent_with(&[]);
    }

    pub(crate) fn start_agent_with(&mut self, environment: &[(&str, &str)]) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.folder.path().join("agent.log"));
        let agent = Command::new(env!("CARGO_BIN_EXE_handover-agent"))
            .args(["run", "--config"])
            .arg(&self.config)
            .env("HANDOVER_LOG", "debug,h2=info,hyper=info,rustls=info,tower=info")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stderr(log.unwrap())
            .spawn();
        self.agent = Some(agent.unwrap());
        self.starts += 1;
    }

    /// Waits until the agent that was started last has taken over. For agents that were not killed before that.
    pub(crate) async fn agent_is_ready(&self) {
        let ready = || self.log().matches("handover-agent ready: ").count() == self.starts;
        until("the agent is ready again", ready).await;
    }

    /// SIGKILL, and nothing else.
    pub(crate) fn kill_agent(&mut self) {
        let mut agent = self.agent.take().unwrap();
        agent.kill().unwrap();
        agent.wait().unwrap();
    }

    pub(crate) fn restart_agent(&mut self) {
        self.kill_agent();
        self.start_agent();
    }

    pub(crate) fn agent_pid(&self) -> u32 {
        self.agent.as_ref().unwrap().id()
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.folder.path().join("state/agent")
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("agent.log")).unwrap_or_default()
    }

    /// What an instance wrote.
    pub(crate) fn output(&self, instance: &str) -> String {
        fs::read_to_string(self.folder.path().join(format!("log/web/{instance}.log"))).unwrap_or_default()
    }

    /// A release of the program of these tests.
    pub(crate) fn release(&self, service: &str, version: &str, flags: &str, manifest: &str) -> Release {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("version"), version).unwrap();
        let mut bytes = Vec::new();
        let bundle = handover_bundle::pack(folder.path(), &mut bytes, &mut |_| {}).unwrap();
        self.driver.keep(&bundle, bytes);
        let program = std::env::current_exe().unwrap();
        let text = format!(
            "service = \"{service}\"\ncommand = [\"{}\", \"program::program\", \"--exact\", \"--ignored\", \"--nocapture\"]\n[environment]\n{FLAGS} = \"host={} version={version} {flags}\"\n[logs]\nto = \"files\"\n{manifest}",
            program.display(),
            self.name,
        );
        release_of(service, version, bundle, text)
    }

    /// Release `version` of the service `web`.
    pub(crate) fn web(&self, version: &str, flags: &str) -> Release {
        self.release("web", version, flags, &format!("{HTTP}{DRAIN}"))
    }

    /// A release of the sample service, which counts its requests; `metrics` are lines of its `[metrics]`.
    pub(crate) fn sample(&self, version: &str, flags: &str, metrics: &str) -> Release {
        let program = PathBuf::from(env!("CARGO_BIN_EXE_handover-agent")).with_file_name("sample-service");
        assert!(program.exists(), "{} is missing: cargo build --workspace --bins", program.display());
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("version"), version).unwrap();
        let mut bytes = Vec::new();
        let bundle = handover_bundle::pack(folder.path(), &mut bytes, &mut |_| {}).unwrap();
        self.driver.keep(&bundle, bytes);
        let words = ["--version", version].into_iter().chain(flags.split_whitespace());
        let words: Vec<String> = words.map(|word| format!("{word:?}")).collect();
        let text = format!(
            "service = \"web\"\ncommand = [{program:?}, {}]\n[logs]\nto = \"files\"\n{HTTP}{DRAIN}[metrics]\n{metrics}\n",
            words.join(", ")
        );
        release_of("web", version, bundle, text)
    }

    /// The next target: these instances of the releases' services.
    pub(crate) fn target(&mut self, instances: &[(&str, &Release, u32)]) -> Target {
        self.revision += 1;
        let mut services: BTreeMap<ServiceName, ServiceTarget> = BTreeMap::new();
        for (instance, release, share) in instances {
            let service = services.entry(release.name.service.clone()).or_default();
            service.instances.push(InstanceTarget {
                instance: id(instance),
                release: (*release).clone(),
                share: Share::new(*share).unwrap(),
            });
        }
        let name = self.name.parse().unwrap();
        let host = HostValues { name, address: self.address.to_string(), labels: BTreeMap::new() };
        Target {
            revision: self.revision,
            host,
            services,
            keep: std::collections::BTreeSet::new(),
            migrations: BTreeMap::new(),
        }
    }

    pub(crate) fn order(&mut self, instances: &[(&str, &Release, u32)]) {
        let target = self.target(instances);
        self.driver.offer(target);
    }

    /// Orders one instance with everything, and waits until it has it.
    pub(crate) async fn serve(&mut self, instance: &str, release: &Release) -> InstanceReport {
        self.order(&[(instance, release, 10_000)]);
        self.serves(instance).await
    }

    pub(crate) async fn serves(&self, instance: &str) -> InstanceReport {
        let serves = |report: &HostReport| {
            find(report, instance)
                .is_some_and(|i| i.phase == InstancePhase::Ready && i.share == Share::ALL && i.pid.is_some())
        };
        let report = self.driver.until(&format!("{instance} serves"), serves).await;
        find(&report, instance).unwrap().clone()
    }

    pub(crate) async fn gone(&self, instance: &str) -> InstanceReport {
        let is_gone = |report: &HostReport| {
            find(report, instance).is_some_and(|i| i.phase == InstancePhase::Exited && i.pid.is_none())
        };
        let report = self.driver.until(&format!("{instance} is gone"), is_gone).await;
        find(&report, instance).unwrap().clone()
    }

    pub(crate) async fn phase(&self, instance: &str, phase: InstancePhase) -> InstanceReport {
        let has = |report: &HostReport| find(report, instance).is_some_and(|i| i.phase == phase);
        let report = self.driver.until(&format!("{instance} is {phase:?}"), has).await;
        find(&report, instance).unwrap().clone()
    }

    pub(crate) fn socket(&self) -> SocketAddr {
        (self.address, 8080).into()
    }

    pub(crate) fn connect(&self) -> Connection {
        Connection::to(self.socket()).unwrap()
    }

    /// Who answers a new connection.
    pub(crate) fn ask(&self) -> String {
        self.connect().get("/")
    }

    /// How many processes run this test's program for this host: its flags say so.
    pub(crate) fn processes(&self) -> usize {
        let mark = format!("{FLAGS}=host={} ", self.name);
        let pids = fs::read_dir("/proc").unwrap().flatten();
        let environments = pids.filter_map(|pid| fs::read(pid.path().join("environ")).ok());
        environments.filter(|text| String::from_utf8_lossy(text).contains(&mark)).count()
    }

    /// Whether a process is there, zombies left out.
    pub(crate) fn alive(pid: u32) -> bool {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['Z', 'X']))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            let _ = agent.kill();
            let _ = agent.wait();
        }
        let mut stop = Command::new(env!("CARGO_BIN_EXE_handover-agent"));
        let stopped = stop.args(["stop", "--config"]).arg(&self.config).output().unwrap();
        if std::thread::panicking() {
            eprintln!("the agent's log:\n{}", self.log());
        } else {
            assert!(stopped.status.success(), "{}", String::from_utf8_lossy(&stopped.stderr));
        }
    }
}

pub(crate) fn release_of(
    service: &str,
    version: &str,
    bundle: BundleDescriptor,
    manifest: String,
) -> Release {
    let name = ReleaseRef { service: service.parse().unwrap(), version: version.parse().unwrap() };
    Release { name, bundle, manifest }
}

pub(crate) fn id(text: &str) -> InstanceId {
    text.parse().unwrap()
}

pub(crate) fn find<'a>(report: &'a HostReport, instance: &str) -> Option<&'a InstanceReport> {
    report.instances.get(&id(instance))
}

pub(crate) fn kill(pid: u32) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
}

/// Waits until `holds`.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < DEADLINE, "in vain waited until {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A client's connection, kept alive.
pub(crate) struct Connection(TcpStream);

impl Connection {
    pub(crate) fn to(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        stream.set_read_timeout(Some(DEADLINE))?;
        Ok(Self(stream))
    }

    pub(crate) fn try_say(&mut self, path: &str) -> std::io::Result<()> {
        write!(self.0, "GET {path} HTTP/1.1\r\nhost: heart\r\n\r\n")
    }

    pub(crate) fn say(&mut self, path: &str) {
        self.try_say(path).unwrap();
    }

    /// The body of the answer.
    pub(crate) fn hear(&mut self) -> std::io::Result<String> {
        let mut text = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let read = self.0.read(&mut buffer)?;
            if read == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            text.extend_from_slice(&buffer[..read]);
            let so_far = String::from_utf8_lossy(&text);
            let Some((head, body)) = so_far.split_once("\r\n\r\n") else { continue };
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            if body.len() == length.parse::<usize>().unwrap() {
                return Ok(body.to_owned());
            }
        }
    }

    pub(crate) fn get(&mut self, path: &str) -> String {
        self.say(path);
        self.hear().unwrap()
    }
}
