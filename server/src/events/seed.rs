//! What the store tells of what happened before the server's start.

use super::{Event, EventKind, MOST};
use crate::fleet::{DeploymentRecord, Ending, State};
use handover_model::{DeploymentId, Timestamp};

/// Hosts enrolled, releases pushed, deployments begun and ended: the newest [`MOST`], in the order of their times.
pub(crate) fn from_store(state: &State) -> Vec<Event> {
    let hosts = state
        .hosts()
        .map(|(name, host)| Event::new(EventKind::HostEnrolled, host.record.enrolled).host(name));
    let releases = state.list_releases(None).into_iter().map(|release| {
        let record = &release.record;
        Event::new(EventKind::ReleasePushed, record.created)
            .release(&release.release.name)
            .by(&record.created_by)
    });
    let deployments = state.deployments(None).flat_map(|(id, record, _)| {
        let begun = Event::new(EventKind::DeploymentCreated, record.created)
            .deployment(id)
            .release(&record.release)
            .by(&record.created_by);
        [Some(begun), record.ended.map(|(at, ending)| ended(id, record, ending, at))].into_iter().flatten()
    });
    let mut events: Vec<Event> = hosts.chain(releases).chain(deployments).collect();
    events.sort_by_key(|event| event.at);
    let surplus = events.len().saturating_sub(MOST);
    events.drain(..surplus);
    events
}

/// A deployment's end.
pub(crate) fn ended(id: DeploymentId, record: &DeploymentRecord, ending: Ending, at: Timestamp) -> Event {
    let kind = match ending {
        Ending::Succeeded => EventKind::DeploymentSucceeded,
        Ending::RolledBack => EventKind::DeploymentRolledBack,
        Ending::NeedsPerson => EventKind::DeploymentNeedsPerson,
    };
    Event::new(kind, at).deployment(id).release(&record.release).text(&record.reason)
}
