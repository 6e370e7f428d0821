//! The server, played: it sends the targets that the test gives it, and keeps what the agent says.

use crate::host::DEADLINE;
use handover_identity::{
    AcceptLimits, Ca, Credentials, KeyPair, ServerAddress, ServerTls, TlsIncoming, http2_server,
    install_crypto_provider, wall_clock,
};
use handover_model::{BundleDescriptor, HostReport, Measurement, Target};
use handover_proto::v1::{
    self, AgentMessage, BundleChunk, FetchBundleRequest, RenewRequest, RenewResponse, ServerMessage,
    agent_message::Message as FromAgent,
    agent_service_server::{AgentService, AgentServiceServer},
    server_message::Message as FromServer,
};
use std::{
    collections::BTreeMap,
    path::Path,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming};

type Answer<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What the test and the sessions share.
pub(crate) struct Shared {
    target: watch::Sender<Option<Target>>,
    report: watch::Sender<HostReport>,
    /// Every report, in order.
    pub(crate) history: Mutex<Vec<HostReport>>,
    refused: watch::Sender<Option<(u64, String)>>,
    /// Flips that are confirmed; each session is told of all.
    confirmed: watch::Sender<Vec<(String, u64)>>,
    /// What was measured last.
    measured: watch::Sender<Option<Measurement>>,
    bundles: Mutex<BTreeMap<String, Vec<u8>>>,
    fetches: watch::Sender<u64>,
    /// Whether bundles are given out.
    pub(crate) open: watch::Sender<bool>,
}

/// The played server. Sessions end with it.
pub(crate) struct Driver {
    ca: Ca,
    pub(crate) address: ServerAddress,
    pub(crate) shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

impl Driver {
    pub(crate) fn start(folder: &Path) -> Self {
        install_crypto_provider();
        let ca = Ca::open(&folder.join("ca"), &"heart".parse().unwrap(), wall_clock()).unwrap();
        let day = Duration::from_secs(24 * 3600);
        let tls = ServerTls::new(&ca, ca.issue_server(day, wall_clock()).unwrap()).unwrap();
        let incoming = TlsIncoming::bind(([127, 0, 0, 1], 0).into(), &tls, AcceptLimits::default()).unwrap();
        let address = incoming.local_address().into();
        let shared = Arc::new(Shared {
            target: watch::Sender::new(None),
            report: watch::Sender::new(HostReport::default()),
            history: Mutex::default(),
            refused: watch::Sender::new(None),
            confirmed: watch::Sender::default(),
            measured: watch::Sender::new(None),
            bundles: Mutex::default(),
            fetches: watch::Sender::new(0),
            open: watch::Sender::new(true),
        });
        let service = AgentServiceServer::new(Played(Arc::clone(&shared)));
        let serving = tokio::spawn(async move {
            http2_server().add_service(service).serve_with_incoming(incoming).await.unwrap();
        });
        Self { ca, address, shared, serving }
    }

    /// What an agent has once it has joined.
    pub(crate) fn enrol(&self, host: &str, identity: &Path) {
        let key = KeyPair::generate().unwrap();
        let day = Duration::from_secs(24 * 3600);
        let csr = key.csr_pem().unwrap();
        let issued = self.ca.sign_agent(&csr, &host.parse().unwrap(), day, wall_clock()).unwrap();
        std::fs::create_dir_all(identity).unwrap();
        Credentials::new(key, &issued.chain_pem, &self.ca.certificate_pem()).unwrap().save(identity).unwrap();
    }

    pub(crate) fn offer(&self, target: Target) {
        self.shared.refused.send_replace(None);
        self.shared.target.send_replace(Some(target));
    }

    /// The agent connects and hears nothing more.
    pub(crate) fn fall_silent(&self) {
        self.shared.target.send_replace(None);
    }

    /// Confirms a flip.
    pub(crate) fn confirm(&self, service: &str, revision: u64) {
        self.shared.confirmed.send_modify(|confirmed| confirmed.push((service.to_owned(), revision)));
    }

    pub(crate) fn keep(&self, bundle: &BundleDescriptor, bytes: Vec<u8>) {
        self.shared.bundles.lock().unwrap().insert(bundle.digest.to_string(), bytes);
    }

    pub(crate) fn report(&self) -> HostReport {
        self.shared.report.borrow().clone()
    }

    /// Waits for a report.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&HostReport) -> bool) -> HostReport {
        let mut reports = self.shared.report.subscribe();
        match tokio::time::timeout(DEADLINE, reports.wait_for(|report| holds(report))).await {
            Ok(report) => report.unwrap().clone(),
            Err(_) => panic!("in vain waited until {what}: {:#?}", self.report()),
        }
    }

    /// Waits for a measurement.
    pub(crate) async fn measured(&self, what: &str, holds: impl Fn(&Measurement) -> bool) -> Measurement {
        let mut measured = self.shared.measured.subscribe();
        let found = measured.wait_for(|latest| latest.as_ref().is_some_and(&holds));
        match tokio::time::timeout(DEADLINE, found).await {
            Ok(found) => found.unwrap().clone().unwrap(),
            Err(_) => panic!("in vain waited until {what}: {:#?}", *self.shared.measured.borrow()),
        }
    }

    /// Waits for the next measurement.
    pub(crate) async fn measured_anew(&self) -> Measurement {
        let mut measured = self.shared.measured.subscribe();
        measured.mark_unchanged();
        let changed = tokio::time::timeout(DEADLINE, measured.changed()).await;
        changed.expect("nothing was measured any more").unwrap();
        measured.borrow().clone().unwrap()
    }

    pub(crate) async fn refusal(&self) -> (u64, String) {
        let mut refused = self.shared.refused.subscribe();
        let found = tokio::time::timeout(DEADLINE, refused.wait_for(Option::is_some)).await;
        found.expect("the target was not refused").unwrap().clone().unwrap()
    }

    /// Waits until so many transfers were asked for.
    pub(crate) async fn asked_for_bundles(&self, times: u64) {
        let mut fetches = self.shared.fetches.subscribe();
        let asked = tokio::time::timeout(DEADLINE, fetches.wait_for(|count| *count >= times)).await;
        asked.expect("no bundle was asked for").unwrap();
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

struct Played(Arc<Shared>);

#[tonic::async_trait]
impl AgentService for Played {
    type SessionStream = Answer<ServerMessage>;
    type FetchBundleStream = Answer<BundleChunk>;

    async fn renew(&self, _: Request<RenewRequest>) -> Result<Response<RenewResponse>, Status> {
        Err(Status::unimplemented("nothing is renewed here: certificates are good for a day"))
    }

    async fn session(
        &self,
        request: Request<Streaming<AgentMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let mut messages = request.into_inner();
        let (out, answers) = mpsc::channel(16);
        let shared = Arc::clone(&self.0);
        tokio::spawn(async move {
            let say = |message| ServerMessage { message: Some(message) };
            let mut targets = shared.target.subscribe();
            targets.mark_changed();
            let mut confirmed = shared.confirmed.subscribe();
            confirmed.mark_changed();
            let mut beat = tokio::time::interval(Duration::from_secs(5));
            loop {
                let answer = tokio::select! {
                    message = messages.message() => match message {
                        Ok(Some(message)) => { shared.hear(message); continue }
                        Ok(None) | Err(_) => return,
                    },
                    changed = targets.changed() => {
                        if changed.is_err() { return }
                        match targets.borrow_and_update().as_ref() {
                            Some(target) => FromServer::Target(v1::Target::from(target)),
                            None => continue,
                        }
                    }
                    Ok(()) = confirmed.changed() => {
                        let all = confirmed.borrow_and_update().clone();
                        for (service, revision) in all {
                            let confirm = FromServer::Confirm(v1::Confirm { revision, service });
                            if out.send(Ok(say(confirm))).await.is_err() { return }
                        }
                        continue
                    }
                    _ = beat.tick() => FromServer::Heartbeat(v1::Heartbeat { sequence: 0 }),
                };
                if out.send(Ok(say(answer))).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }

    async fn send_logs(
        &self,
        _: Request<Streaming<v1::LogBatch>>,
    ) -> Result<Response<v1::SendLogsResponse>, Status> {
        Err(Status::permission_denied("nobody asked"))
    }

    async fn send_outcome(
        &self,
        _: Request<v1::CommandOutcome>,
    ) -> Result<Response<v1::SendOutcomeResponse>, Status> {
        Err(Status::permission_denied("nobody asked"))
    }

    async fn fetch_bundle(
        &self,
        request: Request<FetchBundleRequest>,
    ) -> Result<Response<Self::FetchBundleStream>, Status> {
        let FetchBundleRequest { digest, offset } = request.into_inner();
        self.0.fetches.send_modify(|count| *count += 1);
        let _ = self.0.open.subscribe().wait_for(|open| *open).await;
        let bytes = self.0.bundles.lock().unwrap().get(&digest).cloned();
        let bytes = bytes.ok_or_else(|| Status::not_found("no such bundle"))?;
        let left = bytes[usize::try_from(offset).unwrap()..].to_vec();
        let chunks: Vec<_> =
            left.chunks(64 * 1024).map(|data| Ok(BundleChunk { data: data.to_vec() })).collect();
        Ok(Response::new(Box::pin(tokio_stream::iter(chunks))))
    }
}

impl Shared {
    fn hear(&self, message: AgentMessage) {
        match message.message {
            Some(FromAgent::Report(report)) => {
                let report = HostReport::try_from(report).unwrap();
                self.history.lock().unwrap().push(report.clone());
                self.report.send_replace(report);
            }
            Some(FromAgent::TargetRefused(refused)) => {
                self.refused.send_replace(Some((refused.revision, refused.reason)));
            }
            Some(FromAgent::Measurement(measurement)) => {
                let measurement = Measurement::try_from(measurement).unwrap();
                self.measured.send_replace(Some(measurement));
            }
            Some(FromAgent::Hello(_) | FromAgent::Heartbeat(_) | FromAgent::Facts(_)) | None => {}
        }
    }
}
