//! `handover rehearse`: there and back on one host, and what that showed.

use super::{
    connection::Connection,
    deploy::{self, How},
    error::CliError,
    exit, json, time,
};
use handover_model::language::seconds;
use handover_proto::v1::{DeploymentRequest, ListRehearsalsRequest, Rehearsal, RehearsedFlip, Service};

/// Rehearse the rollback: on one host to a release and back, under the live traffic, timed and recorded.
///
/// The release starts hidden beside the live one, gets all new connections of the host for a time, and gives them back;
/// then it ends. Nothing else changes: the service's current release and what a rollback goes back to stay. A release
/// that is not ready or not well ends it early, with exit code 3.
#[derive(Debug, clap::Args)]
pub(super) struct RehearseArgs {
    /// The service.
    service: String,
    /// The release; where it is left out, the one that stands by, or else the newest.
    #[arg(long, visible_alias = "version", value_name = "VERSION")]
    release: Option<String>,
    /// The host; where it is left out, the first that runs the current release.
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// How long the release gets all new connections of the host, at most 1h.
    #[arg(long = "for", value_name = "TIME", default_value = "10s", value_parser = seconds)]
    lasts: u64,
    /// Show what rehearsals of the service showed, and rehearse nothing.
    #[arg(long, conflicts_with_all = ["release", "host", "lasts", "override_freeze", "yes", "detach", "plan"])]
    list: bool,
    /// Also where a freeze forbids it; it needs --reason, which goes into the audit.
    #[arg(long, requires = "reason")]
    override_freeze: bool,
    #[command(flatten)]
    how: How,
}

pub(super) async fn run(
    args: RehearseArgs,
    mut to: Connection,
    as_json: bool,
) -> Result<exit::Exit, CliError> {
    if args.list {
        return list(args.service, &mut to, as_json).await;
    }
    let request = DeploymentRequest {
        service: args.service,
        version: args.release.unwrap_or_default(),
        request_id: args.how.sent.id(),
        rollback: false,
        hosts: args.host.into_iter().collect(),
        take_over: args.how.sent.take_over,
        reason: args.how.sent.why(),
        override_freeze: args.override_freeze,
        rehearse_millis: Some(args.lasts.saturating_mul(1000)),
        override_rehearsal: false,
    };
    deploy::begin(request, args.how, to, as_json).await
}

async fn list(service: String, to: &mut Connection, as_json: bool) -> Result<exit::Exit, CliError> {
    let request = ListRehearsalsRequest { service };
    let rehearsals = to.client.list_rehearsals(request).await?.into_inner().rehearsals;
    for rehearsal in &rehearsals {
        if as_json {
            println!("{}", json::rehearsal(rehearsal));
            continue;
        }
        println!("{}", line(rehearsal));
        showed(rehearsal).iter().for_each(|line| println!("  {line}"));
    }
    if rehearsals.is_empty() && !as_json {
        println!("no rehearsal is recorded");
    }
    Ok(exit::DONE)
}

/// When, where, which pair of releases, and how it ended.
fn line(rehearsal: &Rehearsal) -> String {
    let Rehearsal { deployment, host, from_version, to_version, by, reason, .. } = rehearsal;
    let how = match (rehearsal.ended_unix_millis, rehearsal.succeeded) {
        (0, _) => "goes on".to_owned(),
        (_, true) => "succeeded".to_owned(),
        (_, false) => format!("failed: {reason}"),
    };
    let when = time::moment(rehearsal.began_unix_millis);
    format!("d{deployment} {when} by {by}: {from_version} -> {to_version} -> {from_version} on {host}: {how}")
}

/// The last one of a service, with how long ago it was; that there was none, where a former release could be rehearsed.
pub(super) fn last(service: &Service, now: u64) -> Option<String> {
    let Some(rehearsal) = &service.last_rehearsal else {
        let may = !service.previous_version.is_empty();
        return may.then(|| {
            format!("never rehearsed: `handover rehearse {}` goes there and back on one host", service.name)
        });
    };
    let (began, ended) = (rehearsal.began_unix_millis, rehearsal.ended_unix_millis);
    let age = time::span(now.saturating_sub(if ended == 0 { began } else { ended }));
    let age = if ended == 0 { format!("began {age} ago") } else { format!("{age} ago") };
    Some(format!("last rehearsal {}, {age}", line(rehearsal)))
}

/// What it showed, in lines.
pub(super) fn showed(rehearsal: &Rehearsal) -> Vec<String> {
    let mut lines = vec![
        flip("flip to the release", rehearsal.forward.as_ref()),
        flip("flip back", rehearsal.back.as_ref()),
    ];
    lines.push(match (rehearsal.requests, rehearsal.bad) {
        (Some(requests), Some(bad)) => {
            format!("requests: {} answered {requests}, {bad} of them badly", rehearsal.to_version)
        }
        _ => "requests: not measured".to_owned(),
    });
    lines.push(match &rehearsal.ledger {
        Some(ledger) => format!(
            "connections: {} open when it was told to drain, {} cut at the deadline, {} reset in a queue",
            ledger.connections, ledger.force_closed, ledger.reset
        ),
        None => "connections: no instance was drained, or it did not tell".to_owned(),
    });
    lines
}

fn flip(what: &str, flip: Option<&RehearsedFlip>) -> String {
    let Some(flip) = flip else { return format!("{what}: it did not come to it") };
    let reported = match flip.reported_millis {
        Some(millis) => format!("reported {millis} ms after its order"),
        None => "not seen".to_owned(),
    };
    match flip.nanos {
        Some(nanos) => format!("{what}: {} \u{b5}s on the host, {reported}", nanos.div_ceil(1000)),
        None => format!("{what}: {reported}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use handover_proto::v1::DrainLedger;

    #[test]
    fn what_a_rehearsal_showed_is_told_with_what_is_not_known() {
        let flip = RehearsedFlip { ordered_unix_millis: 1, reported_millis: Some(30), nanos: Some(41_200) };
        let mut rehearsal = Rehearsal {
            deployment: 7,
            host: "a".to_owned(),
            from_version: "1".to_owned(),
            to_version: "2".to_owned(),
            by: "ada".to_owned(),
            began_unix_millis: 1,
            ended_unix_millis: 2,
            succeeded: true,
            forward: Some(flip),
            back: Some(RehearsedFlip { nanos: None, ..flip }),
            ledger: Some(DrainLedger { connections: 3, ..DrainLedger::default() }),
            requests: Some(900),
            bad: Some(1),
            ..Rehearsal::default()
        };
        assert_eq!(
            showed(&rehearsal),
            [
                "flip to the release: 42 \u{b5}s on the host, reported 30 ms after its order",
                "flip back: reported 30 ms after its order",
                "requests: 2 answered 900, 1 of them badly",
                "connections: 3 open when it was told to drain, 0 cut at the deadline, 0 reset in a queue",
            ]
        );
        assert!(line(&rehearsal).ends_with("by ada: 1 -> 2 -> 1 on a: succeeded"), "{}", line(&rehearsal));
        let mut service = Service { name: "web".to_owned(), ..Service::default() };
        assert_eq!(last(&service, 90_002), None, "there is nothing to go back to");
        service.previous_version = "0".to_owned();
        let never = "never rehearsed: `handover rehearse web` goes there and back on one host";
        assert_eq!(last(&service, 90_002).as_deref(), Some(never));
        service.last_rehearsal = Some(rehearsal.clone());
        let told = last(&service, 90_002).unwrap();
        assert!(told.starts_with("last rehearsal d7 ") && told.ends_with(": succeeded, 1m30s ago"), "{told}");
        (rehearsal.back, rehearsal.requests, rehearsal.succeeded) = (None, None, false);
        rehearsal.reason = "a: web-d7 ended by itself".to_owned();
        assert_eq!(showed(&rehearsal)[1..3], ["flip back: it did not come to it", "requests: not measured"]);
        assert!(line(&rehearsal).ends_with("failed: a: web-d7 ended by itself"));
    }
}
