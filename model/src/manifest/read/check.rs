//! Reading of readiness and liveness: which keys mean something depends on the kind.

use super::Reader;
use crate::language::{Section, Value, quoted};
use crate::manifest::{
    Check, HttpCheck, Listener, ListenerName, Liveness, Probe, Readiness, ReadinessCheck, Template,
    keys::{
        Durations, FirstAndLast, Key,
        probe::{self as keys, Kind},
    },
};
use std::{collections::BTreeSet, ops::RangeInclusive, time::Duration};

/// Pauses of a probe where the manifest says nothing.
struct Defaults {
    interval: (&'static Key<Durations>, Duration),
    timeout: Duration,
}

impl Reader<'_, '_> {
    pub(super) fn readiness(
        &mut self,
        section: &Section<'_>,
        listeners: &[Listener<Template>],
    ) -> Option<Readiness<Template>> {
        section.refuse_unknown(self.problems);
        let interval = (&keys::READY_INTERVAL, Duration::from_millis(200));
        let defaults = Defaults { interval, timeout: Duration::from_secs(2) };
        let kind = section.get(&keys::READY_KIND);
        let named = kind.is_some();
        let kind = match kind {
            Some(value) => value.choice(keys::READY_KIND.value, self.problems),
            None if listeners.is_empty() => Some(Kind::Alive),
            None => Some(Kind::Tcp),
        };
        let deadline = section.duration(&keys::DEADLINE, Duration::from_secs(60), self.problems);
        // Without a kind it cannot be said which of the rest means something.
        let kind = kind?;
        self.refuse_meaningless(section, kind);
        let check = match kind {
            Kind::Notify => Some(ReadinessCheck::Notify),
            Kind::Alive => {
                let settle = section.duration(&keys::SETTLE, Duration::from_secs(1), self.problems);
                if settle >= deadline && !self.problems.doubtful() {
                    let message = "can never be ready: settle is not shorter than the deadline";
                    let value = section.get(&keys::SETTLE).or_else(|| section.get(&keys::DEADLINE));
                    let span = value.map_or(section.span(), |value| value.span);
                    self.problems.add(span, &format!("{}.settle", section.path()), message);
                }
                Some(ReadinessCheck::Alive { settle })
            }
            // Without a kind and without a listener named: the first one.
            Kind::Tcp if !named && section.get(&keys::LISTENER).is_none() => {
                let listener = listeners.first().map(|listener| listener.name.clone());
                let check = listener.map(|listener| Check::Tcp { listener });
                self.probe(section, check, &defaults).map(ReadinessCheck::Probe)
            }
            Kind::Http | Kind::Https | Kind::Grpc | Kind::Tcp | Kind::Exec => {
                let check = self.check(section, kind, listeners);
                self.probe(section, check, &defaults).map(ReadinessCheck::Probe)
            }
        };
        Some(Readiness { check: check?, deadline })
    }

    pub(super) fn liveness(
        &mut self,
        section: &Section<'_>,
        listeners: &[Listener<Template>],
    ) -> Option<Liveness<Template>> {
        if !section.is_present() {
            return None;
        }
        section.refuse_unknown(self.problems);
        let interval = (&keys::LIVE_INTERVAL, Duration::from_secs(5));
        let defaults = Defaults { interval, timeout: Duration::from_secs(2) };
        let failures = section.integer(&keys::FAILURES, self.problems).unwrap_or(3);
        let kind = section.required(&keys::LIVE_KIND, self.problems)?;
        let kind = kind.choice(keys::LIVE_KIND.value, self.problems)?;
        self.refuse_meaningless(section, kind);
        let check = self.check(section, kind, listeners);
        let probe = self.probe(section, check, &defaults);
        Some(Liveness { probe: probe?, failures })
    }

    fn refuse_meaningless(&mut self, section: &Section<'_>, kind: Kind) {
        let some = keys::READINESS.kinds().into_iter().flat_map(|(_, keys)| keys).copied();
        let others: BTreeSet<_> = some.filter(|key| !kind.keys().contains(key)).collect();
        let reason = format!("has no meaning with kind {:?}", kind.word());
        section.meaningless(others, &reason, self.problems);
    }

    fn probe(
        &mut self,
        section: &Section<'_>,
        check: Option<Check<Template>>,
        defaults: &Defaults,
    ) -> Option<Probe<Template>> {
        let (key, default) = defaults.interval;
        let interval = section.duration(key, default, self.problems);
        let timeout = section.duration(&keys::TIMEOUT, defaults.timeout, self.problems);
        Some(Probe { check: check?, interval, timeout })
    }

    fn check(
        &mut self,
        section: &Section<'_>,
        kind: Kind,
        listeners: &[Listener<Template>],
    ) -> Option<Check<Template>> {
        match kind {
            Kind::Http => self.http(section, false, listeners).map(Check::Http),
            Kind::Https => self.http(section, true, listeners).map(Check::Http),
            Kind::Grpc => {
                let listener = self.listener_of(section, kind, listeners);
                let service_name = section.get(&keys::SERVICE_NAME);
                let service_name = service_name.and_then(|value| value.parsed(self.problems, grpc_service));
                Some(Check::Grpc { listener: listener?, service_name: service_name.unwrap_or_default() })
            }
            Kind::Exec => {
                let command =
                    section.required(&keys::COMMAND, self.problems).and_then(|value| self.command(&value));
                Some(Check::Exec { command: command? })
            }
            Kind::Tcp => self.listener_of(section, kind, listeners).map(|listener| Check::Tcp { listener }),
            // Not probes; each caller has taken them out before.
            Kind::Notify | Kind::Alive => None,
        }
    }

    fn http(
        &mut self,
        section: &Section<'_>,
        tls: bool,
        listeners: &[Listener<Template>],
    ) -> Option<HttpCheck> {
        let kind = if tls { Kind::Https } else { Kind::Http };
        let listener = self.listener_of(section, kind, listeners);
        let path = section.get(&keys::PATH).map(|value| value.parsed(self.problems, request_path));
        let host = section.get(&keys::HOST).and_then(|value| value.parsed(self.problems, host_header));
        let status = self.status(section).unwrap_or(200..=299);
        let path = path.unwrap_or_else(|| Some("/".to_owned()));
        Some(HttpCheck { listener: listener?, tls, path: path?, host, status })
    }

    fn status(&mut self, section: &Section<'_>) -> Option<RangeInclusive<u16>> {
        let value = section.get(&keys::STATUS)?;
        let list = value.list(self.problems)?;
        let [first, last] = list.as_slice() else {
            let message =
                "expected the first and the last status code that count as success, like [200, 299]";
            self.problems.add(value.span, &value.path, message);
            return None;
        };
        let FirstAndLast(least, most) = keys::STATUS.value;
        let codes = least..=most;
        let (first, last) = (first.integer(&codes, self.problems), last.integer(&codes, self.problems));
        let (first, last) = (first?, last?);
        if first > last {
            self.problems.add(value.span, &value.path, format!("{first} to {last} holds no status code"));
            return None;
        }
        Some(first..=last)
    }

    /// The listener of this name.
    pub(super) fn named_listener(
        &mut self,
        value: &Value<'_>,
        listeners: &[Listener<Template>],
    ) -> Option<ListenerName> {
        let names: Vec<&str> = listeners.iter().map(|listener| listener.name.as_str()).collect();
        let text = value.text(self.problems)?;
        let found = listeners.iter().find(|listener| listener.name.as_str() == text);
        if found.is_none() && !self.problems.doubtful() {
            let what = match names.is_empty() {
                true => "is no listener: the service has none".to_owned(),
                false => format!("is no listener of the service: it has {}", names.join(", ")),
            };
            value.none_of(text, &names, &what, self.problems);
        }
        found.map(|listener| listener.name.clone())
    }

    /// The listener that is named, or the only one.
    fn listener_of(
        &mut self,
        section: &Section<'_>,
        kind: Kind,
        listeners: &[Listener<Template>],
    ) -> Option<ListenerName> {
        if let Some(value) = section.get(&keys::LISTENER) {
            return self.named_listener(&value, listeners);
        }
        let names: Vec<&str> = listeners.iter().map(|listener| listener.name.as_str()).collect();
        let path = format!("{}.listener", section.path());
        match listeners {
            [only] => Some(only.name.clone()),
            _ if self.problems.doubtful() => None,
            [] => {
                let message = format!("kind {:?} asks a listener, and the service has none", kind.word());
                let hint = "add one: [listeners] with http = \"0.0.0.0:8080\"";
                self.problems.add_with_hint(section.span(), &path, message, hint);
                None
            }
            _ => {
                let message = format!("is missing: there are several listeners: {}", names.join(", "));
                let hint = format!("write it like this: listener = {:?}", names[0]);
                self.problems.add_with_hint(section.span(), &path, message, hint);
                None
            }
        }
    }
}

pub(super) fn request_path(text: &str) -> Result<String, String> {
    let good = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
    if text.len() > 2048 || !text.starts_with('/') || !text.bytes().all(good) {
        return Err(format!(
            "{} is no path of a request: expected \"/\" and at most 2048 visible ASCII characters",
            quoted(text)
        ));
    }
    Ok(text.to_owned())
}

pub(super) fn host_header(text: &str) -> Result<String, String> {
    let good =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    if text.is_empty() || text.len() > 255 || !text.bytes().all(good) {
        return Err(format!(
            "{} is no host: expected a name or an address, perhaps with a port",
            quoted(text)
        ));
    }
    Ok(text.to_owned())
}

fn grpc_service(text: &str) -> Result<String, String> {
    if text.len() > 255 || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!(
            "{} is no gRPC service: expected at most 255 visible ASCII characters",
            quoted(text)
        ));
    }
    Ok(text.to_owned())
}
