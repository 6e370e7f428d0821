//! Events on the wire: what is remembered, then each as it happens. The ring itself is the buffer of all followers:
//! one that is too slow is told how many it missed.

use super::{
    permit::{Access, Permit},
    request,
};
use crate::{
    events::{Event, Events, MOST},
    fleet::Refusal,
};
use handover_model::{DeploymentId, ServiceName, Timestamp};
use handover_proto::v1;
use std::{collections::VecDeque, sync::Arc};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// Events in one message.
const BATCH: usize = 256;

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
    asked: &v1::WatchEventsRequest,
    stop: CancellationToken,
) -> Result<ReceiverStream<Result<v1::Events, Status>>, Status> {
    let v1::WatchEventsRequest { since_unix_millis, service, follow, limit } = asked;
    let service = request::parse_optional("service", service)?;
    let access = permit.filtered(service.as_ref())?;
    let (events, open) = (access.events(), access.metrics().watcher());
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
    let (out, stream) = mpsc::channel(1);
    tokio::spawn(async move {
        tokio::select! {
            () = tell(&events, &wanted, &out) => {}
            () = stop.cancelled() => { let _ = out.try_send(Err(Refusal::Stopping.into())); }
            () = out.closed() => {}
        }
        drop(open);
    });
    Ok(ReceiverStream::new(stream))
}

async fn tell(events: &Events, wanted: &Wanted, out: &mpsc::Sender<Result<v1::Events, Status>>) {
    let mut last = events.last();
    let mut at = events.beginning();
    let mut remembered: VecDeque<v1::FleetEvent> = VecDeque::new();
    loop {
        let page = events.after(at, BATCH);
        let Some((number, _)) = page.events.last() else { break };
        at = *number;
        for (number, event) in page.events.iter().filter(|(_, event)| wanted.takes(event)) {
            if remembered.len() == wanted.most {
                remembered.pop_front();
            }
            remembered.push_back(wire(*number, event));
        }
    }
    let mut rest: Vec<_> = remembered.into();
    while !rest.is_empty() {
        let after = rest.split_off(rest.len().min(BATCH));
        if out.send(Ok(v1::Events { events: rest, left_out: 0 })).await.is_err() {
            return;
        }
        rest = after;
    }
    if !wanted.follow {
        return;
    }
    loop {
        last.borrow_and_update();
        let page = events.after(at, BATCH);
        at = page.events.last().map_or(at, |(number, _)| *number);
        let told: Vec<_> =
            page.events.iter().filter(|(_, event)| wanted.takes(event)).map(|(n, e)| wire(*n, e)).collect();
        if (!told.is_empty() || page.left_out > 0)
            && out.send(Ok(v1::Events { events: told, left_out: page.left_out })).await.is_err()
        {
            return;
        }
        if page.events.is_empty() && last.changed().await.is_err() {
            return;
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
