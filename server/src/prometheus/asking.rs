//! The task that asks: of every service that wants it, each at its interval, a few at once.

use super::{AskFailure, Client};
use crate::fleet::{Asked, Fleet};
use backon::BackoffBuilder as _;
use handover_model::{ServiceName, chain};
use std::{collections::BTreeMap, time::Duration};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

/// Most services that are asked for at once: an answer may take some of the server's memory and of Prometheus's.
const AT_ONCE: usize = 4;
/// How often the fleet is asked who wants to be asked for.
const LOOK: Duration = Duration::from_secs(1);
/// A server that does not answer is asked again after that long at the latest.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Asks a Prometheus server, or tells that there is none.
#[derive(Debug)]
pub struct Asking {
    fleet: Fleet,
    client: Option<Client>,
    services: BTreeMap<ServiceName, Service>,
    running: JoinSet<(ServiceName, Result<(), String>)>,
}

/// A service that is asked for.
#[derive(Debug)]
struct Service {
    asked: Asked,
    /// When it was asked for last.
    began: Instant,
    /// When the next time is. While it is being asked for, so late that it is not asked twice.
    due: Instant,
    /// Pauses after failures that follow one another.
    pauses: backon::ExponentialBackoff,
    /// Whether there was no answer the last time.
    failing: bool,
}

impl Service {
    fn new(asked: Asked) -> Self {
        let now = Instant::now();
        Self { pauses: pauses(&asked), asked, began: now, due: now, failing: false }
    }
}

fn pauses(asked: &Asked) -> backon::ExponentialBackoff {
    backon::ExponentialBuilder::default()
        .with_min_delay(asked.interval)
        .with_max_delay(LONGEST_PAUSE.max(asked.interval))
        .without_max_times()
        .with_jitter()
        .build()
}

impl Asking {
    /// Asks `client` for `fleet`.
    #[must_use]
    pub fn new(fleet: Fleet, client: Option<Client>) -> Self {
        Self { fleet, client, services: BTreeMap::new(), running: JoinSet::new() }
    }

    /// Runs until the fleet stops.
    pub async fn run(mut self) {
        let mut look = Instant::now();
        loop {
            if look <= Instant::now() {
                look = Instant::now() + LOOK;
                match self.fleet.ask(|desk| Ok(desk.state.asked_of_prometheus())).await {
                    Ok(wanted) => self.want(wanted),
                    Err(_stopping) => return,
                }
            }
            self.begin();
            let full = self.running.len() >= AT_ONCE;
            let next = self.services.values().map(|service| service.due).filter(|_| !full).min();
            let next = next.unwrap_or(look).min(look);
            tokio::select! {
                Some(ended) = self.running.join_next() => match ended {
                    Ok((service, answered)) => self.ended(&service, &answered),
                    Err(error) => tracing::error!(%error, "a task that asks Prometheus broke off"),
                },
                () = sleep_until(next) => {}
            }
        }
    }

    /// Notes who wants to be asked for. What is asked otherwise now is asked at once.
    fn want(&mut self, wanted: BTreeMap<ServiceName, Asked>) {
        self.services.retain(|service, _| wanted.contains_key(service));
        for (name, asked) in wanted {
            match self.services.get_mut(&name) {
                Some(service) if service.asked == asked => {}
                // An answer to the old question that comes yet is dropped by the fleet.
                Some(service) => *service = Service::new(asked),
                None => drop(self.services.insert(name, Service::new(asked))),
            }
        }
    }

    /// Begins with whoever is due, the one that waits longest first.
    fn begin(&mut self) {
        let now = Instant::now();
        let mut due: Vec<(Instant, ServiceName)> = self
            .services
            .iter()
            .filter(|(_, service)| service.due <= now)
            .map(|(name, service)| (service.due, name.clone()))
            .collect();
        due.sort();
        for (_, name) in due.into_iter().take(AT_ONCE.saturating_sub(self.running.len())) {
            let Some(service) = self.services.get_mut(&name) else { continue };
            service.began = now;
            service.due = now + service.asked.timeout + LONGEST_PAUSE;
            let (fleet, client, asked) = (self.fleet.clone(), self.client.clone(), service.asked.clone());
            self.running.spawn(async move {
                let said = match &client {
                    Some(client) => client.ask(&asked.of, asked.timeout).await,
                    None => Err(AskFailure::NoServer),
                };
                let said = said.map_err(|failure| chain(&failure));
                let answered = said.as_ref().map(drop).map_err(Clone::clone);
                let of = name.clone();
                let told = fleet.ask(move |desk| {
                    desk.state.prometheus_said(&of, &asked, said, desk.now);
                    Ok(())
                });
                // The server ends where it cannot be told.
                let _ = told.await;
                (name, answered)
            });
        }
    }

    /// A service was asked for: when the next time is.
    fn ended(&mut self, name: &ServiceName, answered: &Result<(), String>) {
        let Some(service) = self.services.get_mut(name) else { return };
        match answered {
            Ok(()) => {
                if service.failing {
                    tracing::info!(service = %name, "Prometheus answers again");
                }
                service.pauses = pauses(&service.asked);
                service.due = service.began + service.asked.interval;
            }
            Err(why) => {
                // Once for all that follow; what is shown of a canary has the newest.
                if !service.failing {
                    tracing::warn!(service = %name, why, "Prometheus says nothing of it");
                }
                service.due = Instant::now() + service.pauses.next().unwrap_or(LONGEST_PAUSE);
            }
        }
        service.failing = answered.is_err();
    }
}
