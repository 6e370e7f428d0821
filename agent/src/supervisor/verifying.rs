//! Verifying a candidate: the commands of its manifest run once on the host when it is ready and still hidden, and
//! reach it through its pin. It counts as ready when all have ended well.
//!
//! Only an instance that never had a share is verified: what has served is not held up by a test of a release when it
//! crashes or the machine starts again. Nothing of it is written down but that it is starting: an agent that dies
//! meanwhile asks for its readiness and verifies it anew.

use super::{Event, Instance, Reporter, Supervisor};
use crate::{
    clock::now,
    commands::Question,
    instance::{SideCommand, logs},
    state::{Run, State, Then},
};
use handover_gate::Pin;
use handover_model::{
    InstanceId, PinSource, address_variable,
    config::{Listener, Verify},
    reached_at,
};
use std::{collections::BTreeMap, time::Duration};

/// Bytes of a command's output that are kept.
const KEPT_BYTES: usize = 4096;

impl Supervisor {
    /// Its readiness holds: it is ready, or is to be verified first.
    pub(super) fn answers(&mut self, id: &InstanceId) {
        let Some(instance) = self.instances.get(id) else { return };
        let starting = matches!(instance.state, State::Running { run: Run::Starting { .. }, .. });
        if !starting || instance.verifying {
            return;
        }
        let verify = instance.manifest.as_ref().and_then(|manifest| manifest.verify.clone());
        match verify.filter(|_| !instance.had_share) {
            Some(verify) => self.verify(id, &verify),
            None => self.ready(id),
        }
    }

    fn verify(&mut self, id: &InstanceId, verify: &Verify) {
        let commands: Option<Vec<SideCommand>> =
            verify.commands.iter().map(|words| self.towards(id, words)).collect();
        let Some(commands) = commands else {
            return self.not_verified(id, "it has lost its listening sockets");
        };
        let Some(instance) = self.instances.get_mut(id) else { return };
        let State::Running { run: Run::Starting { deadline, .. }, .. } = &mut instance.state else { return };
        // Each command has its own time; this one is for an agent that is too slow to keep it.
        *deadline = now() + verify.deadline();
        instance.verifying = true;
        tracing::info!(instance = %id, commands = commands.len(), "is verified");
        self.note(id);
        let limit = verify.timeout;
        self.begin_probe(id, move |reporter| run_all(reporter, commands, limit));
    }

    /// A command beside an instance, with the way to it in its environment; `None` where there is none.
    fn towards(&self, id: &InstanceId, words: &[String]) -> Option<SideCommand> {
        let instance = self.instances.get(id)?;
        let listeners = &instance.manifest.as_ref()?.listeners;
        // Through a pin that is not set another instance would answer for this one.
        if !self.gates.leads_to(instance.service(), listeners, id) {
            return None;
        }
        let mut command = self.beside(id, words)?;
        command.spec.environment.extend(way_there(instance.pin_source()?, listeners));
        Some(command)
    }

    /// A command for an operator, beside an instance that no client is sent to.
    pub(super) fn lead(&self, question: Question) {
        let Question { instance: id, words, answer } = question;
        let hidden = self.instances.get(&id).is_some_and(|instance| {
            let up = matches!(
                instance.state,
                State::Running { run: Run::Starting { .. } | Run::Ready { .. } | Run::Unhealthy { .. }, .. }
            );
            up && instance.share.is_hidden()
        });
        let found = match hidden {
            true => self.towards(&id, &words).ok_or_else(|| "it has lost its listening sockets".to_owned()),
            false => Err("it is not hidden any more, or does not run".to_owned()),
        };
        // Who does not wait any more needs no answer.
        let _ = answer.send(found);
    }

    /// A command failed: the candidate is ended and not tried again.
    pub(super) fn not_verified(&mut self, id: &InstanceId, reason: &str) {
        let Some(instance) = self.instances.get_mut(id) else { return };
        let State::Running { run: run @ Run::Starting { .. }, group, .. } = &mut instance.state else {
            return;
        };
        let group = group.clone();
        tracing::warn!(instance = %id, reason, "did not pass");
        *run =
            Run::Stopping { since: now(), then: Then::GiveUp { reason: format!("verify failed: {reason}") } };
        instance.entered = now();
        self.note(id);
        self.end(id, group);
    }
}

impl Instance {
    /// Where to connect from so as to reach it.
    pub(super) fn pin_source(&self) -> Option<PinSource> {
        Pin::new(self.pin).ok().map(source_of)
    }
}

fn source_of(pin: Pin) -> PinSource {
    let ports = pin.ipv6_ports();
    PinSource { address: pin.ipv4_source(), first_port: *ports.start(), last_port: *ports.end() }
}

/// Runs the commands in their order, until one fails.
async fn run_all(reporter: Reporter, commands: Vec<SideCommand>, limit: Duration) {
    let count = commands.len();
    for (number, command) in (1..).zip(commands) {
        let subject = logs::escape(&command.subject());
        reporter.tell(Event::NotYet(format!("verifies it: {subject} ({number} of {count})"))).await;
        let failure = match command.run(limit, KEPT_BYTES).await {
            Ok(ran) => ran.failure(limit),
            Err(error) => Some(handover_model::chain(&error)),
        };
        if let Some(failure) = failure {
            return reporter.tell(Event::Verified(Err(format!("{subject} {failure}")))).await;
        }
    }
    reporter.tell(Event::Verified(Ok(()))).await;
}

/// What a command finds in its environment: where to connect from and to, so as to reach one instance whatever its
/// share is. Of two listeners whose names differ in `-` and `_` alone the later one has the variable.
fn way_there(pin: PinSource, listeners: &[Listener]) -> BTreeMap<String, String> {
    let address = |listener: &Listener| {
        (address_variable(listener.name.as_str()), reached_at(listener.address).to_string())
    };
    let from = [
        ("HANDOVER_PIN".to_owned(), pin.address.to_string()),
        ("HANDOVER_PIN_PORTS".to_owned(), format!("{}-{}", pin.first_port, pin.last_port)),
    ];
    from.into_iter().chain(listeners.iter().map(address)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use handover_model::config::Handoff;

    #[test]
    fn the_way_is_one_that_a_client_can_connect_from_and_to() {
        let listener = |name: &str, address: &str| Listener {
            name: name.parse().unwrap(),
            address: address.parse().unwrap(),
            backlog: 1,
            handoff: Handoff::Inherit,
        };
        let listeners = [listener("http", "0.0.0.0:8080"), listener("side-door", "[::]:81")];
        let way = way_there(source_of(Pin::new(3).unwrap()), &listeners);
        let expected = [
            ("HANDOVER_ADDRESS_HTTP", "127.0.0.1:8080"),
            ("HANDOVER_ADDRESS_SIDE_DOOR", "[::1]:81"),
            ("HANDOVER_PIN", "127.77.0.3"),
            ("HANDOVER_PIN_PORTS", "61048-61063"),
        ];
        assert!(way.iter().map(|(name, value)| (name.as_str(), value.as_str())).eq(expected), "{way:?}");
    }

    #[test]
    fn what_is_told_of_a_pin_and_its_listeners_is_what_the_gate_does() {
        let pin = Pin::new(254).unwrap();
        for address in
            ["0.0.0.0:80", "[::]:80", "[::1]:80", "10.0.0.1:80", "[::ffff:10.0.0.1]:80", "[fe80::1%3]:80"]
        {
            let listener = address.parse().unwrap();
            let told = source_of(pin);
            for source in pin.sources_for(listener) {
                let told_so = if source.is_ipv4() {
                    source.ip() == told.address
                } else {
                    (told.first_port..=told.last_port).contains(&source.port())
                };
                assert!(told_so, "{address}: {source} is not among {told:?}");
            }
        }
    }
}
