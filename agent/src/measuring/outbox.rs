//! What was measured and is to be told: of each service the newest.

use handover_model::{Measurement, ServiceName};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::Notify;

/// Most services whose measurements wait.
const MAX_WAITING: usize = 256;

/// Measurements on their way to the session. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Outbox {
    waiting: Arc<Mutex<BTreeMap<ServiceName, Measurement>>>,
    filled: Arc<Notify>,
}

impl Outbox {
    /// Lays a measurement in, in the place of the one before of its service. Never waits.
    pub fn put(&self, measurement: Measurement) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < MAX_WAITING || waiting.contains_key(&measurement.service) {
            waiting.insert(measurement.service.clone(), measurement);
        }
        self.filled.notify_one();
    }

    /// Waits until something was laid in since it was waited for last.
    pub async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Takes everything out.
    #[must_use]
    pub fn take(&self) -> Vec<Measurement> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *waiting).into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(service: &str) -> Measurement {
        Measurement { service: service.parse().unwrap(), instances: BTreeMap::new() }
    }

    #[tokio::test]
    async fn of_each_service_the_newest_waits_and_of_too_many_services_none() {
        let outbox = Outbox::default();
        for number in 0..MAX_WAITING + 9 {
            outbox.put(of(&format!("s{number}")));
            outbox.put(of("s0"));
        }
        outbox.filled().await;
        assert_eq!(outbox.take().len(), MAX_WAITING);
        assert!(outbox.take().is_empty());
    }
}
