//! A canary's steps, and how it is judged.

use super::{
    Absent::{Default, Otherwise, Required},
    Durations, Either, Fractions, Integers, Key, Listed, Percents, Sizes, Table, Words, key,
    rollout::{APPROVAL, MOST_HOSTS},
};
use crate::manifest::{Approve, Inconclusive, MAX_DEADLINE, MAX_STEPS};
use std::time::Duration;

pub(crate) const STEPS: Key<Listed<Either<Percents, &'static Table>>> = key(
    "steps",
    Listed(Either(Percents(1, 100), &STEP), MAX_STEPS),
    Default("[\"5%\", \"25%\", \"50%\", \"100%\"]"),
    "With `strategy = \"canary\"`: the new release's part of the new connections, step by step. A step that says more is a table. After the last one it gets everything.",
);

pub(crate) const SHARE: Key<Percents> = key(
    "share",
    Percents(1, 100),
    Default("\"100%\""),
    "The new release's part of the new connections, on each host of the step.",
);
pub(crate) const STEP_HOSTS: Key<Either<Integers<u32>, Percents>> = key(
    "hosts",
    Either(Integers(1, MOST_HOSTS), Percents(1, 100)),
    Default("\"100%\""),
    "On so many hosts, by number or as a part of the service's, rounded up; never fewer than in the step before.",
);
pub(crate) const STEP_BAKE: Key<Durations> = key(
    "bake",
    Durations(Duration::ZERO, MAX_DEADLINE),
    Otherwise("`rollout.bake`"),
    "How long the step must stay healthy, and be judged, before the next.",
);
pub(crate) const STEP_WITHIN: Key<Durations> = key(
    "within",
    Durations(Duration::ZERO, MAX_DEADLINE),
    Otherwise("`judge.within`"),
    "How long the judge may take after that to come to a verdict.",
);
pub(crate) const STEP_APPROVE: Key<Words<Approve>> =
    key("approve", APPROVAL, Default("\"auto\""), "Who lets the release go on to the next step.");

/// A step that says more than its share.
pub(crate) const STEP: Table = Table {
    name: "rollout.steps",
    meaning: "A step of a canary that says more than its share.",
    keys: &[&SHARE, &STEP_HOSTS, &STEP_BAKE, &STEP_WITHIN, &STEP_APPROVE],
    kinds: Vec::new,
};

pub(crate) const BLOCK: Key<Durations> = key(
    "block",
    Durations(Duration::from_secs(1), Duration::from_secs(300)),
    Otherwise("`\"10s\"`, or `metrics.interval` where that is longer"),
    "So much of time is counted together and looked at; at least `metrics.interval`.",
);
pub(crate) const WITHIN: Key<Durations> = key(
    "within",
    Durations(Duration::ZERO, MAX_DEADLINE),
    Default("\"10m\""),
    "How long the judge may take after a step's bake to come to a verdict.",
);
pub(crate) const INCONCLUSIVE: Key<Words<Inconclusive>> = key(
    "inconclusive",
    Words(&[
        (
            "hold",
            Inconclusive::Hold,
            "a person decides, with `handover promote` or `handover abort`; the shares stay as they are",
        ),
        ("rollback", Inconclusive::Rollback, "every host that was touched goes back to what it ran"),
        ("go-on", Inconclusive::GoOn, "the deployment goes on without a verdict"),
    ]),
    Default("\"hold\""),
    "What happens where it comes to none: too few requests, or no metrics.",
);
pub(crate) const ALPHA: Key<Fractions> = key(
    "alpha",
    Fractions(1, 500_000),
    Default("\"1%\""),
    "The chance of failing a canary that is as good as tolerated, over the whole deployment.",
);
pub(crate) const ALPHA_PROMOTION: Key<Fractions> = key(
    "alpha_promotion",
    Fractions(1, 500_000),
    Default("\"5%\""),
    "The chance of passing a step with a canary that is intolerable.",
);
pub(crate) const RATIO: Key<Fractions> = key(
    "ratio",
    Fractions(1_000_000, 100_000_000),
    Default("\"125%\""),
    "Tolerated is this many times the baseline's share of errors, and `difference` more.",
);
pub(crate) const DIFFERENCE: Key<Fractions> =
    key("difference", Fractions(0, 500_000), Default("\"0.2%\""), "See `ratio`.");
pub(crate) const INTOLERABLE: Key<Fractions> = key(
    "intolerable",
    Fractions(1, 900_000),
    Default("\"2%\""),
    "Intolerable is `ratio` times the baseline's share of errors, and so much more. A step passes when the canary is proven to be better than that. More than `difference`.",
);
pub(crate) const CAP: Key<Integers<u32>> = key(
    "cap",
    Integers(1, 1_000_000),
    Otherwise("all of them count"),
    "At most so many errors of a host and a block count, or four times what is expected, where that is more: for services whose errors come in bursts.",
);
pub(crate) const LATENCY: Key<Words<bool>> = key(
    "latency",
    Words(&[
        ("compare", true, "where the service has a histogram of them"),
        ("ignore", false, "errors alone are compared"),
    ]),
    Default("\"compare\""),
    "Whether latencies are compared.",
);
pub(crate) const MAX_ERRORS: Key<Fractions> = key(
    "max_errors",
    Fractions(0, 999_999),
    Otherwise("no such limit"),
    "The canary fails where more of its requests are errors, counted over at least 100 of them, whatever the baseline's are.",
);
pub(crate) const MAX_SLOW: Key<&Table> = key("max_slow", &SLOW, Otherwise("no such limit"), SLOW.meaning);
pub(crate) const MAX_RESETS: Key<Fractions> = key(
    "max_resets",
    Fractions(0, 999_999),
    Otherwise("no such limit"),
    "The canary fails where more of its connections ended with a reset, by either side, counted over at least 100 that were seen and ended, whatever the old release's did.",
);
pub(crate) const MAX_REFUSED: Key<Integers<u32>> = key(
    "max_refused",
    Integers(0, 1_000_000),
    Otherwise("no such limit"),
    "The canary fails where the kernel turns away more connections a minute from an instance of it, as it does not accept them in time, on one host in three blocks in a row; each time that a client tries counts.",
);
pub(crate) const MAX_MEMORY: Key<Sizes> = key(
    "max_memory",
    Sizes(1 << 20, 1 << 50),
    Otherwise("no such limit"),
    "The canary fails where an instance of it has more memory, on one host at the end of three blocks in a row, whatever the old release's has.",
);
pub(crate) const MAX_CPU: Key<Percents> = key(
    "max_cpu",
    Percents(1, 100_000),
    Otherwise("no such limit"),
    "The canary fails where an instance of it takes more processor time, on one host in three blocks in a row, in percent of one processor: `\"150%\"` is one and a half.",
);

pub(crate) const SLOW_OVER: Key<Durations> = key(
    "over",
    Durations(Duration::from_millis(1), Duration::from_secs(3600)),
    Required("over = \"500ms\""),
    "What is slower counts; at the first edge of the service's histogram that is not below it.",
);
pub(crate) const SLOW_SHARE: Key<Fractions> =
    key("share", Fractions(0, 999_999), Default("\"1%\""), "So much of the requests may be slower.");

/// A limit on latency.
pub(crate) const SLOW: Table = Table {
    name: "judge.max_slow",
    meaning: "The canary fails where more of its requests are slower, counted over at least 100 of them, whatever the baseline's are. Needs a histogram of latencies.",
    keys: &[&SLOW_OVER, &SLOW_SHARE],
    kinds: Vec::new,
};

pub(crate) const JUDGE: Table = Table {
    name: "judge",
    meaning: "How a canary is judged: by comparing what it answers with what the old release answers at the same time. docs/judge.md tells what the bounds mean.",
    keys: &[
        &BLOCK,
        &WITHIN,
        &INCONCLUSIVE,
        &ALPHA,
        &ALPHA_PROMOTION,
        &RATIO,
        &DIFFERENCE,
        &INTOLERABLE,
        &CAP,
        &LATENCY,
        &MAX_ERRORS,
        &MAX_SLOW,
        &MAX_RESETS,
        &MAX_REFUSED,
        &MAX_MEMORY,
        &MAX_CPU,
    ],
    kinds: Vec::new,
};
