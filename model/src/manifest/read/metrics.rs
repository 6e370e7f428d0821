//! Reading of where a service counts its requests.

use super::{
    Reader,
    check::{host_header, request_path},
};
use crate::{
    Selector,
    language::{Section, Value, quoted},
    manifest::{
        EndpointMetrics, Listener, ListenerName, MetricsConfig, MetricsSource, PARTS_LABEL,
        PrometheusMetrics, Template,
        keys::{
            Durations, Key, Text,
            metrics::{self as keys, Source},
        },
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
        const TIMEOUT: Duration = Duration::from_secs(2);
        if !section.is_present() {
            return None;
        }
        section.refuse_unknown(self.problems);
        let source = section.choice(&keys::SOURCE, self.problems).unwrap_or(Source::Http);
        let [of_endpoint, of_prometheus] = keys::INTERVALS;
        let default = if source == Source::Prometheus { of_prometheus } else { of_endpoint };
        let interval = section.duration(&keys::INTERVAL, default, self.problems);
        let Durations(least, most) = keys::TIMEOUT.value;
        // Where the text could not be read `interval` may say something else.
        let most = if self.problems.doubtful() { most } else { interval };
        let timeout =
            section.get(&keys::TIMEOUT).and_then(|value| value.duration(&(least..=most), self.problems));
        let source = match source {
            Source::Http => self.endpoint(section, false, listeners).map(MetricsSource::Endpoint),
            Source::Https => self.endpoint(section, true, listeners).map(MetricsSource::Endpoint),
            Source::Prometheus => self.prometheus(section).map(MetricsSource::Prometheus),
        };
        Some(MetricsConfig { source: source?, interval, timeout: timeout.unwrap_or(TIMEOUT.min(interval)) })
    }

    /// What each instance is asked for.
    fn endpoint(
        &mut self,
        section: &Section<'_>,
        tls: bool,
        listeners: &[Listener<Template>],
    ) -> Option<EndpointMetrics> {
        let of_prometheus = [keys::HOST_LABEL.name(), keys::RELEASE_LABEL.name()];
        let reason = "means something with source = \"prometheus\" only";
        section.meaningless(of_prometheus, reason, self.problems);
        let listener = self.first_listener(section, listeners);
        let path = section.get(&keys::PATH).and_then(|value| value.parsed(self.problems, request_path));
        let host = section.get(&keys::HOST).and_then(|value| value.parsed(self.problems, host_header));
        let [requests, errors, latency] = self.selectors(section);
        let path = path.unwrap_or_else(|| "/metrics".to_owned());
        Some(EndpointMetrics { listener: listener?, tls, path, host, requests, errors, latency })
    }

    /// What a Prometheus server is asked for.
    fn prometheus(&mut self, section: &Section<'_>) -> Option<PrometheusMetrics> {
        let of_endpoint = [keys::LISTENER.name(), keys::PATH.name(), keys::HOST.name()];
        let reason = "means nothing with source = \"prometheus\": where that is stands in server.toml";
        section.meaningless(of_endpoint, reason, self.problems);
        for key in [&keys::REQUESTS, &keys::ERRORS] {
            if section.get(key).is_none() && !self.problems.doubtful() {
                let path = format!("{}.{}", section.path(), key.name());
                let message =
                    "is missing: a Prometheus server is asked for what is named, nothing is guessed";
                let hint =
                    format!("write it like this: {} = 'http_requests_total{{code=~\"5..\"}}'", key.name());
                self.problems.add_with_hint(section.span(), &path, message, hint);
            }
        }
        let [requests, errors, latency] = self.selectors(section);
        let host_label = self.label(section, &keys::HOST_LABEL, "host");
        let release_label = self.label(section, &keys::RELEASE_LABEL, "version");
        let written = section.get(&keys::RELEASE_LABEL).or_else(|| section.get(&keys::HOST_LABEL));
        if let (Some(value), true) = (written, host_label.is_some() && host_label == release_label) {
            let message = "one label cannot hold both the host and the release";
            self.problems.add(value.span, &value.path, message);
        }
        Some(PrometheusMetrics {
            requests: requests?,
            errors: errors?,
            latency,
            host_label: host_label?,
            release_label: release_label?,
        })
    }

    /// The name of a label that series are told apart by; `None` with its mistake noted.
    fn label(&mut self, section: &Section<'_>, key: &Key<Text>, default: &str) -> Option<String> {
        match section.get(key) {
            Some(value) => value.parsed(self.problems, label),
            None => Some(default.to_owned()),
        }
    }

    /// The counters of requests and errors, and the histogram of latencies.
    fn selectors(&mut self, section: &Section<'_>) -> [Option<Selector>; 3] {
        let all = [&keys::REQUESTS, &keys::ERRORS, &keys::LATENCY].map(|key| self.selector(section, key));
        self.refuse_edges(section, all[2].as_ref());
        all
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

/// A label by which a host's and a release's series are told apart. `le` is the histograms' own, and
/// [`PARTS_LABEL`] is what the answer's parts are told apart by.
fn label(text: &str) -> Result<String, String> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let taken = matches!(text, "le" | "__name__" | PARTS_LABEL);
    let fits = (1..=128).contains(&text.len()) && !text.starts_with(|c: char| c.is_ascii_digit());
    if !fits || !text.bytes().all(good) || taken {
        return Err(format!(
            "{} is no label that series are told apart by: expected at most 128 letters, digits and '_', not beginning with a digit, and none of le, __name__ and {}",
            quoted(text),
            PARTS_LABEL
        ));
    }
    Ok(text.to_owned())
}
