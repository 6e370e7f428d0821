//! How an instance shows that it is ready, and goes on showing that it lives.

use super::{
    Absent::{Default, Otherwise, Required},
    Durations, FirstAndLast, Integers, Key, Table, Text, Texts, Words, key,
    process::{HOUR, MOMENT},
    service::PASSED,
};
use crate::manifest::{MAX_ARGUMENTS, MAX_DEADLINE};
use std::time::Duration;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Notify,
    Alive,
    Http,
    Https,
    Grpc,
    Tcp,
    Exec,
}

type Word = (&'static str, Kind, &'static str);
const HTTP: Word = ("http", Kind::Http, "a GET request to the pin is answered with one of `status`");
const HTTPS: Word = ("https", Kind::Https, "the same over TLS, whatever the certificate says");
const GRPC: Word = ("grpc", Kind::Grpc, "`grpc.health.v1.Health/Check` answers `SERVING`");
const TCP: Word = ("tcp", Kind::Tcp, "the program, not only the kernel, accepts a connection");
const EXEC: Word = ("exec", Kind::Exec, "`command` ends with exit code 0");
const NOTIFY: Word =
    ("notify", Kind::Notify, "the program says `READY=1` on `NOTIFY_SOCKET` (`sd_notify(3)`)");
const ALIVE: Word = ("alive", Kind::Alive, "the program is still there after `settle`");

const READY: Words<Kind> = Words(&[NOTIFY, HTTP, HTTPS, GRPC, TCP, EXEC, ALIVE]);
const LIVE: Words<Kind> = Words(&[HTTP, HTTPS, GRPC, TCP, EXEC]);

impl Kind {
    /// Its word in a manifest.
    pub(crate) fn word(self) -> &'static str {
        READY.0.iter().find(|(_, kind, _)| *kind == self).map_or("", |(word, ..)| word)
    }

    /// The keys that mean something with it, of those that only some kinds have.
    pub(crate) fn keys(self) -> &'static [&'static str] {
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

fn kinds(words: Words<Kind>) -> Vec<(&'static str, &'static [&'static str])> {
    words.0.iter().map(|(word, kind, _)| (*word, kind.keys())).collect()
}

pub(crate) const READY_KIND: Key<Words<Kind>> = key(
    "kind",
    READY,
    Otherwise("`\"tcp\"` at the first listener; `\"alive\"` where there is none"),
    "What makes an instance ready.",
);
pub(crate) const LIVE_KIND: Key<Words<Kind>> =
    key("kind", LIVE, Required("kind = \"http\""), "What must go on holding.");
pub(crate) const LISTENER: Key<Text> = key(
    "listener",
    Text { what: "name of a listener", pattern: r"^[a-z0-9_-]{1,63}$", placeholders: false },
    Otherwise("the only listener"),
    "Which listener is asked.",
);
pub(crate) const PATH: Key<Text> = key(
    "path",
    Text {
        what: "path of a request: `/` and at most 2048 visible ASCII characters without `#`",
        pattern: r"^/[!-~]*$",
        placeholders: false,
    },
    Default("\"/\""),
    "What is asked for.",
);
pub(crate) const HOST: Key<Text> = key(
    "host",
    Text {
        what: "name or address, perhaps with a port",
        pattern: r"^[A-Za-z0-9._:\[\]-]{1,255}$",
        placeholders: false,
    },
    Otherwise("the listener's address"),
    "The `Host` header; with `https` also the name that is asked for.",
);
pub(crate) const STATUS: Key<FirstAndLast> = key(
    "status",
    FirstAndLast(100, 599),
    Default("[200, 299]"),
    "The first and the last status code that count as success.",
);
pub(crate) const SERVICE_NAME: Key<Text> = key(
    "service_name",
    Text { what: "at most 255 visible ASCII characters", pattern: r"^[!-~]{0,255}$", placeholders: false },
    Default("\"\""),
    "The service that is asked for; empty for the whole server.",
);
pub(crate) const COMMAND: Key<Texts> = key(
    "command",
    Texts(PASSED, MAX_ARGUMENTS),
    Required("command = [\"bin/check\"]"),
    "Program and arguments. A relative program lies in the release's folder.",
);
const BEFORE_NEXT: &str = "From the end of one probe to the start of the next.";
pub(crate) const READY_INTERVAL: Key<Durations> =
    key("interval", Durations(MOMENT, HOUR), Default("\"200ms\""), BEFORE_NEXT);
pub(crate) const LIVE_INTERVAL: Key<Durations> =
    key("interval", Durations(MOMENT, HOUR), Default("\"5s\""), BEFORE_NEXT);
pub(crate) const TIMEOUT: Key<Durations> =
    key("timeout", Durations(MOMENT, HOUR), Default("\"2s\""), "After this long a probe counts as failed.");
pub(crate) const DEADLINE: Key<Durations> = key(
    "deadline",
    Durations(MOMENT, MAX_DEADLINE),
    Default("\"60s\""),
    "From the program's start until it must be ready.",
);
pub(crate) const SETTLE: Key<Durations> = key(
    "settle",
    Durations(Duration::ZERO, HOUR),
    Default("\"1s\""),
    "How long the program must have lived. Shorter than `deadline`.",
);
pub(crate) const FAILURES: Key<Integers<u32>> = key(
    "failures",
    Integers(1, 1000),
    Default("3"),
    "Probes that must fail in a row before the instance is started again.",
);

pub(crate) const READINESS: Table = Table {
    name: "readiness",
    meaning: "When an instance may get a share. Probes over the network go to the instance's pin: the real port and path, whatever its share is.",
    keys: &[
        &READY_KIND,
        &LISTENER,
        &PATH,
        &HOST,
        &STATUS,
        &SERVICE_NAME,
        &COMMAND,
        &READY_INTERVAL,
        &TIMEOUT,
        &SETTLE,
        &DEADLINE,
    ],
    kinds: || kinds(READY),
};
pub(crate) const LIVENESS: Table = Table {
    name: "liveness",
    meaning: "What must go on holding once an instance was ready. Where it does not, the instance is started again.",
    keys: &[
        &LIVE_KIND,
        &LISTENER,
        &PATH,
        &HOST,
        &STATUS,
        &SERVICE_NAME,
        &COMMAND,
        &LIVE_INTERVAL,
        &TIMEOUT,
        &FAILURES,
    ],
    kinds: || kinds(LIVE),
};

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_key_that_depends_on_the_kind_stands_in_the_table_and_has_a_kind() {
        for table in [READINESS, LIVENESS] {
            let of_some: BTreeSet<_> =
                table.kinds().into_iter().flat_map(|(_, keys)| keys).copied().collect();
            let all: BTreeSet<_> = table.names().into_iter().collect();
            let of_all: Vec<_> = all.difference(&of_some).copied().collect();
            let expected: &[&str] =
                if table.name == "readiness" { &["deadline", "kind"] } else { &["failures", "kind"] };
            assert_eq!(of_all, expected, "{}", table.name);
            assert!(of_some.is_subset(&all), "{}", table.name);
        }
    }
}
