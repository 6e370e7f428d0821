//! Point 1: readiness gates the traffic, is not the liveness check, and is not one that can be true before the program
//! serves.

use super::{
    Grade::{Fail, Warn},
    Point, Subject,
    facts::{Facts, SeenStart},
    listed,
};
use handover_model::config::{Check, ListenerName, Manifest, ReadinessCheck, Template};
use std::collections::BTreeSet;

pub(super) fn point(facts: &Facts<'_>) -> Point {
    let (manifest, point) = (facts.manifest, Point::new(Subject::Readiness));
    if manifest.listeners.is_empty() {
        return point.tell("the service has no listener: no traffic waits for its readiness");
    }
    let probe = match &manifest.readiness.check {
        ReadinessCheck::Alive { settle } => {
            let line = format!(
                "readiness is \"alive\": it holds {settle:?} after the start, whether the program serves or not"
            );
            let advice = "let the program say when it serves (kind = \"notify\" in [readiness]), or ask it: \"http\", \"grpc\", \"tcp\"";
            return point.find(Fail, line, advice);
        }
        ReadinessCheck::Notify => {
            let point =
                point.tell("readiness is \"notify\": it does not hold before the program says READY=1");
            return served(point, &facts.starts);
        }
        ReadinessCheck::Probe(probe) => probe,
    };
    let point = not_liveness(point, &probe.check, manifest);
    let point = match &probe.check {
        Check::Tcp { .. } => point.tell(format!(
            "{}: the kernel is asked whether the program accepts, so it does not hold before",
            asked(&probe.check)
        )),
        check @ (Check::Http(_) | Check::Grpc { .. } | Check::Exec { .. }) => {
            was_false(point, check, &facts.starts)
        }
    };
    served(point, &facts.starts)
}

/// What one answer to both means.
fn not_liveness(point: Point, readiness: &Check<Template>, manifest: &Manifest) -> Point {
    let Some(liveness) = &manifest.liveness else {
        return point;
    };
    let check = asked(readiness);
    if !liveness.probe.check.asks_the_same(readiness) {
        return point
            .tell(format!("readiness is {check}, liveness another check: {}", asked(&liveness.probe.check)));
    }
    let line = format!(
        "readiness and liveness are one check, {check}: what is not ready for a while is started again"
    );
    match readiness {
        // Of a program that speaks no protocol with a health check there is nothing weaker to ask.
        Check::Tcp { .. } => point.find(
            Warn,
            line,
            "leave [liveness] out where the program ends by itself when it is broken, or ask it something that holds under load, too",
        ),
        Check::Http(_) | Check::Grpc { .. } | Check::Exec { .. } => point.find(
            Fail,
            line,
            "give [liveness] a check of its own that holds as long as a restart would not help, or leave it out",
        ),
    }
}

/// What the starts that were seen say of the check.
fn was_false(point: Point, check: &Check<Template>, starts: &[SeenStart<'_>]) -> Point {
    let check = asked(check);
    let starts = starts.iter().filter_map(|start| Some((start, start.unready_probes?)));
    let starts: Vec<_> = starts.collect();
    let deployments: BTreeSet<_> = starts.iter().map(|(start, _)| start.deployment).collect();
    let deployments: Vec<_> = deployments.iter().map(ToString::to_string).collect();
    let deployments = deployments.join(", ");
    let least = starts.iter().map(|(start, _)| start.ready_millis).min().unwrap_or_default();
    let most = starts.iter().map(|(start, _)| start.ready_millis).max().unwrap_or_default();
    let after = if least == most { format!("{most} ms") } else { format!("{least} to {most} ms") };
    let (of, first) = (starts.len(), starts.iter().filter(|(_, unready)| *unready > 0).count());
    let starts = if of == 1 { "start" } else { "starts" };
    match (of, first) {
        (0, _) => point.find(
            Warn,
            format!("{check}: no start with it was seen yet; whether it is ever false is not known"),
            "see what the next deployment, or a rehearsal, shows of it",
        ),
        (of, 0) => point.find(
            Warn,
            format!("{check}: it was never false in {of} {starts} ({deployments}), and held {after} after the start"),
            "make sure that it answers badly until the program can serve: what connects, loads and warms up must be behind it",
        ),
        (of, first) => point.tell(format!(
            "{check}: false at first in {first} of {of} {starts} ({deployments}), and held {after} after the start"
        )),
    }
}

/// Whether the program served when its readiness held, in the last deployment that started it: what was mended since does
/// not count any more.
fn served(point: Point, starts: &[SeenStart<'_>]) -> Point {
    let looked: Vec<_> = starts.iter().filter_map(|start| Some((start, start.unserved?))).collect();
    let Some(last) = looked.first().map(|(start, _)| start.deployment) else { return point };
    let of: Vec<_> = looked.iter().filter(|(start, _)| start.deployment == last).collect();
    let early: Vec<_> = of.iter().filter(|(_, unserved)| !unserved.is_empty()).collect();
    if early.is_empty() {
        return point.tell(format!("{last} showed that what is ready accepts on every listener"));
    }
    let listeners: BTreeSet<_> = early.iter().flat_map(|(_, unserved)| *unserved).collect();
    let listeners: Vec<_> = listeners.into_iter().map(ListenerName::as_str).collect();
    point.find(
        Fail,
        format!(
            "readiness held before the program served: {} of {} instances that {last} started were ready and accepted nothing on {}, on {}",
            early.len(),
            of.len(),
            listeners.join(", "),
            listed(early.iter().map(|(start, _)| start.host))
        ),
        "let readiness wait until the program accepts on every listener; a rehearsal of a release that does shows it",
    )
}

/// A check in words.
fn asked(check: &Check<Template>) -> String {
    let kind = check.kind();
    match check {
        Check::Http(http) => format!("{kind} GET {} at {}", http.path, http.listener),
        Check::Grpc { listener, service_name } if service_name.is_empty() => format!("{kind} at {listener}"),
        Check::Grpc { listener, service_name } => format!("{kind} of {service_name} at {listener}"),
        Check::Tcp { listener } => format!("{kind} at {listener}"),
        Check::Exec { command } => {
            let program = command.first().map(Template::source).unwrap_or_default();
            format!("{kind} of {program}")
        }
    }
}
