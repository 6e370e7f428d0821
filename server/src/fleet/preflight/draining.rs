//! Point 4: draining is configured, and the last deployments cut nobody off.

use super::{
    Grade::{Fail, Warn},
    LessonRecord, Point, Subject,
    facts::Facts,
    lessons::Drained,
    listed,
};
use handover_model::DeploymentId;

/// How many deployments that drained something are looked at.
const LAST: usize = 5;

pub(super) fn point(facts: &Facts<'_>) -> Point {
    let (drain, point) = (facts.manifest.drain, Point::new(Subject::Draining));
    if facts.manifest.listeners.is_empty() {
        return point.tell("the service has no listener: there is nothing to drain");
    }
    let point = if drain.deadline.is_zero() {
        point.find(
            Fail,
            format!("drain.deadline is 0s: whatever is open when {} is sent is cut", drain.signal),
            "give the program time to finish: deadline in [drain]",
        )
    } else {
        point.tell(format!(
            "{}, then up to {:?} for its connections; before that up to {:?} for its queues",
            drain.signal, drain.deadline, drain.queue_deadline
        ))
    };
    let drained = facts.lessons.iter().filter(|(_, lesson)| lesson.drained.instances > 0);
    let last: Vec<_> = drained.take(LAST).collect();
    if last.is_empty() {
        return point.tell("no deployment of it drained an instance yet");
    }
    let cut: Vec<_> = last.iter().filter(|(_, lesson)| lesson.drained.cut() > 0).collect();
    let advice =
        "see why connections last longer than drain.deadline, or are left in a queue: docs/draining.md";
    let point = cut.iter().fold(point, |point, (id, lesson)| point.find(Warn, told(*id, lesson), advice));
    let uncut: Vec<_> = last.iter().filter(|(_, lesson)| lesson.drained.cut() == 0).collect();
    if uncut.is_empty() {
        return point;
    }
    let sum = |of: fn(&Drained) -> u64| uncut.iter().map(|(_, lesson)| of(&lesson.drained)).sum::<u64>();
    let names: Vec<String> = uncut.iter().map(|(id, _)| id.to_string()).collect();
    let killed = match sum(|drained| drained.killed.into()) {
        0 => String::new(),
        killed => format!("; {killed} of them did not end by themselves and were killed"),
    };
    point.tell(format!(
        "nobody was cut off in {}: {} drained, {} connections open when they were told to{killed}",
        names.join(", "),
        counted(uncut.iter().map(|(_, lesson)| lesson.drained.instances).sum()),
        sum(|drained| drained.connections)
    ))
}

fn counted(instances: u32) -> String {
    format!("{instances} {}", if instances == 1 { "instance" } else { "instances" })
}

/// What a deployment cut.
fn told(id: DeploymentId, lesson: &LessonRecord) -> String {
    let Drained { instances, connections, force_closed, reset, killed, cut_on } = &lesson.drained;
    format!(
        "{id} to {}: {force_closed} cut at the deadline, {reset} reset in a queue, of {connections} connections of {} ({killed} killed), on {}",
        lesson.version,
        counted(*instances),
        listed(cut_on)
    )
}
