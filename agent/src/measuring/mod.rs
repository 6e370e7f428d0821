//! Measuring what instances do, old and new in the same moment, for whoever judges a release.
//!
//! Of every service with `[metrics]` in one of its instances' manifests all that serve are measured, and those that are to
//! serve: a ready or an unhealthy instance is asked for its metrics, whatever its share is, one that is still starting is
//! told as such, and one that is being taken out is not measured any more. Each is asked through its pin. What the kernel
//! says of it (connections, memory, processor time) goes with it.
//!
//! The supervisor tells who runs and is never waited for. A reading has its deadline and its most bytes, of each service
//! one goes on at most, and of each service one measurement at most waits for the session: an endpoint that is slow, huge or
//! makes no sense is told with its reason, and costs nobody else anything.

mod connections;
mod outbox;
mod reading;
mod subject;

pub use outbox::Outbox;
pub use subject::{Asked, Roster, Subject};

use crate::clock;
use connections::Connections;
use handover_model::{InstanceId, Measurement, Sample, ServiceName, Usage};
use reading::Reader;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep_until},
};
use tracing::Instrument as _;

/// How often new connections are looked for.
const LOOK: Duration = Duration::from_secs(1);

/// Measures whatever the roster names.
#[derive(Debug)]
pub struct Measuring {
    roster: watch::Receiver<Roster>,
    outbox: Outbox,
    reader: Arc<Reader>,
    connections: Arc<Mutex<Connections>>,
    /// When each service is measured next.
    due: BTreeMap<ServiceName, Instant>,
    /// Services that are just being measured.
    busy: Busy,
    /// When connections are looked for next.
    look: Instant,
    /// The look before.
    looking: Option<JoinHandle<()>>,
}

/// Services that are just being measured, each until its [`Done`] is dropped.
#[derive(Clone, Debug, Default)]
struct Busy(Arc<Mutex<BTreeSet<ServiceName>>>);

#[derive(Debug)]
struct Done(Busy, ServiceName);

impl Busy {
    /// `None` where it is being measured already.
    fn begin(&self, service: &ServiceName) -> Option<Done> {
        let mut busy = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        busy.insert(service.clone()).then(|| Done(self.clone(), service.clone()))
    }
}

impl Drop for Done {
    fn drop(&mut self) {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
    }
}

impl Measuring {
    /// Measures whom `roster` names, for `outbox`.
    #[must_use]
    pub fn new(roster: watch::Receiver<Roster>, outbox: Outbox) -> Self {
        Self {
            roster,
            outbox,
            reader: Arc::default(),
            connections: Arc::default(),
            due: BTreeMap::new(),
            busy: Busy::default(),
            look: Instant::now(),
            looking: None,
        }
    }

    /// Runs until the supervisor is gone.
    pub async fn run(mut self) {
        loop {
            let roster = self.roster.borrow_and_update().clone();
            let now = Instant::now();
            self.due.retain(|service, _| roster.contains_key(service));
            for (service, subjects) in &roster {
                let due = self.due.entry(service.clone()).or_insert(now);
                if *due <= now {
                    // From now on and not from then: what was missed is not made up for.
                    *due = now + subject::interval(subjects);
                    self.measure(service, subjects);
                }
            }
            if self.look <= now {
                self.look = now + LOOK;
                self.look_for_connections(&roster);
            }
            let next = self.due.values().copied().min().into_iter().chain([self.look]).min();
            // With nobody to measure there is nothing to wake up for.
            let idle = roster.is_empty();
            tokio::select! {
                changed = self.roster.changed() => if changed.is_err() { return },
                () = sleep_until(next.unwrap_or(self.look)), if !idle => {}
            }
        }
    }

    /// Begins to measure a service, unless the time before is not over yet.
    fn measure(&self, service: &ServiceName, subjects: &[Subject]) {
        let Some(done) = self.busy.begin(service) else {
            tracing::debug!(%service, "is still being measured");
            return;
        };
        let (reader, connections, outbox) =
            (Arc::clone(&self.reader), Arc::clone(&self.connections), self.outbox.clone());
        let (service, subjects) = (service.clone(), subjects.to_vec());
        let task = async move {
            let patience = subject::interval(&subjects);
            let read = subjects.iter().map(|subject| sample(&reader, &connections, subject, patience));
            let read = futures_util::future::join_all(read).await;
            let instances: BTreeMap<InstanceId, Sample> = read.into_iter().collect();
            outbox.put(Measurement { service, instances });
            drop(done);
        };
        tokio::spawn(task.in_current_span());
    }

    /// Looks for new connections, unless the look before is not over yet.
    fn look_for_connections(&mut self, roster: &Roster) {
        if self.looking.as_ref().is_some_and(|looking| !looking.is_finished()) {
            return;
        }
        // Where there is only one there is nobody to compare it with.
        let compared = roster.iter().filter(|(_, subjects)| subjects.len() > 1);
        let compared: Roster = compared.map(|(service, all)| (service.clone(), all.clone())).collect();
        let connections = Arc::clone(&self.connections);
        self.looking = Some(tokio::task::spawn_blocking(move || connections::look(&connections, &compared)));
    }
}

/// One instance.
async fn sample(
    reader: &Arc<Reader>,
    connections: &Arc<Mutex<Connections>>,
    subject: &Subject,
    patience: Duration,
) -> (InstanceId, Sample) {
    let group = subject.group.clone();
    let used = tokio::task::spawn_blocking(move || (group.usage(), clock::running_micros()));
    let (traffic, used) = tokio::join!(reader.read(subject, patience), used);
    let ((memory, cpu_micros), clock_micros) =
        used.map_or_else(|_| Default::default(), |(used, clock)| (used, used.1.is_some().then_some(clock)));
    let connections =
        connections.lock().unwrap_or_else(PoisonError::into_inner).of(&subject.instance, subject.life);
    let usage = Usage { connections, memory, cpu_micros, clock_micros };
    let sample = Sample { run: subject.run, share: subject.share, traffic, usage };
    (subject.instance.clone(), sample)
}
