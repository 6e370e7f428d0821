//! `handover events`.

use super::{
    connection::{self, Connection},
    error::CliError,
    exit,
    plain::plain,
    time,
};
use handover_proto::v1::{FleetEvent, WatchEventsRequest};
use serde_json::json;
use std::io::{Write as _, stdout};

/// What happened in the fleet: deployments, hosts, instances, releases.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The server remembers the last 10000 events. After its start it still knows of releases pushed, \
    deployments begun and ended, and hosts enrolled; nothing else survives it."
)]
pub(super) struct EventsArgs {
    /// Go on with what happens from now on, until interrupted.
    #[arg(long, short)]
    follow: bool,
    /// Nothing from before: a time as 90s, 10m, 2h, 1d.
    #[arg(long, value_name = "TIME", value_parser = time::parse_span)]
    since: Option<u64>,
    /// Only of this service.
    #[arg(long)]
    service: Option<String>,
    /// The newest so many; 100, or with --since all that are remembered.
    #[arg(long, short = 'n', value_name = "EVENTS", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: Option<u32>,
}

pub(super) async fn run(args: EventsArgs, mut to: Connection, as_json: bool) -> Result<exit::Exit, CliError> {
    let EventsArgs { follow, since, service, limit } = args;
    let request = WatchEventsRequest {
        since_unix_millis: since.map_or(0, |since| time::now().saturating_sub(since)),
        service: service.unwrap_or_default(),
        follow,
        limit: limit.unwrap_or(if since.is_some() { 0 } else { 100 }),
    };
    tokio::select! {
        ended = show(&mut to, request, as_json) => ended,
        _ = tokio::signal::ctrl_c() => Ok(exit::INTERRUPTED),
    }
}

/// Shows events; a server that is started again meanwhile is waited for, with back-off and a limit.
async fn show(
    to: &mut Connection,
    mut request: WatchEventsRequest,
    as_json: bool,
) -> Result<exit::Exit, CliError> {
    let mut pause = connection::pauses();
    // Of the millisecond from which a second call goes on: what was shown already.
    let mut shown: Vec<FleetEvent> = Vec::new();
    loop {
        let broke = match to.client.watch_events(request.clone()).await {
            Ok(stream) => {
                let mut stream = stream.into_inner();
                loop {
                    match stream.message().await {
                        Ok(Some(events)) => {
                            pause = connection::pauses();
                            if events.left_out > 0 {
                                left_out(events.left_out, as_json);
                            }
                            for event in events.events {
                                if shown.iter().any(|other| is_same(other, &event)) {
                                    continue;
                                }
                                print(&event, as_json);
                                if event.at_unix_millis != request.since_unix_millis {
                                    shown.clear();
                                }
                                request.since_unix_millis =
                                    request.since_unix_millis.max(event.at_unix_millis);
                                shown.push(event);
                            }
                            // Written at once: who follows waits for it.
                            let _ = stdout().flush();
                        }
                        Ok(None) if !request.follow => return Ok(exit::DONE),
                        Ok(None) => break tonic::Status::unavailable("the server ended the watch"),
                        Err(status) => break status,
                    }
                }
            }
            Err(status) => status,
        };
        let again = request.follow && connection::is_worth_trying(&broke);
        let Some(wait) = pause.next().filter(|_| again) else { return Err(broke.into()) };
        // All since the last one that was shown.
        request.limit = 0;
        tokio::time::sleep(wait).await;
        // Not there yet: the next round tries again.
        let _ = to.again().await;
    }
}

/// The same event told by another run of the server, which numbers and words it anew.
fn is_same(one: &FleetEvent, other: &FleetEvent) -> bool {
    let key = |event: &FleetEvent| {
        (
            event.at_unix_millis,
            event.kind.clone(),
            event.deployment,
            event.host.clone(),
            event.instance.clone(),
            event.version.clone(),
        )
    };
    key(one) == key(other)
}

fn left_out(count: u64, as_json: bool) {
    if as_json {
        println!("{}", json!({"left_out": count}));
    } else {
        println!("... {count} events left out: this reader was too slow");
    }
}

fn print(event: &FleetEvent, as_json: bool) {
    let FleetEvent { sequence, at_unix_millis, kind, service, version, deployment, host, instance, by, text } =
        event;
    let deployment = deployment.map(|number| format!("d{number}"));
    if as_json {
        let event = json!({
            "sequence": sequence, "at": at_unix_millis, "kind": kind, "service": service, "version": version,
            "deployment": deployment, "host": host, "instance": instance, "by": by, "text": text,
        });
        println!("{event}");
        return;
    }
    let mut line = format!("{} {kind}", time::moment(*at_unix_millis));
    let mut add = |before: &str, word: &str| {
        if !word.is_empty() {
            line.push_str(before);
            line.push_str(word);
        }
    };
    add(" ", deployment.as_deref().unwrap_or_default());
    add(" ", service);
    add(" ", version);
    add(" on ", host);
    add(" instance ", instance);
    add(" by ", by);
    add(": ", text);
    println!("{}", plain(line.as_bytes()));
}
