//! The real server in a process of its own, operators on its Unix socket, and agents that are played by the test.

use handover_identity::{ClientTls, Credentials, JoinToken, KeyPair, ServerAddress, pinned_client_config};
use handover_model::{BundleDescriptor, HostReport, InstancePhase, InstanceReport, Share, Target, Timestamp};
use handover_proto::v1::{
    self, AgentMessage, Hello, ServerMessage, agent_message::Message as FromAgent,
    agent_service_client::AgentServiceClient, enrolment_service_client::EnrolmentServiceClient,
    operator_service_client::OperatorServiceClient, server_message::Message as FromServer,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
    task::JoinHandle,
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, transport::Channel};

/// Nothing in these tests takes longer.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// The server's process.
pub(crate) struct Server {
    child: Child,
    folder: TempDir,
    arguments: Vec<String>,
    pub(crate) tls: String,
    pub(crate) ca: String,
    /// Where its metrics are; empty where they are off.
    metrics: String,
}

impl Server {
    /// Starts one on a new folder and a free port.
    pub(crate) fn start() -> Self {
        handover_identity::install_crypto_provider();
        let folder = tempfile::tempdir().unwrap();
        Self::start_in(folder, &[])
    }

    /// Starts one on this folder, with more arguments.
    pub(crate) fn start_in(folder: TempDir, arguments: &[&str]) -> Self {
        handover_identity::install_crypto_provider();
        let arguments: Vec<String> = arguments.iter().map(|word| (*word).to_owned()).collect();
        let (child, [tls, ca, metrics]) = Self::run(&folder, "127.0.0.1:0", &arguments);
        Self { child, folder, arguments, tls, ca, metrics }
    }

    /// kill -9, and a new start on the same folder and port.
    pub(crate) fn crash_and_start_again(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let (child, [tls, ca, metrics]) = Self::run(&self.folder, &self.tls, &self.arguments);
        assert_eq!((&tls, &ca), (&self.tls, &self.ca));
        (self.child, self.metrics) = (child, metrics);
    }

    /// SIGTERM, and a new start on the same folder and port.
    pub(crate) fn end_and_start_again(&mut self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        assert!(self.child.wait().unwrap().success());
        let (child, [tls, ca, metrics]) = Self::run(&self.folder, &self.tls, &self.arguments);
        assert_eq!((&tls, &ca), (&self.tls, &self.ca));
        (self.child, self.metrics) = (child, metrics);
    }

    fn run(folder: &TempDir, listen: &str, arguments: &[String]) -> (Child, [String; 3]) {
        // Not the one of a server that is installed on this machine.
        let config = folder.path().join("server.toml");
        std::fs::write(&config, "").unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_handover"))
            .args(["server", "--listen", listen, "--fleet", "test", "--data"])
            .arg(folder.path().join("data"))
            .arg("--unix")
            .arg(folder.path().join("handover.sock"))
            .arg("--config")
            .arg(config)
            .args(arguments)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let ready =
            lines.by_ref().map(Result::unwrap).find(|line| line.starts_with("handover server ready: "));
        let ready = ready.expect("the server ended before it was ready");
        // The pipe is read to its end, so that the server never waits for it.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| eprintln!("{line}")));
        let part = |from: &str, to: &str| {
            let rest = ready.split_once(from).map_or("", |(_, rest)| rest);
            rest.split_once(to).map_or(rest, |(part, _)| part).to_owned()
        };
        assert_eq!(part("fleet ", ","), "test");
        let told = [part("TLS on ", ","), part("CA ", ","), part("metrics on ", ",")];
        assert!(told[..2].iter().all(|part| !part.is_empty()), "{ready}");
        (child, told)
    }

    /// Memory that its process has resident, in bytes (proc(5)).
    pub(crate) fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// What its metrics say of `handover_NAME`, in a server that was started with `--metrics`.
    pub(crate) async fn counted(&self, name: &str) -> u64 {
        let mut stream = TcpStream::connect(&self.metrics).await.unwrap();
        let request = "GET /metrics HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(DEADLINE, stream.read_to_string(&mut answer)).await.expect("no metrics").unwrap();
        let line = answer.lines().find_map(|line| line.strip_prefix(&format!("handover_{name} ")));
        line.unwrap_or_else(|| panic!("no {name} in {answer}")).parse().unwrap()
    }

    pub(crate) fn unix(&self) -> PathBuf {
        self.folder.path().join("handover.sock")
    }

    pub(crate) fn address(&self) -> ServerAddress {
        self.tls.parse().unwrap()
    }

    /// SIGTERM, and how long the end took; fails where it was not orderly.
    pub(crate) fn terminate(mut self) -> Duration {
        let began = std::time::Instant::now();
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        assert!(self.child.wait().unwrap().success());
        began.elapsed()
    }

    /// An operator on this machine.
    pub(crate) async fn operator(&self) -> OperatorServiceClient<Channel> {
        OperatorServiceClient::new(handover_identity::connect_unix(&self.unix()).await.unwrap())
    }

    /// A join token.
    pub(crate) async fn token(&self, host: &str) -> JoinToken {
        let request = v1::CreateTokenRequest { ttl_seconds: 0, host: host.into(), server: self.tls.clone() };
        let token = self.operator().await.create_token(request).await.unwrap().into_inner().token;
        token.parse().unwrap()
    }

    /// Uploads a bundle and makes a release of it.
    pub(crate) async fn push(&self, service: &str, version: &str, extra: &str) -> v1::ReleaseInfo {
        let (bundle, bytes) = bundle(version);
        self.upload(&bundle, &bytes).await.unwrap();
        let manifest = format!("service = \"{service}\"\ncommand = [\"bin/run\"]\n{extra}");
        let release = v1::Release {
            service: service.into(),
            version: version.into(),
            bundle: Some(bundle.into()),
            manifest,
        };
        let request = v1::CreateReleaseRequest { release: Some(release) };
        self.operator().await.create_release(request).await.unwrap().into_inner()
    }

    pub(crate) async fn upload(&self, bundle: &BundleDescriptor, bytes: &[u8]) -> Result<v1::Upload, Status> {
        use v1::upload_bundle_request::Part;
        let header = v1::UploadHeader { bundle: Some(bundle.into()), offset: 0 };
        let mut parts = vec![v1::UploadBundleRequest { part: Some(Part::Header(header)) }];
        parts.extend(
            bytes.chunks(1000).map(|data| v1::UploadBundleRequest { part: Some(Part::Data(data.to_vec())) }),
        );
        let answer = self.operator().await.upload_bundle(tokio_stream::iter(parts)).await?;
        Ok(answer.into_inner())
    }

    /// Begins a deployment.
    pub(crate) async fn deploy(&self, service: &str, version: &str) -> Result<v1::Deployment, Status> {
        let request = v1::DeploymentRequest {
            service: service.into(),
            version: version.into(),
            ..v1::DeploymentRequest::default()
        };
        Ok(self.operator().await.create_deployment(request).await?.into_inner())
    }

    /// Watches a deployment to its end.
    pub(crate) async fn outcome(&self, id: u64) -> v1::Deployment {
        let request = v1::GetDeploymentRequest { id, service: String::new() };
        let mut watch = self.operator().await.watch_deployment(request).await.unwrap().into_inner();
        let (mut last, mut revision) = (None, 0);
        while let Some(snapshot) = timeout(DEADLINE, watch.message()).await.expect("no end").unwrap() {
            assert!(snapshot.revision > revision, "revision {} after {revision}", snapshot.revision);
            revision = snapshot.revision;
            last = Some(snapshot);
        }
        last.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A small bundle whose content depends on `seed`.
pub(crate) fn bundle(seed: &str) -> (BundleDescriptor, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("bin")).unwrap();
    std::fs::write(folder.path().join("bin/run"), format!("#!/bin/sh\necho {seed}\n")).unwrap();
    let mut bytes = Vec::new();
    let bundle = handover_bundle::pack(folder.path(), &mut bytes, &mut |_| {}).unwrap();
    (bundle, bytes)
}

/// The reason in a refusal.
pub(crate) fn reason(status: &Status) -> String {
    let refusal = handover_proto::status::Refusal::of(status);
    refusal.map_or_else(|| format!("{status:?}"), |refusal| refusal.reason.to_string())
}

/// An enrolled host, played.
#[derive(Clone)]
pub(crate) struct Agent {
    address: ServerAddress,
    tls: Arc<ClientTls>,
    /// Versions that never get ready.
    pub(crate) broken: Arc<Mutex<BTreeSet<String>>>,
    /// The last target.
    pub(crate) target: Arc<Mutex<Option<Target>>>,
}

impl Agent {
    pub(crate) async fn enrol(server: &Server, host: &str) -> Self {
        let token = server.token("").await;
        Self::enrol_with(server, host, &token).await.unwrap()
    }

    pub(crate) async fn enrol_with(server: &Server, host: &str, token: &JoinToken) -> Result<Self, Status> {
        let key = KeyPair::generate().unwrap();
        let tls = pinned_client_config(token.ca_fingerprint).unwrap();
        let channel = handover_identity::connect(&server.address(), tls).await.unwrap();
        let request = v1::EnrolRequest {
            secret: token.claim.expose(),
            host: host.into(),
            csr_pem: key.csr_pem().unwrap(),
            address: "127.0.0.1".into(),
            labels: [("zone".to_owned(), "a".to_owned())].into(),
            agent_version: env!("CARGO_PKG_VERSION").into(),
        };
        let answer = EnrolmentServiceClient::new(channel).enrol(request).await?.into_inner();
        let credentials = Credentials::new(key, &answer.certificate_pem, &answer.ca_pem).unwrap();
        Ok(Self {
            address: server.address(),
            tls: Arc::new(ClientTls::new(&credentials).unwrap()),
            broken: Arc::default(),
            target: Arc::default(),
        })
    }

    pub(crate) async fn channel(&self) -> Channel {
        handover_identity::connect(&self.address, self.tls.config()).await.unwrap()
    }

    /// Opens a session without doing anything in it.
    pub(crate) async fn session(
        &self,
        hello: Hello,
    ) -> Result<(mpsc::Sender<AgentMessage>, Streaming<ServerMessage>), Status> {
        let (out, messages) = mpsc::channel(16);
        out.send(AgentMessage { message: Some(FromAgent::Hello(hello)) }).await.unwrap();
        let mut client = AgentServiceClient::new(self.channel().await);
        let stream = client.session(ReceiverStream::new(messages)).await?;
        Ok((out, stream.into_inner()))
    }

    /// Does what its targets say, at once, and connects again after a loss, until the handle is aborted.
    pub(crate) fn run(&self) -> Running {
        let agent = self.clone();
        Running(tokio::spawn(async move {
            loop {
                if let Ok(channel) = handover_identity::connect(&agent.address, agent.tls.config()).await {
                    let _ = agent.obey(channel).await;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }))
    }

    async fn obey(&self, channel: Channel) -> Result<(), Status> {
        let (out, messages) = mpsc::channel(16);
        let _ = out.send(AgentMessage { message: Some(FromAgent::Hello(hello())) }).await;
        let mut stream =
            AgentServiceClient::new(channel).session(ReceiverStream::new(messages)).await?.into_inner();
        while let Some(message) = stream.message().await? {
            let Some(FromServer::Target(target)) = message.message else { continue };
            let target = Target::try_from(target).unwrap();
            let report = self.report(&target);
            *self.target.lock().unwrap() = Some(target);
            let _ = out.send(AgentMessage { message: Some(FromAgent::Report(report.into())) }).await;
        }
        Ok(())
    }

    pub(crate) fn report(&self, target: &Target) -> HostReport {
        let broken = self.broken.lock().unwrap();
        let mut instances = BTreeMap::new();
        for (service, service_target) in &target.services {
            for instance in &service_target.instances {
                let broken = broken.contains(instance.release.name.version.as_str());
                let report = InstanceReport {
                    service: service.clone(),
                    release: instance.release.name.clone(),
                    phase: if broken { InstancePhase::GaveUp } else { InstancePhase::Ready },
                    share: if broken { Share::HIDDEN } else { instance.share },
                    pid: Some(1),
                    restarts: 0,
                    connections: Some(0),
                    since: Timestamp::from_unix_millis(1),
                    until: None,
                    detail: if broken { "exited with 1".into() } else { String::new() },
                    flip_nanos: Some(1),
                    ready_millis: Some(1),
                    ledger: None,
                    pin: None,
                };
                instances.insert(instance.instance.clone(), report);
            }
        }
        HostReport { revision: target.revision, instances, ..HostReport::default() }
    }

    /// The versions that its last target names for a service.
    pub(crate) fn versions(&self, service: &str) -> Vec<String> {
        let target = self.target.lock().unwrap();
        let services = target.iter().flat_map(|target| &target.services);
        services
            .filter(|(name, _)| name.as_str() == service)
            .flat_map(|(_, service)| &service.instances)
            .map(|instance| instance.release.name.version.to_string())
            .collect()
    }
}

/// An agent that goes on until this is dropped.
pub(crate) struct Running(JoinHandle<()>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What an agent of this version says first.
pub(crate) fn hello() -> Hello {
    Hello { version: env!("CARGO_PKG_VERSION").into(), session_id: "run-1".into(), ..Hello::default() }
}

/// Waits until `holds`.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waited = timeout(DEADLINE, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(waited.await.is_ok(), "in vain waited until {what}");
}
