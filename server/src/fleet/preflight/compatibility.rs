//! Point 2: the release declares what it is compatible with, and what runs is among that.

use super::{
    Grade::{Fail, Warn},
    Point, Subject,
    facts::Facts,
    listed,
    schema::Schema,
};
use crate::fleet::{ReleaseSchema, Works};
use handover_model::{HostName, Version};
use std::collections::BTreeSet;

/// How many releases that run are told one by one.
const TOLD: usize = 8;

pub(super) fn point(facts: &Facts<'_>) -> Point {
    by_schema(facts, by_declaration(facts))
}

/// Whether it works beside what runs with one and the same schema.
fn by_schema(facts: &Facts<'_>, point: Point) -> Point {
    let (Schema::Declared(declared), version) = (&facts.schema, &facts.release.version) else {
        return point;
    };
    let ReleaseSchema { database, reads, .. } = &declared.schema;
    let mut point = point;
    for other in facts.running.keys().take(TOLD) {
        let theirs = facts.reads.get(other);
        let both = theirs.and_then(Works::range).and_then(|theirs| theirs.and(*reads));
        point = match theirs.map(|theirs| (told_range(theirs), both)) {
            None => point.tell(format!("{other} declares nothing of the schema of database {database}")),
            Some((theirs, Some(both))) => point.tell(format!(
                "{version} reads {reads} of the schema of database {database}, and {other} reads {theirs}: {both} goes with both"
            )),
            Some((theirs, None)) => point.find(
                Fail,
                format!(
                    "{version} reads {reads} of the schema of database {database}, and {other} reads {theirs}: no version of it goes with both"
                ),
                "deploy a release in between first, which reads both shapes",
            ),
        };
    }
    point
}

/// `41..=43`, or `41..=49, but uses customers.email, which migration 44 of shop 4 takes away`.
fn told_range(Works { reads, lost }: &Works) -> String {
    match lost {
        None => reads.to_string(),
        Some(lost) => format!("{reads}, but {}", lost.told()),
    }
}

fn by_declaration(facts: &Facts<'_>) -> Point {
    let (declared, version) = (&facts.manifest.compatible, &facts.release.version);
    let point = Point::new(Subject::Compatibility);
    let names: Vec<String> = declared.iter().map(ToString::to_string).collect();
    let names = names.join(", ");
    if facts.running.is_empty() {
        let declares = if declared.is_empty() { String::new() } else { format!("; it declares {names}") };
        return point.tell(format!("no other release of the service runs{declares}"));
    }
    if declared.is_empty() {
        let running: Vec<_> = facts.running.iter().collect();
        let line = format!("{version} does not declare what it goes with; what runs: {}", told(&running));
        let advice = "name the releases that it may run beside: compatible = [\"LABEL\", \"BEGINNING*\"]";
        return point.find(Warn, line, advice);
    }
    let among = |version: &Version| declared.iter().any(|releases| releases.have(version));
    let (good, bad): (Vec<_>, Vec<_>) = facts.running.iter().partition(|(version, _)| among(version));
    let point = match bad.is_empty() {
        true => point,
        false => point.find(
            Fail,
            format!("not among what {version} declares ({names}): {}", told(&bad)),
            "deploy a release first that goes with both; or, where it does go with what runs, declare that in a new release",
        ),
    };
    match good.is_empty() {
        true => point,
        false => point.tell(format!("among what {version} declares ({names}): {}", told(&good))),
    }
}

/// Releases and where they run.
fn told(running: &[(&&Version, &BTreeSet<&HostName>)]) -> String {
    let runs = running.iter().take(TOLD);
    let runs = runs.map(|(version, hosts)| format!("{version} on {}", listed(hosts.iter().copied())));
    let runs: Vec<String> = runs.collect();
    match running.len().saturating_sub(TOLD) {
        0 => runs.join("; "),
        more => format!("{}; and {more} more", runs.join("; ")),
    }
}
