//! Asking one instance for its metrics.

use super::subject::{Asked, Subject};
use crate::instance::probe::{HttpProbe, Page, ProbeFailure, Wanted};
use handover_exposition::{Format, MAX_BYTES, Selectors};
use handover_model::{
    Traffic, chain,
    config::{EndpointMetrics, MetricsSource},
};
use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};
use tokio::{sync::Semaphore, time::timeout};

/// Answers of more than 1 MiB that are held at once. Others wait within their deadline.
const LARGE: usize = 8;
/// Answers that are taken apart at once: it must not take all processors.
const PARSED: usize = 2;

/// Reads metrics, and bounds what all readings take together.
#[derive(Debug)]
pub(super) struct Reader {
    large: Semaphore,
    parsed: Semaphore,
    /// Counted up, so that an IPv6 pin, which is a range of ports, uses each in turn.
    turn: AtomicUsize,
}

impl Default for Reader {
    fn default() -> Self {
        Self { large: Semaphore::new(LARGE), parsed: Semaphore::new(PARSED), turn: AtomicUsize::new(0) }
    }
}

impl Reader {
    /// What an instance has counted; why it is not known otherwise, in words for an operator. Takes no longer than the
    /// manifest's timeout, nor than `patience`, beside the moment in which an answer is taken apart.
    pub(super) async fn read(&self, subject: &Subject, patience: Duration) -> Result<Traffic, String> {
        let Some(config) = &subject.config else {
            return Err("the manifest of its release has no [metrics]".to_owned());
        };
        let endpoint = match &config.source {
            MetricsSource::Endpoint(endpoint) => endpoint,
            MetricsSource::Prometheus(_) => {
                return Err("the server asks Prometheus for its metrics".to_owned());
            }
        };
        let way = match subject.asked {
            Asked::By(way) => way,
            Asked::NotYet => return Err("it is not ready yet".to_owned()),
            Asked::Unreachable => return Err("it has lost its listening sockets".to_owned()),
        };
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let probe = HttpProbe {
            route: way.reading(turn),
            path: endpoint.path.clone(),
            host: endpoint.host.clone(),
            status: 200..=299,
        };
        let selectors = Selectors::from(endpoint);
        let wanted = Wanted { accept: selectors.accept(), most: MAX_BYTES, room: &self.large };
        let most = config.timeout.min(patience);
        let page = timeout(most, probe.read(endpoint.tls, &wanted)).await;
        let late = || ProbeFailure::Late { what: what(endpoint), after: most };
        let page = page.unwrap_or_else(|_| Err(late())).map_err(|failure| chain(&failure))?;
        let _turn = self.parsed.acquire().await.map_err(|error| error.to_string())?;
        let read = tokio::task::spawn_blocking(move || taken_apart(&page, &selectors)).await;
        let read = read.unwrap_or_else(|error| Err(error.to_string()));
        read.map_err(|problem| format!("the answer to {}: {problem}", what(endpoint)))
    }
}

fn what(endpoint: &EndpointMetrics) -> String {
    format!("GET {}", endpoint.path)
}

fn taken_apart(page: &Page, selectors: &Selectors) -> Result<Traffic, String> {
    let format = Format::of(page.content_type.as_deref()).map_err(|error| error.to_string())?;
    handover_exposition::read(format, &page.body, selectors).map_err(|error| error.to_string())
}
