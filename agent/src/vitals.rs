//! What the agent tells on its `/metrics` and `/healthz`.

use crate::{
    config::AgentConfig,
    disks::Disks,
    metrics::{Metrics, Seen},
};
use futures_util::future::BoxFuture;
use handover_daemon::Pulse;
use handover_identity::Credentials;
use handover_model::HostReport;
use handover_telemetry::{Health, Told};
use std::sync::Arc;
use tokio::sync::watch;
use tonic::transport::Channel;

/// Looks at the rest of the agent.
#[derive(Debug)]
pub struct Vitals {
    /// Where the certificate is.
    pub config: Arc<AgentConfig>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What runs.
    pub reports: watch::Receiver<HostReport>,
    /// The session's connection, while there is one.
    pub server: watch::Receiver<Option<Channel>>,
    /// Whether the supervisor moves.
    pub pulse: Pulse,
    /// The file systems of its folders.
    pub disks: Disks,
}

impl Vitals {
    async fn text(&self) -> Result<String, std::fmt::Error> {
        let identity = self.config.identity();
        // Read anew each time: the certificate may have been replaced.
        let disks = self.disks.clone();
        let looked = tokio::task::spawn_blocking(move || (Credentials::certificate(&identity), disks.now()));
        let (expires, disks) = match looked.await {
            Ok((certificate, disks)) => (certificate.ok().map(|facts| facts.not_after), disks),
            Err(_) => (None, Vec::new()),
        };
        let seen = Seen {
            report: self.reports.borrow().clone(),
            connected: self.server.borrow().is_some(),
            certificate_expires: expires,
            disks,
            unwritten: self.disks.unwritten().is_some(),
        };
        self.metrics.encode(&seen)
    }

    /// Healthy: what runs on the host is looked after. Without the server it still is, so that is told and no more.
    fn look(&self) -> Health {
        let session = if self.server.borrow().is_some() { "connected" } else { "no session with the server" };
        match self.pulse.check() {
            Ok(()) => {
                let instances = self.reports.borrow().instances.len();
                let unwritten = self.disks.unwritten().map(|unwritten| format!("; {}", unwritten.what));
                let text = format!("ok: {session}, {instances} instances{}\n", unwritten.unwrap_or_default());
                Health { healthy: true, text }
            }
            Err(still) => Health { healthy: false, text: format!("{still}; {session}\n") },
        }
    }
}

impl Told for Vitals {
    fn metrics(&self) -> BoxFuture<'_, Result<String, std::fmt::Error>> {
        Box::pin(self.text())
    }

    fn health(&self) -> BoxFuture<'_, Health> {
        Box::pin(std::future::ready(self.look()))
    }
}
