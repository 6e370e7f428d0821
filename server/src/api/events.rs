//! Events on the wire: what is remembered, then each as it happens. The ring itself is the buffer of all followers:
//! one that is too slow is told how many it missed.

use super::{
    held::Held,
    outlet::{self, End, Holding, Outlet},
    permit::{Access, Permit},
    request,
};
use crate::{
    events::{Event, Events, MOST},
    limits::Limits,
};
use handover_model::{DeploymentId, ServiceName, Timestamp};
use handover_proto::v1;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// Events in one message.
const BATCH: usize = 64;

/// Which events are asked for.
struct Wanted {
    since: Timestamp,
    service: Option<ServiceName>,
    follow: bool,
    /// The newest so many of those that are remembered.
    most: usize,
    /// Who asks: what is of another's service is not told.
    access: Access,
}

impl Wanted {
    fn takes(&self, event: &Event) -> bool {
        event.at >= self.since
            && self.service.as_ref().is_none_or(|service| event.service.as_ref() == Some(service))
            && event.service.as_ref().is_none_or(|service| self.access.sees(service))
    }
}

/// Streams events until there are no more, the reader's end, or the server's.
pub(super) fn stream(
    permit: Permit,
    limits: &Limits,
    asked: &v1::WatchEventsRequest,
    stop: CancellationToken,
) -> Result<Held<v1::Events, String>, Status> {
    let v1::WatchEventsRequest { since_unix_millis, service, follow, limit } = asked;
    let service = request::parse_optional("service", service)?;
    let access = permit.filtered(service.as_ref())?;
    let holding = Holding::watch(limits, &access, stop)?;
    let events = access.events();
    let wanted = Wanted {
        access,
        since: Timestamp::from_unix_millis(*since_unix_millis),
        service,
        follow: *follow,
        most: match usize::try_from(*limit) {
            Ok(0) | Err(_) => MOST,
            Ok(limit) => limit.min(MOST),
        },
    };
    Ok(outlet::stream(holding, 1, async move |out| tell(&events, &wanted, &out).await))
}

async fn tell(events: &Events, wanted: &Wanted, out: &Outlet<v1::Events>) -> Result<(), End> {
    let mut last = events.last();
    let (mut at, newest) = events.newest(wanted.most, |event| wanted.takes(event));
    loop {
        // Room first: for a reader who does not read nothing is taken out of the ring.
        let room = out.room().await?;
        last.borrow_and_update();
        let page = events.after(at, BATCH);
        at = page.events.last().map_or(at, |(number, _)| *number);
        let in_time = |number: u64| wanted.follow || number <= newest;
        let told = page.events.iter().filter(|(number, event)| in_time(*number) && wanted.takes(event));
        let told: Vec<_> = told.map(|(number, event)| wire(*number, event)).collect();
        if !told.is_empty() || page.left_out > 0 {
            room.send(v1::Events { events: told, left_out: page.left_out });
        } else {
            drop(room);
        }
        if !wanted.follow && (page.events.is_empty() || at >= newest) {
            return Ok(());
        }
        if page.events.is_empty() && last.changed().await.is_err() {
            return Ok(());
        }
    }
}

fn wire(number: u64, event: &Arc<Event>) -> v1::FleetEvent {
    let Event { kind, at, service, version, deployment, host, instance, by, text } = &**event;
    fn text_of<T: ToString>(name: Option<&T>) -> String {
        name.map(ToString::to_string).unwrap_or_default()
    }
    v1::FleetEvent {
        sequence: number,
        at_unix_millis: at.unix_millis(),
        kind: kind.as_str().to_owned(),
        service: text_of(service.as_ref()),
        version: text_of(version.as_ref()),
        deployment: deployment.map(DeploymentId::number),
        host: text_of(host.as_ref()),
        instance: text_of(instance.as_ref()),
        by: by.clone(),
        text: text.clone(),
    }
}
