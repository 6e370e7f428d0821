//! Asking instances: whether they are ready, then whether they live. Always through the pin.

use super::{Event, Instance, Reporter, Supervisor};
use crate::instance::{
    Group, LaunchSpec, LogSink, SideCommand,
    notify::NotifySocket,
    probe::{GrpcProbe, HttpProbe, ProbeKind, ProbeSpec, Route},
};
use handover_gate::{Pin, sock_diag};
use handover_model::{
    InstanceId,
    config::{Check, HttpCheck, ListenerName, Probe, ReadinessCheck},
    reached_at,
};
use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use tracing::Instrument as _;

/// How often the kernel is asked whether a connection was accepted.
const ACCEPT_STEP: Duration = Duration::from_millis(2);

/// Begins to ask whether an instance is ready.
pub(super) fn readiness(supervisor: &mut Supervisor, id: &InstanceId) {
    let Some(instance) = supervisor.instances.get_mut(id) else { return };
    let Some(manifest) = &instance.manifest else { return };
    match manifest.readiness.check.clone() {
        ReadinessCheck::Alive { settle } => supervisor.begin_probe(id, move |reporter| async move {
            tokio::time::sleep(settle).await;
            reporter.tell(Event::Ready { unready_probes: None }).await;
        }),
        // What it says is heard anyway.
        ReadinessCheck::Notify => "READY=1 on its NOTIFY_SOCKET".clone_into(&mut instance.waits),
        ReadinessCheck::Probe(probe) => {
            let from_its_start = !instance.taken_over;
            let Some(asked) = supervisor.probe(id, &probe) else { return };
            supervisor.begin_probe(id, move |reporter| {
                until_ready(reporter, asked, probe.interval, from_its_start)
            });
        }
    }
}

/// Begins to hear what an instance says on its NOTIFY_SOCKET, where it has one: for as long as it lives, since a
/// program that notifies into a full socket blocks.
pub(super) fn notifications(supervisor: &mut Supervisor, id: &InstanceId, group: &Group) {
    let Some(socket) = supervisor.instances.get(id).and_then(|instance| instance.notify.clone()) else {
        return;
    };
    let group = group.clone();
    supervisor.begin(id, move |reporter| listen(reporter, socket, group));
}

/// Begins to ask whether an instance lives, where its manifest says so.
pub(super) fn liveness(supervisor: &mut Supervisor, id: &InstanceId) {
    let Some(instance) = supervisor.instances.get_mut(id) else { return };
    instance.probes = super::Tasks::default();
    let Some(liveness) = instance.manifest.as_ref().and_then(|manifest| manifest.liveness.clone()) else {
        return;
    };
    let Some(asked) = supervisor.probe(id, &liveness.probe) else { return };
    let (interval, failures) = (liveness.probe.interval, liveness.failures);
    supervisor.begin_probe(id, move |reporter| while_alive(reporter, asked, interval, failures));
}

/// Asks until the answer is good. Whoever was not asked from its start on may have answered badly before.
async fn until_ready(reporter: Reporter, probe: Asked, interval: Duration, from_its_start: bool) {
    let (mut said, mut bad) = (String::new(), 0_u32);
    loop {
        match probe.ask().await {
            Ok(()) => {
                let unready_probes = (from_its_start || bad > 0).then_some(bad);
                return reporter.tell(Event::Ready { unready_probes }).await;
            }
            Err(reason) => {
                bad = bad.saturating_add(1);
                if reason != said {
                    said.clone_from(&reason);
                    reporter.tell(Event::NotYet(reason)).await;
                }
            }
        }
        tokio::time::sleep(interval).await;
    }
}

/// Asks until `failures` answers in a row were bad.
async fn while_alive(reporter: Reporter, probe: Asked, interval: Duration, failures: u32) {
    let mut bad = 0;
    loop {
        tokio::time::sleep(interval).await;
        match probe.ask().await {
            Ok(()) => bad = 0,
            Err(reason) => {
                bad += 1;
                if bad >= failures {
                    let reason = format!("{reason} ({bad} times in a row)");
                    return reporter.tell(Event::Unhealthy(reason)).await;
                }
            }
        }
    }
}

/// Hears what the program says of itself, for as long as it lives.
async fn listen(reporter: Reporter, socket: Arc<NotifySocket>, group: Group) {
    loop {
        match socket.recv(&group).await {
            Ok(said) => {
                if let Some(status) = said.status {
                    reporter.tell(Event::Status(status)).await;
                }
                if said.ready {
                    reporter.tell(Event::Ready { unready_probes: None }).await;
                }
            }
            Err(error) => {
                return reporter
                    .tell(Event::NotYet(format!("its notify socket cannot be read: {error}")))
                    .await;
            }
        }
    }
}

/// A probe that knows its way to the instance.
#[derive(Debug)]
pub(super) struct Asked {
    question: Question,
    timeout: Duration,
    /// Counted up, so that an IPv6 pin, which is a range of ports, uses each in turn.
    turn: std::sync::atomic::AtomicUsize,
}

/// What is asked, and where.
#[derive(Debug)]
enum Question {
    Http { way: Way, check: HttpCheck },
    Grpc { way: Way, service_name: String },
    Tcp { way: Way },
    Exec(Box<SideCommand>),
}

/// From a pin to a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    pin: Pin,
    listener: SocketAddr,
}

impl Asked {
    /// Asks once.
    async fn ask(&self) -> Result<(), String> {
        let turn = self.turn.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let kind = match &self.question {
            Question::Tcp { way } => {
                let server = reached_at(way.listener);
                return match way.is_accepted(self.timeout).await? {
                    true => Ok(()),
                    false => Err(format!(
                        "{server} took the connection, but the program did not accept it within {:?}",
                        self.timeout
                    )),
                };
            }
            Question::Http { way, check } => {
                let probe = HttpProbe {
                    route: way.route(turn),
                    path: check.path.clone(),
                    host: check.host.clone(),
                    status: check.status.clone(),
                };
                if check.tls { ProbeKind::Https(probe) } else { ProbeKind::Http(probe) }
            }
            Question::Grpc { way, service_name } => {
                ProbeKind::Grpc(GrpcProbe { route: way.route(turn), service_name: service_name.clone() })
            }
            Question::Exec(probe) => ProbeKind::Exec(probe.clone()),
        };
        let spec = ProbeSpec { kind, timeout: self.timeout };
        spec.ask().await.map(drop).map_err(|failure| handover_model::chain(&failure))
    }
}

impl Way {
    /// For a probe.
    fn route(self, turn: usize) -> Route {
        let sources: Vec<SocketAddr> = self.pin.sources_for(self.listener).collect();
        self.from(&sources[..sources.len().div_ceil(2)], turn)
    }

    /// For a reading of metrics: where a pin is a range of ports, one that no probe uses, so that a reading that takes
    /// its time is in no probe's way.
    pub(crate) fn reading(self, turn: usize) -> Route {
        let sources: Vec<SocketAddr> = self.pin.sources_for(self.listener).collect();
        self.from(&sources[sources.len() / 2..], turn)
    }

    fn from(self, sources: &[SocketAddr], turn: usize) -> Route {
        Route { source: sources[turn % sources.len()], target: reached_at(self.listener) }
    }

    /// Whether the program accepts a connection. That it can be opened says nothing: the socket listens from before
    /// the program was started. Accepted is what belongs to a process.
    pub(super) async fn is_accepted(self, timeout: Duration) -> Result<bool, String> {
        let asked = tokio::task::spawn_blocking(move || {
            let deadline = Instant::now() + timeout;
            let stream = self.pin.connect(self.listener, timeout).map_err(|error| error.to_string())?;
            let client = stream.local_addr().map_err(|error| error.to_string())?;
            let server = stream.peer_addr().map_err(|error| error.to_string())?;
            stream.set_nonblocking(true).map_err(|error| error.to_string())?;
            while Instant::now() < deadline {
                // Whoever says something, or closes it, has accepted it: what only waits in a queue is reset.
                match stream.peek(&mut [0]) {
                    Ok(_) => return Ok(true),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error.to_string()),
                }
                match sock_diag::find(server, client) {
                    Ok(Some(connection)) if connection.inode.is_some() => return Ok(true),
                    Ok(_) => std::thread::sleep(ACCEPT_STEP),
                    Err(error) => return Err(format!("sock_diag: {error}")),
                }
            }
            Ok(false)
        });
        asked.await.unwrap_or_else(|error| Err(error.to_string()))
    }
}

impl Instance {
    /// The way through its pin to one of its listeners. Where the pin is not set it leads to another instance.
    pub(super) fn way(&self, name: &ListenerName) -> Option<Way> {
        let listeners = &self.manifest.as_ref()?.listeners;
        let listener = listeners.iter().find(|listener| listener.name == *name)?;
        Some(Way { pin: Pin::new(self.pin).ok()?, listener: listener.address })
    }
}

impl Supervisor {
    /// The probe of a manifest, on its way to an instance.
    fn probe(&self, id: &InstanceId, probe: &Probe) -> Option<Asked> {
        let instance = self.instances.get(id)?;
        let manifest = instance.manifest.as_ref()?;
        // Through a pin that is not set another instance would answer for this one.
        if !self.gates.leads_to(instance.service(), &manifest.listeners, id) {
            tracing::error!(instance = %id, "is not asked: it has lost its listening sockets");
            return None;
        }
        let way = |name: &ListenerName| instance.way(name);
        let question = match &probe.check {
            Check::Http(check) => Question::Http { way: way(&check.listener)?, check: check.clone() },
            Check::Grpc { listener, service_name } => {
                Question::Grpc { way: way(listener)?, service_name: service_name.clone() }
            }
            Check::Tcp { listener } => Question::Tcp { way: way(listener)? },
            Check::Exec { command } => Question::Exec(Box::new(self.beside(id, command)?)),
        };
        Some(Asked { question, timeout: probe.timeout, turn: 0.into() })
    }

    /// A command beside an instance that runs.
    pub(super) fn beside(&self, id: &InstanceId, command: &[String]) -> Option<SideCommand> {
        let instance = self.instances.get(id)?;
        let manifest = instance.manifest.as_ref()?;
        let folder = self.bundles.folder(&instance.release.bundle.digest);
        let spec = super::starting::spec(
            manifest,
            &instance.release,
            id.as_str(),
            &folder,
            None,
            LogSink::Inherited,
        );
        let spec = LaunchSpec { command: command.to_vec(), ..spec };
        let place = instance.state.group()?.place_beside();
        Some(SideCommand { launcher: self.launcher.clone(), spec, place })
    }

    /// Runs a task that asks, until the instance's life or its probing ends.
    pub(super) fn begin_probe<F>(&mut self, id: &InstanceId, task: impl FnOnce(Reporter) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        if let Some(instance) = self.instances.get_mut(id) {
            let reporter =
                Reporter { instance: id.clone(), life: instance.life, events: self.events.clone() };
            let task = task(reporter).instrument(super::span(id, instance.service()));
            instance.probes.0.push(tokio::spawn(task).abort_handle());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn sources(listener: &str, route: impl Fn(Way, usize) -> Route) -> BTreeSet<SocketAddr> {
        let way = Way { pin: Pin::new(5).unwrap(), listener: listener.parse().unwrap() };
        (0..100).map(|turn| route(way, turn).source).collect()
    }

    #[tokio::test]
    async fn accepted_is_what_the_program_took_also_where_it_closed_it_at_once() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let way = Way { pin: Pin::new(5).unwrap(), listener: listener.local_addr().unwrap() };
        assert_eq!(way.is_accepted(Duration::from_millis(50)).await, Ok(false), "it waits in the queue");
        // The one that waited, and the next one, each of which is closed as soon as it is there.
        let program = std::thread::spawn(move || drop((listener.accept(), listener.accept())));
        assert_eq!(way.is_accepted(Duration::from_secs(5)).await, Ok(true));
        program.join().unwrap();
    }

    #[test]
    fn a_reading_that_takes_its_time_is_in_no_probes_way() {
        let (probes, readings) = (sources("[::1]:80", Way::route), sources("[::1]:80", Way::reading));
        assert_eq!((probes.len(), readings.len()), (8, 8));
        assert!(probes.is_disjoint(&readings), "{probes:?} {readings:?}");
        let pin: BTreeSet<SocketAddr> = ["127.77.0.5:0".parse().unwrap()].into();
        assert_eq!(sources("127.0.0.1:80", Way::route), pin);
        assert_eq!(sources("127.0.0.1:80", Way::reading), pin, "its port is the kernel's to choose");
    }
}
