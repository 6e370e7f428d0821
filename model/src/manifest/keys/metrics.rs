//! Where a service counts its requests, and what it counts.

use super::{
    Absent::{Default, Otherwise},
    Durations, Key, Table, Text, Words, key, probe,
    process::MOMENT,
};
use std::time::Duration;

const SELECTOR: Text = Text {
    what: "selector as in PromQL, at most 1024 bytes: `name{label=\"v\", label!=\"v\", label=~\"re\", label!~\"re\"}`",
    pattern: r"^\s*[A-Za-z_:][A-Za-z0-9_:]*\s*(\{[\s\S]*\})?\s*$",
    placeholders: false,
};

const LABEL: Text = Text {
    what: "name of a label, at most 128 of the characters a-z, A-Z, 0-9 and `_`, beginning with no digit",
    pattern: r"^[A-Za-z_][A-Za-z0-9_]{0,127}$",
    placeholders: false,
};

/// Where metrics are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Http,
    Https,
    Prometheus,
}

/// What the interval is where nobody says, with an endpoint and with a Prometheus server.
pub(crate) const INTERVALS: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(15)];

pub(crate) const SOURCE: Key<Words<Source>> = key(
    "source",
    Words(&[
        (
            "http",
            Source::Http,
            "the service's own Prometheus endpoint, read from each instance through its pin",
        ),
        ("https", Source::Https, "the same over TLS, whatever the certificate says"),
        (
            "prometheus",
            Source::Prometheus,
            "the Prometheus server that `prometheus` in `server.toml` names, asked for all instances at once; then there is no `listener`, `path` and `host`",
        ),
    ]),
    Default("\"http\""),
    "Where the metrics are read.",
);
pub(crate) const LISTENER: Key<Text> =
    key("listener", probe::LISTENER.value, Otherwise("the first listener"), "Which listener is asked.");
pub(crate) const PATH: Key<Text> =
    key("path", probe::PATH.value, Default("\"/metrics\""), "What is asked for.");
pub(crate) const HOST: Key<Text> = key(
    "host",
    probe::HOST.value,
    Otherwise("the listener's address"),
    "The `Host` header; with `https` also the name that is asked for.",
);
pub(crate) const INTERVAL: Key<Durations> = key(
    "interval",
    Durations(Duration::from_secs(1), Duration::from_secs(60)),
    Otherwise("`\"5s\"`, with `prometheus` `\"15s\"`"),
    "How often all instances are read, in the same moment. With `prometheus` at least its `scrape_interval`: a newest sample that is older than three intervals is missing data.",
);
pub(crate) const TIMEOUT: Key<Durations> = key(
    "timeout",
    Durations(MOMENT, Duration::from_secs(60)),
    Default("\"2s\""),
    "After this long a reading has failed. At most `interval`, which also lowers its default.",
);
pub(crate) const REQUESTS: Key<Text> = key(
    "requests",
    SELECTOR,
    Otherwise(
        "the first of the usual counters that is there, or the count of `latency`; needed with `prometheus`",
    ),
    "The counter of requests. All series that match are added up, with `prometheus` those of each host and release.",
);
pub(crate) const ERRORS: Key<Text> = key(
    "errors",
    SELECTOR,
    Otherwise(
        "the series of `requests` whose status says so: HTTP 5xx, or a gRPC code that is the server's fault; needed with `prometheus`",
    ),
    "The counter of requests that failed; it counts a part of `requests`.",
);
pub(crate) const LATENCY: Key<Text> = key(
    "latency",
    SELECTOR,
    Otherwise("the first of the usual histograms that is there; none with `prometheus`"),
    "The histogram of how long requests took, classic or native (with `prometheus` classic), without `_bucket`. It counts seconds, unless its name ends with another unit.",
);
pub(crate) const HOST_LABEL: Key<Text> = key(
    "host_label",
    LABEL,
    Default("\"host\""),
    "With `prometheus`: the label that holds the host, by its name or its address. A port behind it is not looked at: `web-1:9100` is `web-1`.",
);
pub(crate) const RELEASE_LABEL: Key<Text> = key(
    "release_label",
    LABEL,
    Default("\"version\""),
    "With `prometheus`: the label that holds the release's version.",
);

pub(crate) const METRICS: Table = Table {
    name: "metrics",
    meaning: "What the service counts of its requests: what a canary is judged by.",
    keys: &[
        &SOURCE,
        &LISTENER,
        &PATH,
        &HOST,
        &INTERVAL,
        &TIMEOUT,
        &REQUESTS,
        &ERRORS,
        &LATENCY,
        &HOST_LABEL,
        &RELEASE_LABEL,
    ],
    kinds: Vec::new,
};
