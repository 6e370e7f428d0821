//! The file itself: who the service is, what it executes, what it listens on.

use super::{
    Absent::{Default, Otherwise, Required},
    Either, Integers, Key, Members, Table, Text, Texts, Words, canary, key, metrics, preflight, probe,
    process, rollout, schema, verify,
};
use crate::manifest::{Handoff, MAX_ARGUMENTS, MAX_ENVIRONMENT, MAX_HOST_LABELS, MAX_LISTENERS};

/// A text that goes to execve(2).
pub(crate) const PASSED: Text = Text {
    what: "text of at most 32768 bytes without a zero byte",
    pattern: r"^[^\u0000]*$",
    placeholders: true,
};
const NAME: Text = Text {
    what: "name of 1 to 48 of the characters a-z, 0-9, `-` and `.`, beginning and ending with a letter or digit",
    pattern: r"^(?!.*\.\.)[a-z0-9]([a-z0-9.-]{0,46}[a-z0-9])?$",
    placeholders: false,
};
const ACCOUNT: Text = Text {
    what: "account: a name of 1 to 32 characters, or a number as a string",
    pattern: r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,31}$",
    placeholders: false,
};
const DIRECTORY: Text = Text {
    what: "path of 1 to 4095 bytes; a relative one lies in the release's folder and has no `..`",
    pattern: r"^[^\u0000]+$",
    placeholders: false,
};
pub(crate) const LABEL_KEY: Text = Text {
    what: "a label's key, 1 to 63 of the characters A-Z, a-z, 0-9, `.`, `_` and `-`",
    pattern: r"^[A-Za-z0-9._-]{1,63}$",
    placeholders: false,
};
pub(crate) const LABEL_VALUE: Text = Text {
    what: "its value, at most 63 of the same characters",
    pattern: r"^[A-Za-z0-9._-]{0,63}$",
    placeholders: false,
};
const VARIABLE: Text = Text {
    what: "a variable's name, 1 to 255 letters, digits and `_`, not beginning with a digit; not `LISTEN_FDS`, `LISTEN_PID`, `LISTEN_FDNAMES`, `NOTIFY_SOCKET` or `HANDOVER_*`, which the agent sets",
    pattern: r"^(?!(LISTEN_FDS|LISTEN_PID|LISTEN_FDNAMES|NOTIFY_SOCKET)$)(?!HANDOVER_)[A-Za-z_][A-Za-z0-9_]{0,254}$",
    placeholders: false,
};
const LISTENER_NAME: Text = Text {
    what: "the listener's name, 1 to 63 of the characters a-z, 0-9, `-` and `_`",
    pattern: r"^[a-z0-9_-]{1,63}$",
    placeholders: false,
};
pub(crate) const SOCKET_ADDRESS: Text = Text {
    what: "IP address and port, like `\"0.0.0.0:8080\"` or `\"[::]:8080\"`",
    pattern: r"^.+$",
    placeholders: true,
};

pub(crate) const SERVICE: Key<Text> =
    key("service", NAME, Required("service = \"web\""), "The service's name, unique in the fleet.");
pub(crate) const COMMAND: Key<Texts> = key(
    "command",
    Texts(PASSED, MAX_ARGUMENTS),
    Required("command = [\"bin/web\"]"),
    "The program and its arguments. No shell is in between. A relative program lies in the release's folder.",
);
pub(crate) const USER: Key<Text> = key(
    "user",
    ACCOUNT,
    Otherwise("the agent's own user"),
    "User that the program runs as. It must exist on the host.",
);
pub(crate) const GROUP: Key<Text> =
    key("group", ACCOUNT, Otherwise("the user's own group"), "Group that the program runs as.");
pub(crate) const WORKING_DIRECTORY: Key<Text> =
    key("working_directory", DIRECTORY, Default("\".\""), "Where the program starts.");
pub(crate) const HOSTS: Key<Members<Text>> = key(
    "hosts",
    Members(LABEL_KEY, LABEL_VALUE, MAX_HOST_LABELS),
    Otherwise("every host"),
    "Labels that a host must have, with these values, to run the service.",
);
pub(crate) const ENVIRONMENT: Key<Members<Text>> = key(
    "environment",
    Members(VARIABLE, PASSED, MAX_ENVIRONMENT),
    Otherwise("only what the agent sets"),
    "The program's environment variables. It inherits none of the agent's.",
);
pub(crate) const LISTENERS: Key<Members<Either<Text, &'static Table>>> = key(
    "listeners",
    Members(LISTENER_NAME, Either(SOCKET_ADDRESS, &LISTENER), MAX_LISTENERS),
    Otherwise("none"),
    "Addresses that the agent holds open across releases. The program gets the sockets from descriptor 3 on, in the order of the file; their names stand in `LISTEN_FDNAMES`.",
);
pub(crate) const READINESS: Key<&Table> =
    key("readiness", &probe::READINESS, Otherwise("the defaults of its keys"), probe::READINESS.meaning);
pub(crate) const LIVENESS: Key<&Table> =
    key("liveness", &probe::LIVENESS, Otherwise("nothing is watched"), probe::LIVENESS.meaning);
pub(crate) const VERIFY: Key<&Table> =
    key("verify", &verify::VERIFY, Otherwise("readiness is enough"), verify::VERIFY.meaning);
pub(crate) const METRICS: Key<&Table> =
    key("metrics", &metrics::METRICS, Otherwise("nothing is read"), metrics::METRICS.meaning);
pub(crate) const DRAIN: Key<&Table> =
    key("drain", &process::DRAIN, Otherwise("the defaults of its keys"), process::DRAIN.meaning);
pub(crate) const RESTART: Key<&Table> =
    key("restart", &process::RESTART, Otherwise("the defaults of its keys"), process::RESTART.meaning);
pub(crate) const LIMITS: Key<&Table> =
    key("limits", &process::LIMITS, Otherwise("what the agent itself may use"), process::LIMITS.meaning);
pub(crate) const LOGS: Key<&Table> =
    key("logs", &process::LOGS, Otherwise("the defaults of its keys"), process::LOGS.meaning);
pub(crate) const ROLLOUT: Key<&Table> =
    key("rollout", &rollout::ROLLOUT, Otherwise("the defaults of its keys"), rollout::ROLLOUT.meaning);
pub(crate) const JUDGE: Key<&Table> =
    key("judge", &canary::JUDGE, Otherwise("the defaults of its keys"), canary::JUDGE.meaning);
pub(crate) const PREFLIGHT: Key<&Table> = key(
    "preflight",
    &preflight::PREFLIGHT,
    Otherwise("the defaults of its keys"),
    preflight::PREFLIGHT.meaning,
);

pub(crate) const SCHEMA: Key<&Table> =
    key("schema", &schema::SCHEMA, Otherwise("nothing is known of a schema"), schema::SCHEMA.meaning);

pub(crate) const ADDRESS: Key<Text> = key(
    "address",
    SOCKET_ADDRESS,
    Required("address = \"0.0.0.0:8080\""),
    "Where it listens. Names are not looked up.",
);
pub(crate) const BACKLOG: Key<Integers<u32>> = key(
    "backlog",
    Integers(1, 65_535),
    Default("4096"),
    "Length of the accept queue. The kernel cuts it to `net.core.somaxconn`.",
);
pub(crate) const HANDOFF: Key<Words<Handoff>> = key(
    "handoff",
    Words(&[(
        "inherit",
        Handoff::Inherit,
        "the program takes its sockets from descriptor 3 on (`LISTEN_FDS`, `LISTEN_PID`, `LISTEN_FDNAMES`)",
    )]),
    Default("\"inherit\""),
    "How the program gets its socket.",
);

/// A listener that says more than its address.
pub(crate) const LISTENER: Table = Table {
    name: "listeners.NAME",
    meaning: "A listener that says more than its address.",
    keys: &[&ADDRESS, &BACKLOG, &HANDOFF],
    kinds: Vec::new,
};

pub(crate) const MANIFEST: Table = Table {
    name: "",
    meaning: "What a service is and how it wants to be run.",
    keys: &[
        &SERVICE,
        &COMMAND,
        &USER,
        &GROUP,
        &WORKING_DIRECTORY,
        &HOSTS,
        &preflight::COMPATIBLE,
        &ENVIRONMENT,
        &LISTENERS,
        &READINESS,
        &LIVENESS,
        &VERIFY,
        &METRICS,
        &DRAIN,
        &RESTART,
        &LIMITS,
        &LOGS,
        &ROLLOUT,
        &JUDGE,
        &PREFLIGHT,
        &SCHEMA,
    ],
    kinds: Vec::new,
};
