//! Every key of `agent.toml`, which `handover-agent join` writes.

use super::{ABSOLUTE, HOST_AND_PORT, Variable};
use crate::language::{
    Absent::{Default, Otherwise, Required},
    Key, Table, Text, key,
};

/// Where the file is if nobody says.
pub const PATH: &str = "/etc/handover/agent.toml";

/// The server's address.
pub const SERVER: Key<Text> = key(
    "server",
    HOST_AND_PORT,
    Required("server = \"handover.example.org:7443\""),
    "Where the server is reached.",
);
/// The host's name.
pub const NAME: Key<Text> = key(
    "name",
    Text {
        what: "name of 1 to 63 of the characters a-z, 0-9, `-` and `.`, beginning and ending with a letter or digit",
        pattern: r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$",
        placeholders: false,
    },
    Required("name = \"web-1\""),
    "The host's name, which its certificate carries. To change it, join anew.",
);
/// The address of the host's services.
pub const ADDRESS: Key<Text> = key(
    "address",
    Text {
        what: "IP address or name of 1 to 255 characters",
        pattern: r"^[A-Za-z0-9.:_%\[\]-]{1,255}$",
        placeholders: false,
    },
    Required("address = \"192.0.2.7\""),
    "The address that the host's services are reached at: what `{host.address}` stands for in a manifest.",
);
/// What must survive a reboot.
pub const STATE: Key<Text> = key(
    "state",
    ABSOLUTE,
    Default("\"/var/lib/handover\""),
    "Folder of what must survive a reboot: identity, journal, releases.",
);
/// What must not.
pub const RUNTIME: Key<Text> = key(
    "runtime",
    ABSOLUTE,
    Default("\"/run/handover\""),
    "Folder of what must not survive a reboot: the sockets that instances say `READY=1` to.",
);
/// Log files.
pub const LOGS: Key<Text> = key(
    "logs",
    ABSOLUTE,
    Default("\"/var/log/handover\""),
    "Folder of the log files of services that do not write to journald.",
);
/// Where databases are described.
pub const DATABASES: Key<Text> = key(
    "databases",
    ABSOLUTE,
    Default("\"/etc/handover/databases\""),
    "Folder with a file `NAME.toml` for each database that this host may migrate; read each time.",
);
/// Address of metrics and health.
pub const METRICS: Key<Text> = key(
    "metrics",
    Text { what: "IP address and port, like `\"127.0.0.1:7445\"`", pattern: r"^.+$", placeholders: false },
    Otherwise("they are not told"),
    "Address of the agent's `/metrics` and `/healthz`.",
);

/// All of them.
pub static KEYS: Table = Table {
    name: "",
    meaning: "Where the agent keeps things and how it is reached.",
    keys: &[&SERVER, &NAME, &ADDRESS, &STATE, &RUNTIME, &LOGS, &DATABASES, &METRICS],
    kinds: Vec::new,
};

/// What the agent reads of its environment. Nothing of it reaches an instance.
pub static VARIABLES: &[Variable] = &[
    Variable {
        name: "HANDOVER_AGENT_CONFIG",
        meaning: "The configuration, as `--config` of `run`, `join`, `stop` and `doctor`. Default: `/etc/handover/agent.toml`.",
    },
    Variable {
        name: "HANDOVER_TOKEN",
        meaning: "The join token, as `--token` of `join` and `doctor`: so it stands in no list of processes.",
    },
    Variable {
        name: "HANDOVER_LOG_FORMAT",
        meaning: "How the agent's own log is written, as `--log-format`: `auto` (the default), `text`, `json` or `journald`.",
    },
    Variable {
        name: "HANDOVER_LOG",
        meaning: "Which lines are logged: directives as `info` (the default), `handover_agent=debug` or `warn`.",
    },
    Variable {
        name: "CREDENTIALS_DIRECTORY",
        meaning: "Set by systemd: where the credentials of the agent's unit are, for passwords of databases.",
    },
    Variable { name: "NO_COLOR", meaning: "Set to anything: the log has no colours on a terminal." },
    Variable {
        name: "JOURNAL_STREAM",
        meaning: "Set by systemd: whether standard error goes to journald, for the log's `auto`.",
    },
    Variable {
        name: "NOTIFY_SOCKET",
        meaning: "Set by systemd: where readiness, status and the watchdog's beat are told.",
    },
    Variable {
        name: "WATCHDOG_USEC",
        meaning: "Set by systemd, with `WATCHDOG_PID`: how often the watchdog waits for that beat.",
    },
];
