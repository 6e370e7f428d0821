//! Reading of readiness and liveness: which keys mean something depends on the kind.

use super::Reader;
use crate::manifest::{
    Check, HttpCheck, Listener, ListenerName, Liveness, MAX_DEADLINE, Probe, Readiness, ReadinessCheck,
    Template, quantity::quoted, table::Section,
};
use std::{ops::RangeInclusive, time::Duration};

const MOMENT: Duration = Duration::from_millis(10);
const HOUR: Duration = Duration::from_secs(3600);

/// Every key of a probe that only some kinds have.
const KEYS: &[&str] =
    &["listener", "path", "host", "status", "service_name", "command", "interval", "timeout", "settle"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Notify,
    Alive,
    Http,
    Https,
    Grpc,
    Tcp,
    Exec,
}

impl Kind {
    const READINESS: &[(&str, Self)] = &[
        ("notify", Self::Notify),
        ("http", Self::Http),
        ("https", Self::Https),
        ("grpc", Self::Grpc),
        ("tcp", Self::Tcp),
        ("exec", Self::Exec),
        ("alive", Self::Alive),
    ];

    fn word(self) -> &'static str {
        Self::READINESS.iter().find(|(_, kind)| *kind == self).map_or("", |(word, _)| word)
    }

    /// The keys that mean something with it.
    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Notify => &[],
            Self::Alive => &["settle"],
            Self::Http | Self::Https => &["listener", "path", "host", "status", "interval", "timeout"],
            Self::Grpc => &["listener", "service_name", "interval", "timeout"],
            Self::Tcp => &["listener", "interval", "timeout"],
            Self::Exec => &["command", "interval", "timeout"],
        }
    }
}

/// Pauses of a probe where the manifest says nothing.
struct Defaults {
    interval: Duration,
    timeout: Duration,
}

impl Reader<'_, '_> {
    pub(super) fn readiness(
        &mut self,
        mut section: Section<'_>,
        listeners: &[Listener<Template>],
    ) -> Option<Readiness<Template>> {
        let defaults = Defaults { interval: Duration::from_millis(200), timeout: Duration::from_secs(2) };
        let kind = section.get("kind");
        let named = kind.is_some();
        let kind = match kind {
            Some(value) => value.choice(Kind::READINESS, self.problems),
            None if listeners.is_empty() => Some(Kind::Alive),
            None => Some(Kind::Tcp),
        };
        let deadline =
            section.duration("deadline", MOMENT..=MAX_DEADLINE, Duration::from_secs(60), self.problems);
        let Some(kind) = kind else {
            // Which of the rest means something cannot be said.
            section.know(KEYS);
            section.finish(self.problems);
            return None;
        };
        self.refuse_meaningless(&mut section, kind);
        let check = match kind {
            Kind::Notify => Some(ReadinessCheck::Notify),
            Kind::Alive => {
                let settle = section.get("settle");
                let span = settle.as_ref().map(|value| value.span.clone());
                let settle = settle.and_then(|value| value.duration(&(Duration::ZERO..=HOUR), self.problems));
                let settle = settle.unwrap_or(Duration::from_secs(1));
                if settle >= deadline {
                    let message = "can never be ready: settle is not shorter than the deadline";
                    self.problems.add(
                        span.unwrap_or(section.span()),
                        &format!("{}.settle", section.path()),
                        message,
                    );
                }
                Some(ReadinessCheck::Alive { settle })
            }
            // Without a kind and without a listener named: the first one.
            Kind::Tcp if !named && section.get("listener").is_none() => {
                let listener = listeners.first().map(|listener| listener.name.clone());
                let check = listener.map(|listener| Check::Tcp { listener });
                self.probe(&mut section, check, &defaults).map(ReadinessCheck::Probe)
            }
            _ => {
                let check = self.check(&mut section, kind, listeners);
                self.probe(&mut section, check, &defaults).map(ReadinessCheck::Probe)
            }
        };
        section.finish(self.problems);
        Some(Readiness { check: check?, deadline })
    }

    pub(super) fn liveness(
        &mut self,
        mut section: Section<'_>,
        listeners: &[Listener<Template>],
    ) -> Option<Liveness<Template>> {
        if !section.is_present() {
            return None;
        }
        let defaults = Defaults { interval: Duration::from_secs(5), timeout: Duration::from_secs(2) };
        let failures = section.integer("failures", 1..=1000, self.problems).unwrap_or(3);
        let Some(kind) = section.required("kind", self.problems) else {
            section.know(KEYS);
            section.finish(self.problems);
            return None;
        };
        let probes: Vec<_> = Kind::READINESS
            .iter()
            .filter(|(_, kind)| !matches!(kind, Kind::Notify | Kind::Alive))
            .copied()
            .collect();
        let Some(kind) = kind.choice(&probes, self.problems) else {
            section.know(KEYS);
            section.finish(self.problems);
            return None;
        };
        self.refuse_meaningless(&mut section, kind);
        let check = self.check(&mut section, kind, listeners);
        let probe = self.probe(&mut section, check, &defaults);
        section.finish(self.problems);
        Some(Liveness { probe: probe?, failures })
    }

    fn refuse_meaningless(&mut self, section: &mut Section<'_>, kind: Kind) {
        let others: Vec<_> = KEYS.iter().filter(|key| !kind.keys().contains(key)).copied().collect();
        let reason = format!("has no meaning with kind {:?}", kind.word());
        section.meaningless(&others, &reason, self.problems);
    }

    fn probe(
        &mut self,
        section: &mut Section<'_>,
        check: Option<Check<Template>>,
        defaults: &Defaults,
    ) -> Option<Probe<Template>> {
        let interval = section.duration("interval", MOMENT..=HOUR, defaults.interval, self.problems);
        let timeout = section.duration("timeout", MOMENT..=HOUR, defaults.timeout, self.problems);
        Some(Probe { check: check?, interval, timeout })
    }

    fn check(
        &mut self,
        section: &mut Section<'_>,
        kind: Kind,
        listeners: &[Listener<Template>],
    ) -> Option<Check<Template>> {
        match kind {
            Kind::Http => self.http(section, false, listeners).map(Check::Http),
            Kind::Https => self.http(section, true, listeners).map(Check::Http),
            Kind::Grpc => {
                let listener = self.listener_of(section, kind, listeners);
                let service_name = section.get("service_name");
                let service_name = service_name.and_then(|value| value.parsed(self.problems, grpc_service));
                Some(Check::Grpc { listener: listener?, service_name: service_name.unwrap_or_default() })
            }
            Kind::Exec => {
                let command =
                    section.required("command", self.problems).and_then(|value| self.command(&value));
                Some(Check::Exec { command: command? })
            }
            Kind::Tcp => self.listener_of(section, kind, listeners).map(|listener| Check::Tcp { listener }),
            // Not probes; each caller has taken them out before.
            Kind::Notify | Kind::Alive => None,
        }
    }

    fn http(
        &mut self,
        section: &mut Section<'_>,
        tls: bool,
        listeners: &[Listener<Template>],
    ) -> Option<HttpCheck> {
        let kind = if tls { Kind::Https } else { Kind::Http };
        let listener = self.listener_of(section, kind, listeners);
        let path = section.get("path").map(|value| value.parsed(self.problems, request_path));
        let host = section.get("host").and_then(|value| value.parsed(self.problems, host_header));
        let status = self.status(section).unwrap_or(200..=299);
        let path = path.unwrap_or_else(|| Some("/".to_owned()));
        Some(HttpCheck { listener: listener?, tls, path: path?, host, status })
    }

    fn status(&mut self, section: &mut Section<'_>) -> Option<RangeInclusive<u16>> {
        let value = section.get("status")?;
        let list = value.list(self.problems)?;
        let [first, last] = list.as_slice() else {
            let message =
                "expected the first and the last status code that count as success, like [200, 299]";
            self.problems.add(value.span, &value.path, message);
            return None;
        };
        let codes = 100..=599;
        let (first, last) = (first.integer(&codes, self.problems), last.integer(&codes, self.problems));
        let (first, last) = (first?, last?);
        if first > last {
            self.problems.add(value.span, &value.path, format!("{first} to {last} holds no status code"));
            return None;
        }
        Some(first..=last)
    }

    /// The listener that is named, or the only one.
    fn listener_of(
        &mut self,
        section: &mut Section<'_>,
        kind: Kind,
        listeners: &[Listener<Template>],
    ) -> Option<ListenerName> {
        let names: Vec<&str> = listeners.iter().map(|listener| listener.name.as_str()).collect();
        let path = format!("{}.listener", section.path());
        if let Some(value) = section.get("listener") {
            let text = value.text(self.problems)?;
            let found = listeners.iter().find(|listener| listener.name.as_str() == text);
            if found.is_none() {
                let message = match names.is_empty() {
                    true => format!("{} is no listener: the service has none", quoted(text)),
                    false => {
                        format!("{} is no listener of the service: it has {}", quoted(text), names.join(", "))
                    }
                };
                self.problems.add(value.span, &value.path, message);
            }
            return found.map(|listener| listener.name.clone());
        }
        match listeners {
            [only] => Some(only.name.clone()),
            [] => {
                let message = format!("kind {:?} asks a listener, and the service has none", kind.word());
                self.problems.add(section.span(), &path, message);
                None
            }
            _ => {
                let message = format!("is missing: there are several listeners: {}", names.join(", "));
                self.problems.add(section.span(), &path, message);
                None
            }
        }
    }
}

fn request_path(text: &str) -> Result<String, String> {
    let good = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
    if text.len() > 2048 || !text.starts_with('/') || !text.bytes().all(good) {
        return Err(format!(
            "{} is no path of a request: expected \"/\" and at most 2048 visible ASCII characters",
            quoted(text)
        ));
    }
    Ok(text.to_owned())
}

fn host_header(text: &str) -> Result<String, String> {
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
