//! Point 2: the release declares what it is compatible with, and what runs is among that.

use super::{
    Grade::{Fail, Warn},
    Point, Subject,
    facts::Facts,
    listed,
};

pub(super) fn point(facts: &Facts<'_>) -> Point {
    let (declared, version) = (&facts.manifest.compatible, &facts.release.version);
    let point = Point::new(Subject::Compatibility);
    let names: Vec<String> = declared.iter().map(ToString::to_string).collect();
    let names = names.join(", ");
    if facts.running.is_empty() {
        let declares = if declared.is_empty() { String::new() } else { format!("; it declares {names}") };
        return point.tell(format!("no other release of the service runs{declares}"));
    }
    let runs = |(version, hosts): (&&handover_model::Version, &std::collections::BTreeSet<_>)| {
        format!("{version} on {}", listed(hosts.iter().copied()))
    };
    if declared.is_empty() {
        let running: Vec<String> = facts.running.iter().map(runs).collect();
        return point.find(
            Warn,
            format!(
                "{version} does not declare what it is compatible with; what runs: {}",
                running.join("; ")
            ),
            format!("name the releases that it may run beside: compatible = [{:?}]", example(facts)),
        );
    }
    let among = |version: &handover_model::Version| declared.iter().any(|releases| releases.have(version));
    let (good, bad): (Vec<_>, Vec<_>) = facts.running.iter().partition(|(version, _)| among(version));
    let told = |running: Vec<_>| running.into_iter().map(runs).collect::<Vec<_>>().join("; ");
    let point = match bad.is_empty() {
        true => point,
        false => point.find(
            Fail,
            format!("not among what {version} declares ({names}): {}", told(bad)),
            "deploy a release first that goes with both; or, where it does go with what runs, declare that in a new release",
        ),
    };
    match good.is_empty() {
        true => point,
        false => point.tell(format!("among what {version} declares ({names}): {}", told(good))),
    }
}

/// A release that runs, as it could be declared.
fn example(facts: &Facts<'_>) -> String {
    let any = facts.running.keys().next().map(ToString::to_string);
    facts
        .current
        .filter(|current| facts.running.contains_key(current))
        .map(ToString::to_string)
        .or(any)
        .unwrap_or_default()
}
