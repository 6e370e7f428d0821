//! Reading of where a service counts its requests.

use super::{
    Reader,
    check::{host_header, request_path},
};
use crate::{
    Selector,
    language::{Section, Value},
    manifest::{
        Listener, ListenerName, MetricsConfig, Template,
        keys::{Durations, Key, Text, metrics as keys},
    },
};
use std::time::Duration;

impl Reader<'_, '_> {
    /// `None` where the table is not there, and where a mistake in it was noted.
    pub(super) fn metrics(
        &mut self,
        section: &Section<'_>,
        listeners: &[Listener<Template>],
    ) -> Option<MetricsConfig> {
        const INTERVAL: Duration = Duration::from_secs(5);
        const TIMEOUT: Duration = Duration::from_secs(2);
        if !section.is_present() {
            return None;
        }
        section.refuse_unknown(self.problems);
        let tls = section.choice(&keys::SOURCE, self.problems).unwrap_or(false);
        let listener = self.first_listener(section, listeners);
        let path = section.get(&keys::PATH).and_then(|value| value.parsed(self.problems, request_path));
        let host = section.get(&keys::HOST).and_then(|value| value.parsed(self.problems, host_header));
        let interval = section.duration(&keys::INTERVAL, INTERVAL, self.problems);
        let Durations(least, most) = keys::TIMEOUT.value;
        // Where the text could not be read `interval` may say something else.
        let most = if self.problems.doubtful() { most } else { interval };
        let timeout =
            section.get(&keys::TIMEOUT).and_then(|value| value.duration(&(least..=most), self.problems));
        let requests = self.selector(section, &keys::REQUESTS);
        let errors = self.selector(section, &keys::ERRORS);
        let latency = self.selector(section, &keys::LATENCY);
        self.refuse_edges(section, latency.as_ref());
        Some(MetricsConfig {
            listener: listener?,
            tls,
            path: path.unwrap_or_else(|| "/metrics".to_owned()),
            host,
            interval,
            timeout: timeout.unwrap_or(TIMEOUT.min(interval)),
            requests,
            errors,
            latency,
        })
    }

    /// The listener that is named, or the first one.
    fn first_listener(
        &mut self,
        section: &Section<'_>,
        listeners: &[Listener<Template>],
    ) -> Option<ListenerName> {
        if let Some(value) = section.get(&keys::LISTENER) {
            return self.named_listener(&value, listeners);
        }
        let first = listeners.first().map(|listener| listener.name.clone());
        if first.is_none() && !self.problems.doubtful() {
            let message = "is asked through a listener, and the service has none";
            let hint = "add one: [listeners] with http = \"0.0.0.0:8080\"";
            self.problems.add_with_hint(section.span(), section.path(), message, hint);
        }
        first
    }

    fn selector(&mut self, section: &Section<'_>, key: &Key<Text>) -> Option<Selector> {
        let value = section.get(key)?;
        let text = value.text(self.problems)?;
        let mistakes = match Selector::parse(text) {
            Ok(selector) => return Some(selector),
            Err(mistakes) => mistakes,
        };
        for mistake in mistakes {
            let span = self.problems.inside(value.span.clone(), text, mistake.at);
            match mistake.hint {
                Some(hint) => self.problems.add_with_hint(span, &value.path, mistake.message, hint),
                None => self.problems.add(span, &value.path, mistake.message),
            }
        }
        None
    }

    /// A histogram is taken with all of its buckets.
    fn refuse_edges(&mut self, section: &Section<'_>, latency: Option<&Selector>) {
        let edges = latency.is_some_and(|latency| {
            latency.matchers().iter().any(|matcher| matches!(matcher.label(), "le" | "quantile"))
        });
        if let (true, Some(Value { path, span, .. })) = (edges, section.get(&keys::LATENCY)) {
            let message =
                "a histogram is taken with all of its buckets: leave out the labels le and quantile";
            self.problems.add(span, &path, message);
        }
    }
}
