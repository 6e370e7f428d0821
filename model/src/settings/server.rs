//! Every key of `server.toml`. Each can be said by a flag and by an environment variable as well.

use super::{ABSOLUTE, HOST_AND_PORT, SOCKET_ADDRESS, Variable};
use crate::language::{
    Absent::{Default, Otherwise},
    Key, Table, Text, Words, key, quoted, seconds,
};
use std::time::Duration;

/// Where the file is looked for if nobody says.
pub const PATH: &str = "/etc/handover/server.toml";

/// Shorter than that a certificate would end before its renewal had a second try.
const SHORTEST_LIFE: Duration = Duration::from_secs(10);
/// Longer than that nobody would notice that renewal does not work.
const LONGEST_LIFE: Duration = Duration::from_secs(365 * 24 * 3600);

const LIFE: Text = Text {
    what: "duration, 10s to 365d: a whole number and one of `s`, `m`, `h`, `d`",
    pattern: r"^[0-9]+[smhd]$",
    placeholders: false,
};

/// Folder of everything durable.
pub const DATA: Key<Text> = key(
    "data",
    ABSOLUTE,
    Default("\"/var/lib/handover-server\""),
    "Folder of everything durable: the store, bundles, the fleet's CA.",
);
/// Address of agents and remote operators.
pub const LISTEN: Key<Text> = key(
    "listen",
    SOCKET_ADDRESS,
    Default("\"0.0.0.0:7443\""),
    "Address that agents, and operators from elsewhere, reach the server at. Port 0 takes a free one.",
);
/// Socket of operators on the server's machine.
pub const UNIX: Key<Text> = key(
    "unix",
    ABSOLUTE,
    Default("\"/run/handover/handover.sock\""),
    "Unix socket for operators on this machine.",
);
/// Group whose members are admins.
pub const ADMIN_GROUP: Key<Text> = key(
    "admin_group",
    Text { what: "name of a group of this machine", pattern: r"^.+$", placeholders: false },
    Otherwise("none: only root and the server's own user are admins"),
    "Group of this machine whose members are admins over the Unix socket, besides root and the server's own user.",
);
/// The fleet's name.
pub const FLEET: Key<Text> = key(
    "fleet",
    Text {
        what: "name of 1 to 63 of the characters a-z, 0-9, `-` and `.`, beginning and ending with a letter or digit",
        pattern: r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$",
        placeholders: false,
    },
    Default("\"fleet\""),
    "The fleet's name, where the server makes a new one. It stands in every certificate and is not changed later.",
);
/// Where agents reach the server.
pub const ADDRESS: Key<Text> = key(
    "address",
    HOST_AND_PORT,
    Otherwise("the address of `listen`, or this machine's name where that is every address"),
    "Where agents reach the server, put into join tokens.",
);
/// A CA's certificate.
pub const CA_CERTIFICATE: Key<Text> = key(
    "ca_certificate",
    ABSOLUTE,
    Otherwise("a CA that the server makes"),
    "A CA of your own: the file of its certificate, PEM. Together with `ca_key`.",
);
/// Its key.
pub const CA_KEY: Key<Text> = key(
    "ca_key",
    ABSOLUTE,
    Otherwise("a CA that the server makes"),
    "The file of that CA's key, PEM (PKCS#8). Together with `ca_certificate`.",
);
/// Life of agents' certificates.
pub const AGENT_CERTIFICATE_LIFE: Key<Text> = key(
    "agent_certificate_life",
    LIFE,
    Default("\"30d\""),
    "How long an agent's certificate is good. It is renewed at two thirds of that.",
);
/// Life of the server's certificate.
pub const SERVER_CERTIFICATE_LIFE: Key<Text> = key(
    "server_certificate_life",
    LIFE,
    Default("\"90d\""),
    "How long the server's own certificate is good. It is renewed at two thirds of that.",
);
/// Address of metrics and health.
pub const METRICS: Key<Text> = key(
    "metrics",
    Text { what: "IP address and port, or `\"off\"`", pattern: r"^.+$", placeholders: false },
    Otherwise("`\"127.0.0.1:7444\"`, unless that is taken"),
    "Address of `/metrics` and `/healthz`. One that is given must be free.",
);
/// The Prometheus server that is asked.
pub const PROMETHEUS: Key<Text> = key(
    "prometheus",
    Text {
        what: "address like `\"http://prometheus:9090\"`, perhaps with the path that it lies beneath",
        pattern: r"^https?://[^@?#\s]+$",
        placeholders: false,
    },
    Otherwise("none is asked"),
    "The Prometheus server that is asked for the metrics of services whose manifests say `source = \"prometheus\"`.",
);
/// The file of its token.
pub const PROMETHEUS_TOKEN_FILE: Key<Text> = key(
    "prometheus_token_file",
    ABSOLUTE,
    Otherwise("no token is sent"),
    "The file of the bearer token for that server. It is read anew each time it is asked.",
);
/// The file of its CAs.
pub const PROMETHEUS_CA_FILE: Key<Text> = key(
    "prometheus_ca_file",
    ABSOLUTE,
    Default("\"/etc/ssl/certs/ca-certificates.crt\""),
    "The file of the CAs that may have signed that server's certificate, PEM. It is read anew each time it is asked over TLS.",
);
/// How the log is written; its words are those of the flag.
pub const LOG_FORMAT: Key<Words<&str>> = key(
    "log_format",
    Words(&[
        ("auto", "auto", "to journald where standard error goes there, as text elsewhere"),
        ("text", "text", "lines for people, on standard error"),
        ("json", "json", "one JSON object a line, on standard error"),
        ("journald", "journald", "to journald, every field one of journald's"),
    ]),
    Default("\"auto\""),
    "How the server's own log is written.",
);

/// All of them.
pub static KEYS: Table = Table {
    name: "",
    meaning: "The server's options.",
    keys: &[
        &DATA,
        &LISTEN,
        &UNIX,
        &ADMIN_GROUP,
        &FLEET,
        &ADDRESS,
        &CA_CERTIFICATE,
        &CA_KEY,
        &AGENT_CERTIFICATE_LIFE,
        &SERVER_CERTIFICATE_LIFE,
        &METRICS,
        &PROMETHEUS,
        &PROMETHEUS_TOKEN_FILE,
        &PROMETHEUS_CA_FILE,
        &LOG_FORMAT,
    ],
    kinds: Vec::new,
};

/// What the server reads of its environment besides a variable for each key.
pub static VARIABLES: &[Variable] = &[
    Variable { name: "HANDOVER_SERVER_CONFIG", meaning: "The configuration, as `--config`." },
    Variable {
        name: "HANDOVER_LOG",
        meaning: "Which lines are logged: directives as `info` (the default), `handover=debug` or `warn,handover=info`.",
    },
    Variable { name: "NO_COLOR", meaning: "Set to anything: the log has no colours on a terminal." },
    Variable {
        name: "JOURNAL_STREAM",
        meaning: "Set by systemd: whether standard error goes to journald, for `log_format = \"auto\"`.",
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

/// Reads how long a certificate is good.
///
/// # Errors
/// What is no duration, or shorter or longer than a certificate may be good.
pub fn certificate_life(text: &str) -> Result<Duration, String> {
    let life = Duration::from_secs(seconds(text)?);
    if (SHORTEST_LIFE..=LONGEST_LIFE).contains(&life) {
        Ok(life)
    } else {
        Err(format!("{} is no life of a certificate here: expected 10s to 365d", quoted(text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_good_for_ten_seconds_to_a_year() {
        for good in ["10s", "30d", "365d"] {
            assert!(certificate_life(good).is_ok(), "{good}");
        }
        for bad in ["9s", "366d", "0s", "30", "soon"] {
            assert!(certificate_life(bad).is_err(), "{bad} was taken");
        }
    }
}
