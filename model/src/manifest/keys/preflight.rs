//! What a release says of those that it runs beside, and what stops its deployment.

use super::{
    Absent,
    Absent::{Default, Otherwise},
    Key, Listed, Table, Text, Words, key,
};
use crate::manifest::{MAX_COMPATIBLE, Stops};

pub(crate) const COMPATIBLE: Key<Listed<Text>> = key(
    "compatible",
    Listed(
        Text {
            what: "a version label, or the beginning of some with `*` behind it: `\"1.3.*\"`",
            pattern: r"^(?!$)[A-Za-z0-9._+-]{0,64}\*?$",
            placeholders: false,
        },
        MAX_COMPATIBLE,
    ),
    Otherwise("none is declared, of which `handover preflight` warns"),
    "The releases that this one may run beside: both serve while it is carried to the hosts, and after a rollback. Its own label need not be among them.",
);

const STOPS: Words<Stops> = Words(&[
    ("fail", Stops::Fail, "the deployment is refused where the point fails"),
    ("warn", Stops::Warn, "where it fails or warns"),
    ("never", Stops::Never, "never: the point is only told"),
]);
const STOPS_AT: Absent = Default("\"fail\"");

pub(crate) const READINESS: Key<Words<Stops>> =
    key("readiness", STOPS, STOPS_AT, "Point 1: readiness gates the traffic, and is not the liveness check.");
pub(crate) const COMPATIBILITY: Key<Words<Stops>> =
    key("compatibility", STOPS, STOPS_AT, "Point 2: what runs is among `compatible`.");
pub(crate) const SCHEMA: Key<Words<Stops>> =
    key("schema", STOPS, STOPS_AT, "Point 3: changes of the schema.");
pub(crate) const DRAINING: Key<Words<Stops>> = key(
    "draining",
    STOPS,
    STOPS_AT,
    "Point 4: instances are drained, and the last deployments cut nobody off.",
);
pub(crate) const ROLLBACK: Key<Words<Stops>> =
    key("rollback", STOPS, STOPS_AT, "Point 5: going back was rehearsed.");

pub(crate) const PREFLIGHT: Table = Table {
    name: "preflight",
    meaning: "Which findings of `handover preflight` refuse a deployment of the release; the first one of a service, a rehearsal and a rollback never are. docs/preflight.md tells the points.",
    keys: &[&READINESS, &COMPATIBILITY, &SCHEMA, &DRAINING, &ROLLBACK],
    kinds: Vec::new,
};
