//! Whether a program serves when it says that it is ready: it accepts a connection on each listener that its readiness does
//! not ask.
//!
//! Nothing waits for the answer and nothing follows from it on the host: it is told, and the next release's preflight goes
//! by it.

use super::{Event, Reporter, Supervisor, probing::Way};
use handover_model::{
    InstanceId,
    config::{Check, HttpCheck, ListenerName, ReadinessCheck},
};
use std::time::Duration;

/// How long a program that is ready may take to accept a connection: as long as a probe may by default.
const PATIENCE: Duration = Duration::from_secs(2);

impl Supervisor {
    /// An instance has become ready: looks at the listeners that its readiness said nothing of.
    pub(super) fn look_whether_it_serves(&mut self, id: &InstanceId) {
        let Some(instance) = self.instances.get(id) else { return };
        let Some(manifest) = &instance.manifest else { return };
        let asked = match &manifest.readiness.check {
            ReadinessCheck::Notify | ReadinessCheck::Alive { .. } => None,
            ReadinessCheck::Probe(probe) => asked(&probe.check),
        };
        let others = manifest.listeners.iter().filter(|listener| Some(&listener.name) != asked);
        let ways: Vec<(ListenerName, Way)> = others
            .filter_map(|listener| Some((listener.name.clone(), instance.way(&listener.name)?)))
            .collect();
        // Through a pin that is not set another instance would answer for this one.
        if ways.is_empty() || !self.gates.leads_to(instance.service(), &manifest.listeners, id) {
            return;
        }
        self.begin_probe(id, move |reporter| tell_unserved(reporter, ways));
    }
}

/// The listener that a probe has an answer from.
fn asked(check: &Check) -> Option<&ListenerName> {
    match check {
        Check::Http(HttpCheck { listener, .. }) | Check::Grpc { listener, .. } | Check::Tcp { listener } => {
            Some(listener)
        }
        Check::Exec { .. } => None,
    }
}

/// Opens a connection to each at the same time.
async fn tell_unserved(reporter: Reporter, ways: Vec<(ListenerName, Way)>) {
    let asked = ways.into_iter().map(|(name, way)| (name, tokio::spawn(way.is_accepted(PATIENCE))));
    let (mut unserved, mut known) = (Vec::new(), true);
    for (name, accepted) in asked.collect::<Vec<_>>() {
        match accepted.await {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => unserved.push(name),
            Ok(Err(error)) => {
                tracing::debug!(listener = %name, error, "cannot be looked at");
                known = false;
            }
            Err(error) => {
                tracing::debug!(listener = %name, %error, "cannot be looked at");
                known = false;
            }
        }
    }
    if known || !unserved.is_empty() {
        reporter.tell(Event::Unserved(unserved)).await;
    }
}
