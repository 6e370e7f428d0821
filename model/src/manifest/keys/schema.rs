//! What a release needs of its database's schema, and how it gets it.

use super::{
    Absent::{Default, Otherwise, Required},
    Durations, Either, Integers, Key, Members, Table, Text, Texts, Words, key,
    process::HOUR,
    service::{LABEL_KEY, LABEL_VALUE, PASSED},
};
use crate::manifest::{DatabaseKind, MAX_ARGUMENTS, MAX_DEADLINE, MAX_HOST_LABELS};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: u64 = 24 * 3600;
const FOLDER: Text = Text {
    what: "path of a folder in the bundle, relative and without `..`",
    pattern: r"^[^\u0000/][^\u0000]*$",
    placeholders: false,
};

pub(crate) const DATABASE: Key<Text> = key(
    "database",
    Text {
        what: "name of 1 to 63 of the characters a-z, 0-9, `-` and `_`",
        pattern: r"^[a-z0-9_-]{1,63}$",
        placeholders: false,
    },
    Required("database = \"shop\""),
    "The database, as `[databases]` of `agent.toml` names it on the hosts that may migrate it.",
);
pub(crate) const KIND: Key<Words<DatabaseKind>> = key(
    "kind",
    Words(&[
        (
            "postgresql",
            DatabaseKind::Postgres,
            "migrations are looked at when a release is pushed: docs/schema-lint.md",
        ),
        ("mysql", DatabaseKind::MySql, "MySQL or MariaDB; nothing looks at migrations before they run"),
        ("sqlite", DatabaseKind::Sqlite, "a file; nothing looks at migrations before they run"),
    ]),
    Default("\"postgresql\""),
    "What kind of database it is.",
);
pub(crate) const READS: Key<Text> = key(
    "reads",
    Text {
        what: "range of schema versions, both ends included, like `\"41..=43\"`, or one like `\"41\"`",
        pattern: r"^[0-9]{1,10}(\.\.=[0-9]{1,10})?$",
        placeholders: false,
    },
    Required("reads = \"41..=43\""),
    "The versions of the schema that this release's code works with. A release is refused where the schema is another.",
);
pub(crate) const HOSTS: Key<Members<Text>> = key(
    "hosts",
    Members(LABEL_KEY, LABEL_VALUE, MAX_HOST_LABELS),
    Otherwise("the service's own hosts"),
    "Labels of the hosts that may migrate: the first of them that is online does, by its name.",
);
const MIGRATED: Either<Text, &'static Table> = Either(FOLDER, &MIGRATIONS);
pub(crate) const EXPAND: Key<Either<Text, &'static Table>> = key(
    "expand",
    MIGRATED,
    Otherwise("there is nothing to add"),
    "What is applied before the release's code runs anywhere: it adds, and whatever runs goes on working.",
);
pub(crate) const BACKFILL: Key<Either<Text, &'static Table>> = key(
    "backfill",
    MIGRATED,
    Otherwise("there is nothing to carry over"),
    "What carries data over once the release's code runs everywhere, batch by batch.",
);
pub(crate) const CONTRACT: Key<Either<Text, &'static Table>> = key(
    "contract",
    MIGRATED,
    Otherwise("there is nothing to take away"),
    "What takes away what only older code needs: by `handover migrate contract`, or after `soak`. Refused while anything is left, or could be gone back to, that needs it.",
);
pub(crate) const WITHIN: Key<Durations> = key(
    "within",
    Durations(SECOND, MAX_DEADLINE),
    Default("\"10m\""),
    "How long the migrations of `expand`, or of `contract`, may take.",
);
pub(crate) const BACKFILL_WITHIN: Key<Durations> = key(
    "backfill_within",
    Durations(SECOND, Duration::from_secs(30 * DAY)),
    Default("\"24h\""),
    "How long those of `backfill` may take.",
);
pub(crate) const SOAK: Key<Durations> = key(
    "soak",
    Durations(MINUTE, Duration::from_secs(90 * DAY)),
    Otherwise("only by command"),
    "How long after the deployment the contract begins by itself.",
);
pub(crate) const LOCK_TIMEOUT: Key<Durations> = key(
    "lock_timeout",
    Durations(Duration::from_millis(10), MINUTE),
    Default("\"1s\""),
    "How long a statement waits for a lock: so long the statements behind it may wait, too. Then it lets them pass and tries again.",
);
pub(crate) const STATEMENT_TIMEOUT: Key<Durations> = key(
    "statement_timeout",
    Durations(Duration::from_millis(100), HOUR),
    Default("\"1m\""),
    "How long a statement in a transaction may run.",
);
pub(crate) const MAX_LAG: Key<Durations> = key(
    "max_lag",
    Durations(Duration::from_millis(100), HOUR),
    Default("\"10s\""),
    "A backfill stands still while a replica is further behind.",
);

pub(crate) const COMMAND: Key<Texts> = key(
    "command",
    Texts(PASSED, MAX_ARGUMENTS),
    Required("command = [\"bin/migrate\"]"),
    "The program and its arguments. It runs alone, under the database's lock; `HANDOVER_DATABASE_URL_FILE` names a file with the database's URL.",
);
pub(crate) const TO: Key<Integers<u32>> = key(
    "to",
    Integers(1, u32::MAX),
    Required("to = 42"),
    "The schema's version afterwards. Where it is that already, the program does not run.",
);

/// Migrations that a program makes.
pub(crate) const MIGRATIONS: Table = Table {
    name: "schema.PHASE",
    meaning: "Migrations that a program of the bundle makes, instead of a folder of files `NNNN_name.sql` of which each number is the schema's version afterwards.",
    keys: &[&COMMAND, &TO],
    kinds: Vec::new,
};

pub(crate) const SCHEMA: Table = Table {
    name: "schema",
    meaning: "What the release needs of its database's schema, and how it gets it: docs/schema.md.",
    keys: &[
        &DATABASE,
        &KIND,
        &READS,
        &HOSTS,
        &EXPAND,
        &BACKFILL,
        &CONTRACT,
        &WITHIN,
        &BACKFILL_WITHIN,
        &SOAK,
        &LOCK_TIMEOUT,
        &STATEMENT_TIMEOUT,
        &MAX_LAG,
    ],
    kinds: Vec::new,
};
