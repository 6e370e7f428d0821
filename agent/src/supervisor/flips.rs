//! The last flip of each service: when it was in the kernel, and what became of its confirmation.

use super::{Supervisor, actions::Outcome};
use crate::{
    confirming::{AskedFlip, AskedState},
    journal::FlipRecord,
};
use handover_model::{Confirmation, ConfirmationState, FlipReport, ServiceName, Share};
use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
};

/// The last flip of each service.
#[derive(Debug, Default)]
pub(super) struct Flips {
    /// Those that asked for confirmation.
    pub(super) asked: BTreeMap<ServiceName, AskedFlip>,
    /// When the last one was in the kernel, in nanoseconds since the boot; of this run of the agent.
    made: BTreeMap<ServiceName, u64>,
    /// Services whose flip is further than what is written down of it.
    unnoted: BTreeSet<ServiceName>,
}

impl Flips {
    /// What was written down, and of which boot.
    pub(super) fn adopted(records: Vec<FlipRecord>, boot_id: &str) -> Self {
        let mut flips = Self::default();
        for FlipRecord { mut flip, boot_id: written } in records {
            if written != boot_id {
                flip.after_reboot();
                flips.unnoted.insert(flip.service.clone());
            }
            flips.asked.insert(flip.service.clone(), flip);
        }
        flips
    }

    /// A flip is in the kernel since then.
    pub(super) fn made(&mut self, service: &ServiceName, nanos: u64) {
        self.made.insert(service.clone(), nanos);
    }
}

impl Supervisor {
    /// Before a flip that is to be confirmed: what cannot be written down is not begun.
    pub(super) fn ask_confirmation(&mut self, flip: &AskedFlip) -> Outcome {
        self.journal.flip(&FlipRecord { flip: flip.clone(), boot_id: self.boot_id.clone() })?;
        tracing::info!(service = %flip.service, within = ?flip.within, "the flip is to be confirmed");
        self.flips.unnoted.remove(&flip.service);
        self.flips.asked.insert(flip.service.clone(), flip.clone());
        Ok(())
    }

    /// The confirmation did not come in time.
    pub(super) fn miss_confirmation(&mut self, service: &ServiceName) {
        let Some(flip) = self.flips.asked.get_mut(service) else { return };
        flip.miss();
        tracing::warn!(%service, within = ?flip.within, "the flip was not confirmed and is undone");
        self.note_flip(service);
    }

    /// Its order is none any more.
    pub(super) fn forget_flip(&mut self, service: &ServiceName) {
        self.flips.asked.remove(service);
        self.note_flip(service);
    }

    /// The server has had the report of a flip. One that comes too late changes nothing.
    pub(super) fn confirmed(&mut self, service: &ServiceName, revision: u64) {
        // It may have been asked for and not made: then nothing is proven, and the report of the flip is what counts.
        let is_made = self.flips.asked.get(service).is_some_and(|flip| {
            flip.wanted.iter().all(|(id, share)| {
                self.instances.get(id).map_or(Share::HIDDEN, |instance| instance.share) == *share
            })
        });
        let Some(flip) = self.flips.asked.get_mut(service) else { return };
        let awaited = matches!(flip.state, AskedState::Awaited { .. });
        if flip.revision == revision && awaited && is_made {
            flip.state = AskedState::Given;
            tracing::info!(%service, revision, "the flip is confirmed");
            self.note_flip(service);
        }
    }

    /// Writes down what has become of a flip; where that fails, once it can be. An agent that is started again before
    /// then takes it for one that was not confirmed, which is safe.
    fn note_flip(&mut self, service: &ServiceName) {
        let written = match self.flips.asked.get(service) {
            Some(flip) => {
                self.journal.flip(&FlipRecord { flip: flip.clone(), boot_id: self.boot_id.clone() })
            }
            None => self.journal.forget_flip(service),
        };
        match written {
            Ok(()) => drop(self.flips.unnoted.remove(service)),
            Err(error) => {
                tracing::debug!(%service, error = &error as &dyn Error, "its flip is written down later");
                self.flips.unnoted.insert(service.clone());
            }
        }
    }

    /// Writes down what could not be written before.
    pub(super) fn note_flips(&mut self) {
        for service in std::mem::take(&mut self.flips.unnoted) {
            self.note_flip(&service);
        }
    }

    /// What the server is to know of each flip.
    pub(super) fn flip_reports(&self) -> BTreeMap<ServiceName, FlipReport> {
        let observed = self.observed();
        let nothing = BTreeMap::new();
        let mut reports: BTreeMap<ServiceName, FlipReport> = BTreeMap::new();
        for (service, at) in self.flips.made.iter().filter(|(s, _)| observed.services.contains_key(*s)) {
            reports.insert(service.clone(), FlipReport { at_nanos: Some(*at), confirmation: None });
        }
        for (service, flip) in &self.flips.asked {
            let instances = observed.services.get(service).unwrap_or(&nothing);
            let state = match &flip.state {
                AskedState::Awaited { deadline } => {
                    ConfirmationState::Awaited { until: self.time_of_day.at(*deadline) }
                }
                AskedState::Given => ConfirmationState::Given,
                AskedState::Missed { why } => {
                    ConfirmationState::Missed { reason: flip.missed(why, instances) }
                }
            };
            let confirmation = Confirmation { revision: flip.revision, state };
            reports.entry(service.clone()).or_default().confirmation = Some(confirmation);
        }
        reports
    }
}
