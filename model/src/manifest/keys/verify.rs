//! What a candidate must pass before it counts as ready.

use super::{
    Absent::{Default, Required},
    Durations, Key, Listed, Table, Texts, key,
    process::{HOUR, MOMENT},
    service::PASSED,
};
use crate::manifest::{MAX_ARGUMENTS, MAX_VERIFY_COMMANDS};

pub(crate) const COMMANDS: Key<Listed<Texts>> = key(
    "commands",
    Listed(Texts(PASSED, MAX_ARGUMENTS), MAX_VERIFY_COMMANDS),
    Required("commands = [[\"bin/smoke-test\"]]"),
    "Programs with their arguments, run one after the other. A relative program lies in the release's folder.",
);
pub(crate) const TIMEOUT: Key<Durations> = key(
    "timeout",
    Durations(MOMENT, HOUR),
    Default("\"60s\""),
    "After this long a command is ended and has failed. It does not count towards `readiness.deadline`.",
);

pub(crate) const VERIFY: Table = Table {
    name: "verify",
    meaning: "Commands that run once on each host when the new instance is ready and still hidden; it counts as ready once all have ended with code 0. `HANDOVER_PIN`, `HANDOVER_PIN_PORTS` and `HANDOVER_ADDRESS_HTTP` (for a listener `http`) in their environment lead to the hidden instance: docs/preview.md.",
    keys: &[&COMMANDS, &TIMEOUT],
    kinds: Vec::new,
};
