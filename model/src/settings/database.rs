//! Every key of a database's file, `NAME.toml` in the folder that `databases` of `agent.toml` names.

use super::ABSOLUTE;
use crate::language::{
    Absent::{Otherwise, Required},
    Key, Table, Text, key,
};

/// Where the database is.
pub const URL: Key<Text> = key(
    "url",
    Text {
        what: "URL without a password: `\"postgres://USER@HOST/DATABASE\"`, `\"mysql://USER@HOST/DATABASE\"` or `\"sqlite:///PATH\"`",
        pattern: r"^(postgres|postgresql|mysql|sqlite):.+$",
        placeholders: false,
    },
    Required("url = \"postgres://shop@db.example.org/shop\""),
    "Where the database is. Options behind `?`: `host` and `socket` for a Unix socket, `sslmode` (`verify-full`, which is the default over TCP, or `disable`), `sslrootcert`.",
);
/// A file with its password.
pub const PASSWORD_FILE: Key<Text> = key(
    "password_file",
    ABSOLUTE,
    Otherwise("there is no password: the socket, or a credential, says who it is"),
    "A file with the password and nothing else, which root or the agent's user owns and nobody else can read.",
);
/// A credential with its password.
pub const CREDENTIAL: Key<Text> = key(
    "credential",
    Text {
        what: "name of a systemd credential, 1 to 255 characters without `/`",
        pattern: r"^[^/\u0000]{1,255}$",
        placeholders: false,
    },
    Otherwise("there is none"),
    "The systemd credential that is the password: `LoadCredential=NAME:/path` in the agent's unit.",
);
/// Where it is written down what was applied.
pub const TABLES: Key<Text> = key(
    "tables",
    Text {
        what: "name of 1 to 63 letters, digits and `_`, not beginning with a digit",
        pattern: r"^[A-Za-z_][A-Za-z0-9_]{0,62}$",
        placeholders: false,
    },
    Otherwise("PostgreSQL: `public`; MySQL: the URL's database"),
    "The schema (PostgreSQL) or database (MySQL) in which the tables of what was applied are.",
);

/// All of them.
pub static KEYS: Table = Table {
    name: "",
    meaning: "How a database is reached by the hosts that may migrate it.",
    keys: &[&URL, &PASSWORD_FILE, &CREDENTIAL, &TABLES],
    kinds: Vec::new,
};
