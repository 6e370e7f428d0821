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

/// Whether it goes over TLS.
pub(crate) const SOURCE: Key<Words<bool>> = key(
    "source",
    Words(&[
        ("http", false, "the service's own Prometheus endpoint, read from each instance through its pin"),
        ("https", true, "the same over TLS, whatever the certificate says"),
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
    Default("\"5s\""),
    "How often all instances are read, in the same moment.",
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
    Otherwise("the first of the usual counters that is there, or the count of `latency`"),
    "The counter of requests. All series that match are added up.",
);
pub(crate) const ERRORS: Key<Text> = key(
    "errors",
    SELECTOR,
    Otherwise(
        "the series of `requests` whose status says so: HTTP 5xx, or a gRPC code that is the server's fault",
    ),
    "The counter of requests that failed; it counts a part of `requests`.",
);
pub(crate) const LATENCY: Key<Text> = key(
    "latency",
    SELECTOR,
    Otherwise("the first of the usual histograms that is there"),
    "The histogram of how long requests took, classic or native, without `_bucket`. It counts seconds, unless its name ends with another unit.",
);

pub(crate) const METRICS: Table = Table {
    name: "metrics",
    meaning: "What the service counts of its requests: what a canary is judged by.",
    keys: &[&SOURCE, &LISTENER, &PATH, &HOST, &INTERVAL, &TIMEOUT, &REQUESTS, &ERRORS, &LATENCY],
    kinds: Vec::new,
};
