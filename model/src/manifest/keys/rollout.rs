//! How a new release is carried to the hosts.

use super::{
    Absent::{Default, Otherwise},
    Durations, Either, Integers, Key, Percents, Table, Text, Words, canary, key,
    process::{HOUR, MOMENT},
};
use crate::manifest::{Approve, MAX_DEADLINE, Offline, OnFailure, Rehearsal, Strategy};
use std::time::Duration;

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);
pub(crate) const MOST_HOSTS: u32 = 1_000_000;
const LABEL_KEY: Text =
    Text { what: "a label's key", pattern: r"^[A-Za-z0-9._-]{1,63}$", placeholders: false };

pub(crate) const STRATEGY: Key<Words<Strategy>> = key(
    "strategy",
    Words(&[
        ("rolling", Strategy::Rolling, "batch after batch, each host fully"),
        ("blue-green", Strategy::BlueGreen, "hidden on every host, then all flip in one step"),
        (
            "canary",
            Strategy::Canary,
            "a small part of the connections first, then more of them step by step, judged against the old release",
        ),
    ]),
    Default("\"rolling\""),
    "In which way the release comes to the hosts.",
);
pub(crate) const BATCH: Key<Either<Integers<u32>, Percents>> = key(
    "batch",
    Either(Integers(1, MOST_HOSTS), Percents(1, 100)),
    Default("1"),
    "Hosts of one batch, by number or as a part of the service's hosts, rounded up. With `strategy = \"rolling\"`.",
);
pub(crate) const ORDER_BY: Key<Text> = key(
    "order_by",
    LABEL_KEY,
    Otherwise("hosts go in the order of their names"),
    "Batches go through the values of this label one after the other and never mix two.",
);
pub(crate) const MAX_IN_FLIGHT: Key<Integers<u32>> = key(
    "max_in_flight",
    Integers(1, MOST_HOSTS),
    Otherwise("the whole batch; all hosts with `strategy = \"blue-green\"`"),
    "Hosts of a batch that are changed at once; with `strategy = \"blue-green\"`, that start at once.",
);
pub(crate) const FAILURES_ALLOWED: Key<Integers<u32>> = key(
    "failures_allowed",
    Integers(0, MOST_HOSTS),
    Default("0"),
    "Hosts that may fail before the deployment has failed.",
);
pub(crate) const BAKE: Key<Durations> = key(
    "bake",
    Durations(Duration::ZERO, MAX_DEADLINE),
    Default("\"10s\""),
    "How long each batch must stay healthy before the next. Meanwhile the old instances still run.",
);
pub(crate) const APPROVAL: Words<Approve> = Words(&[
    ("auto", Approve::Auto, "nobody has to: what is asked of it besides lets it go on"),
    ("manual", Approve::Manual, "a person does, with `handover promote`; nothing changes meanwhile"),
]);
pub(crate) const APPROVE: Key<Words<Approve>> = key(
    "approve",
    APPROVAL,
    Default("\"auto\""),
    "Who lets a release flip that is ready on every host, with `strategy = \"blue-green\"`.",
);
pub(crate) const KEEP_WARM: Key<Durations> = key(
    "keep_warm",
    Durations(Duration::ZERO, WEEK),
    Default("\"0s\""),
    "How long the old instances stand by after a deployment, or until the next one: then a rollback starts nothing. Not at all with `0s`.",
);
pub(crate) const CONFIRM: Key<Durations> = key(
    "confirm",
    Durations(Duration::from_secs(1), HOUR),
    Otherwise("a flip stands as soon as it is made"),
    "How soon the server must have confirmed each flip that gives the release a share: a host that does not hear of it by then, because it cannot reach the server, goes back to the former release by itself. A rollback needs no confirmation.",
);
pub(crate) const REHEARSAL: Key<Words<Rehearsal>> = key(
    "rehearsal",
    Words(&[
        ("optional", Rehearsal::Optional, "it may be rehearsed, with `handover rehearse`"),
        (
            "required",
            Rehearsal::Required,
            "a deployment is refused until going from the current release to it and back was rehearsed well; a rollback never is",
        ),
    ]),
    Default("\"optional\""),
    "Whether a release has to be rehearsed on one host before it is deployed.",
);
pub(crate) const REHEARSAL_MAX_AGE: Key<Durations> = key(
    "rehearsal_max_age",
    Durations(Duration::from_secs(60), YEAR),
    Default("\"168h\""),
    "How long ago that may have been with `rehearsal = \"required\"`.",
);
pub(crate) const ON_FAILURE: Key<Words<OnFailure>> = key(
    "on_failure",
    Words(&[
        ("rollback", OnFailure::Rollback, "every host that was touched goes back to what it ran"),
        ("pause", OnFailure::Pause, "nothing more is changed until a person says what"),
    ]),
    Default("\"rollback\""),
    "What happens when the deployment has failed.",
);
pub(crate) const OFFLINE: Key<Words<Offline>> = key(
    "offline",
    Words(&[
        ("wait", Offline::Wait, "it is waited for until `offline_deadline`; then it has failed"),
        ("skip", Offline::Skip, "it is left out, and gets the release when it comes back"),
        ("fail", Offline::Fail, "it counts as failed at once"),
    ]),
    Default("\"skip\""),
    "What happens with a host that is not connected when its turn comes.",
);
pub(crate) const OFFLINE_DEADLINE: Key<Durations> = key(
    "offline_deadline",
    Durations(Duration::from_secs(1), MAX_DEADLINE),
    Default("\"10m\""),
    "How long a host is waited for with `offline = \"wait\"`.",
);
pub(crate) const FLIP_DEADLINE: Key<Durations> = key(
    "flip_deadline",
    Durations(MOMENT, HOUR),
    Default("\"30s\""),
    "From ready until the share must be in the kernel.",
);

pub(crate) const ROLLOUT: Table = Table {
    name: "rollout",
    meaning: "How a new release is carried to the hosts, where the operator says nothing else at the deployment.",
    keys: &[
        &STRATEGY,
        &BATCH,
        &canary::STEPS,
        &ORDER_BY,
        &MAX_IN_FLIGHT,
        &FAILURES_ALLOWED,
        &BAKE,
        &APPROVE,
        &KEEP_WARM,
        &CONFIRM,
        &REHEARSAL,
        &REHEARSAL_MAX_AGE,
        &ON_FAILURE,
        &OFFLINE,
        &OFFLINE_DEADLINE,
        &FLIP_DEADLINE,
    ],
    kinds: Vec::new,
};
