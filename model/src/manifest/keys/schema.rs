//! What a release needs of its database's schema, and how it gets it.

use super::{
    Absent::{Default, Otherwise, Required},
    Durations, Key, Listed, Members, Table, Text, Words, key,
    process::HOUR,
    service::{LABEL_KEY, LABEL_VALUE},
};
use crate::manifest::{DatabaseKind, MAX_DEADLINE, MAX_HOST_LABELS, MAX_USES};
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
    "The database. The hosts that may migrate it have it described in `NAME.toml`, in the folder that `databases` of `agent.toml` names.",
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
pub(crate) const USES: Key<Listed<Text>> = key(
    "uses",
    Listed(
        Text {
            what: "columns: `\"customers.email\"`, `\"billing.invoices.total\"`, `\"customers.*\"`",
            pattern: r#"^([A-Za-z_\u0080-\uffff][A-Za-z0-9_$\u0080-\uffff]*|"([^"\u0000-\u001f]|"")+"|\*)(\.([A-Za-z_\u0080-\uffff][A-Za-z0-9_$\u0080-\uffff]*|"([^"\u0000-\u001f]|"")+"|\*)){1,2}$"#,
            placeholders: false,
        },
        MAX_USES,
    ),
    Otherwise("`reads` alone decides"),
    "Columns that this release's code uses, in PostgreSQL. A migration that takes one of them away is refused while the release runs, stands by or may come back, a contract also while a rollback goes to it, whatever `reads` says.",
);
pub(crate) const HOSTS: Key<Members<Text>> = key(
    "hosts",
    Members(LABEL_KEY, LABEL_VALUE, MAX_HOST_LABELS),
    Otherwise("the service's own hosts"),
    "Labels of the hosts that may migrate: the first of them that is online does, by its name.",
);
pub(crate) const EXPAND: Key<Text> = key(
    "expand",
    FOLDER,
    Otherwise("there is nothing to add"),
    "Folder of files `NUMBER_NAME.sql`, or `NUMBER_NAME.run` for a program, each number the schema's version afterwards. What is applied before the release's code runs anywhere: it adds, and whatever runs goes on working.",
);
pub(crate) const BACKFILL: Key<Text> = key(
    "backfill",
    FOLDER,
    Otherwise("there is nothing to carry over"),
    "A folder like that of `expand`: what carries data over once the release's code runs everywhere, batch by batch.",
);
pub(crate) const CONTRACT: Key<Text> = key(
    "contract",
    FOLDER,
    Otherwise("there is nothing to take away"),
    "A folder like that of `expand`: what takes away what only older code needs: by `handover migrate contract`. Refused while anything is left, or could be gone back to, that needs it.",
);
pub(crate) const CONTRACT_AFTER: Key<Durations> = key(
    "contract_after",
    Durations(SECOND, Duration::from_secs(365 * DAY)),
    Otherwise("only `handover migrate contract` begins it"),
    "How long the release is the current one before the contract comes by itself. It is refused as the command is, and then waits until nothing is in the way.",
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

pub(crate) const SCHEMA: Table = Table {
    name: "schema",
    meaning: "What the release needs of its database's schema, and how it gets it: docs/schema.md.",
    keys: &[
        &DATABASE,
        &KIND,
        &READS,
        &USES,
        &HOSTS,
        &EXPAND,
        &BACKFILL,
        &CONTRACT,
        &CONTRACT_AFTER,
        &WITHIN,
        &BACKFILL_WITHIN,
        &LOCK_TIMEOUT,
        &STATEMENT_TIMEOUT,
        &MAX_LAG,
    ],
    kinds: Vec::new,
};
