//! Measuring what instances do, old and new in the same moment, for whoever judges a release.
//!
//! Of every service with `[metrics]` in one of its instances' manifests all that serve are measured, and those that are to
//! serve: a ready or an unhealthy instance is asked for its metrics, whatever its share is, one that is still starting is
//! told as such, and one that is being taken out is not measured any more. Each is asked through its pin. What the kernel
//! says of it (connections, memory, processor time) goes with it, and where a limit of a manifest needs it, how connections
//! end and how many are turned away.
//!
//! The supervisor tells who runs and is never waited for. A reading has its deadline and its most bytes, of each service
//! one goes on at most, and of each service one measurement at most waits for the session: an endpoint that is slow, huge or
//! makes no sense is told with its reason, and costs nobody else anything.

mod connections;
mod hearing;
mod outbox;
mod reading;
mod refused;
mod subject;

pub use outbox::Outbox;
pub use subject::{Asked, Limited, Roster, Subject};

use crate::clock;
use connections::Connections;
use handover_model::{InstanceId, Measurement, Refused, Sample, ServiceName, Usage};
use hearing::Hearing;
use reading::Reader;
use refused::TurnedAway;
use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    net::SocketAddr,
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
    turned_away: Arc<Mutex<TurnedAway>>,
    /// Listens for ends of connections while a limit needs it.
    hearing: Option<Hearing>,
    /// Whether it could not, and somebody was told.
    deaf: bool,
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
            turned_away: Arc::default(),
            hearing: None,
            deaf: false,
            due: BTreeMap::new(),
            busy: Busy::default(),
            look: Instant::now(),
            looking: None,
        }
    }

    /// Runs until the supervisor is gone.
    pub async fn run(mut self) {
        loop {
            let next = self.turn(Instant::now());
            tokio::select! {
                changed = self.roster.changed() => if changed.is_err() { return },
                () = sleep_until(next.unwrap_or(self.look)), if next.is_some() => {}
            }
        }
    }

    /// Begins whatever is due by now. Returns when there is something again; `None` with nobody to measure.
    fn turn(&mut self, now: Instant) -> Option<Instant> {
        let roster = self.roster.borrow_and_update().clone();
        self.due.retain(|service, _| roster.contains_key(service));
        for (service, subjects) in &roster {
            let due = self.due.entry(service.clone()).or_insert(now);
            if *due <= now {
                // From now on and not from then: what was missed is not made up for.
                *due = now + subject::interval(subjects);
                self.measure(service, subjects);
            }
        }
        // Once there is nobody to measure this is the last chance to stop listening.
        if self.look <= now || roster.is_empty() {
            self.look = now + LOOK;
            self.look_for_connections(&roster);
        }
        self.due.values().copied().min().map(|due| due.min(self.look))
    }

    /// Begins to measure a service, unless the time before is not over yet.
    fn measure(&self, service: &ServiceName, subjects: &[Subject]) {
        let Some(done) = self.busy.begin(service) else {
            tracing::debug!(%service, "is still being measured");
            return;
        };
        let by = By {
            reader: Arc::clone(&self.reader),
            connections: Arc::clone(&self.connections),
            turned_away: subject::limited(subjects).refused.then(|| Arc::clone(&self.turned_away)),
            patience: subject::interval(subjects),
        };
        let (service, subjects, outbox) = (service.clone(), subjects.to_vec(), self.outbox.clone());
        let task = async move {
            let read = subjects.iter().map(|subject| sample(&by, subject));
            let read = futures_util::future::join_all(read).await;
            let instances: BTreeMap<InstanceId, Sample> = read.into_iter().collect();
            outbox.put(Measurement { service, instances });
            drop(done);
        };
        tokio::spawn(task.in_current_span());
    }

    /// Looks for new connections and for their ends, unless the look before is not over yet.
    fn look_for_connections(&mut self, roster: &Roster) {
        let compared = roster.iter().filter(|(_, subjects)| subject::are_compared(subjects));
        let compared: Roster = compared.map(|(service, all)| (service.clone(), all.clone())).collect();
        self.listen(&compared);
        self.turned_away.lock().unwrap_or_else(PoisonError::into_inner).keep(&compared);
        if self.looking.as_ref().is_some_and(|looking| !looking.is_finished()) {
            return;
        }
        let (connections, ear) = (Arc::clone(&self.connections), self.hearing.as_ref().map(Hearing::ear));
        let look = move || connections::look(&connections, &compared, ear.as_deref());
        self.looking = Some(tokio::task::spawn_blocking(look));
    }

    /// Listens for the ends of connections of those services that have a limit on them, and of no others.
    fn listen(&mut self, compared: &Roster) {
        let limited = compared.values().filter(|subjects| subject::limited(subjects).resets);
        let listeners = limited.flatten().flat_map(|subject| &subject.listeners);
        let ports: BTreeSet<u16> = listeners.map(SocketAddr::port).collect();
        if ports.is_empty() {
            (self.hearing, self.deaf) = (None, false);
            return;
        }
        let hearing = match self.hearing.take() {
            Some(mut hearing) => hearing.only(ports).map(|()| hearing),
            None => Hearing::of(ports),
        };
        match hearing {
            Ok(hearing) => (self.hearing, self.deaf) = (Some(hearing), false),
            Err(_) if self.deaf => {}
            Err(error) => {
                self.deaf = true;
                let error = &error as &dyn Error;
                tracing::warn!(
                    error,
                    "the kernel does not tell how connections end: max_resets is not judged on this host"
                );
            }
        }
    }
}

/// By what an instance is measured.
struct By {
    reader: Arc<Reader>,
    connections: Arc<Mutex<Connections>>,
    /// `None` where nobody has set a limit on it.
    turned_away: Option<Arc<Mutex<TurnedAway>>>,
    patience: Duration,
}

/// One instance.
async fn sample(by: &By, subject: &Subject) -> (InstanceId, Sample) {
    let (of_kernel, away) = (subject.clone(), by.turned_away.clone());
    let of_kernel = move || {
        let (memory, cpu_micros) = of_kernel.group.usage();
        let refused = away.and_then(|away| turned_away(&away, &of_kernel));
        Usage {
            memory,
            cpu_micros,
            clock_micros: cpu_micros.map(|_| clock::running_micros()),
            refused,
            ..Usage::default()
        }
    };
    let used = tokio::task::spawn_blocking(of_kernel);
    let (traffic, used) = tokio::join!(by.reader.read(subject, by.patience), used);
    let connections = by.connections.lock().unwrap_or_else(PoisonError::into_inner);
    let usage = Usage {
        connections: connections.of(&subject.instance, subject.life),
        ends: connections.ends(&subject.instance, subject.life, clock::running_micros()),
        ..used.unwrap_or_default()
    };
    drop(connections);
    let sample = Sample { run: subject.run, share: subject.share, traffic, usage };
    (subject.instance.clone(), sample)
}

/// What an instance turned away; `None` where it cannot be known. Blocks.
fn turned_away(away: &Mutex<TurnedAway>, subject: &Subject) -> Option<Refused> {
    match refused::read(subject) {
        Ok(drops) => {
            let mut away = away.lock().unwrap_or_else(PoisonError::into_inner);
            Some(away.note(subject, drops, clock::running_micros()))
        }
        Err(error) => {
            let (instance, error) = (&subject.instance, &error as &dyn Error);
            tracing::debug!(%instance, error, "what it turns away cannot be seen");
            None
        }
    }
}

#[cfg(test)]
mod tests;
