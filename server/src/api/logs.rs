//! Logs on the wire: an operator asks, the hosts are asked through their sessions, agents answer.

use super::{
    Context,
    held::Held,
    outlet::{self, Holding},
    permit::Permit,
    request,
};
use crate::{
    fleet::{Link, Refusal, State},
    limits::Limits,
    logs::{
        Batch, DEFAULT_LINES, Ended, Line, Lines, LogRequests, MAX_BATCH_LINES, MAX_HOSTS, MAX_LINE_BYTES,
        MAX_LINES, Reading, Source,
    },
};
use handover_model::{HostName, InstanceId, ReleaseRef, ServiceName, Version};
use handover_proto::{
    convert::ConvertError,
    status::{Reason, refuse},
    v1,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::{sync::mpsc, time::timeout};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

/// Messages that wait for a reader; a follower who leaves that many unread misses the next.
const READER_QUEUE: usize = 32;
/// How long an agent may take to say what it answers.
const FIRST: Duration = Duration::from_secs(10);
/// Longest note or reason of an agent's, in characters.
const MAX_NOTE: usize = 300;

/// What is asked.
struct Asked {
    service: ServiceName,
    hosts: BTreeSet<HostName>,
    version: Option<Version>,
    order: v1::ReadLogs,
}

fn asked(wire: v1::ReadLogsRequest) -> Result<Asked, Status> {
    let v1::ReadLogsRequest { service, hosts, version, since_unix_millis, follow, lines } = wire;
    if hosts.len() > MAX_HOSTS {
        return Err(
            ConvertError::new("hosts", format!("has {} entries, at most {MAX_HOSTS}", hosts.len())).into()
        );
    }
    if lines > MAX_LINES {
        return Err(ConvertError::new("lines", format!("is {lines}, at most {MAX_LINES}")).into());
    }
    let service: ServiceName = request::parse("service", &service)?;
    let hosts: Result<_, Status> = hosts.iter().map(|host| request::parse("hosts", host)).collect();
    let order = v1::ReadLogs {
        request_id: 0,
        service: service.to_string(),
        instances: Vec::new(),
        since_unix_millis,
        follow,
        lines: if lines == 0 { DEFAULT_LINES } else { lines },
    };
    Ok(Asked { hosts: hosts?, version: request::parse_optional("version", &version)?, service, order })
}

/// Asks the hosts and streams what they send.
pub(super) async fn read(
    permit: Permit,
    requests: &Arc<LogRequests>,
    limits: &Limits,
    wire: v1::ReadLogsRequest,
    stop: CancellationToken,
) -> Result<Held<v1::Logs, String>, Status> {
    let Asked { service, hosts, version, mut order } = asked(wire)?;
    let access = permit.service(&service)?;
    let holding = Holding::logs(limits, &access, stop)?;
    let request = requests.open();
    order.request_id = request.number;
    let (follow, expected) = (order.follow, Arc::clone(requests));
    let begun = access
        .ask_hosts(move |state, links| begin(state, links, &expected, &service, &hosts, version, order));
    let Begun { sources, missing, versions } = begun.await?;
    let (queue, mut lines) = mpsc::channel(READER_QUEUE);
    let reading = Reading::of(sources, missing, versions, follow, queue);
    Ok(outlet::stream(holding, 1, async move |out| {
        let _request = request;
        let told = async move {
            while let Some(next) = lines.recv().await {
                out.send(wire_lines(next)).await?;
            }
            Ok(())
        };
        // Each ends the other: the reading at the end of who reads it, and what is told behind the last line.
        tokio::join!(reading.run(), told).1
    }))
}

/// Whom the request reaches.
struct Begun {
    sources: Vec<Source>,
    missing: Vec<Ended>,
    versions: BTreeMap<InstanceId, Version>,
}

fn begin(
    state: &State,
    links: &BTreeMap<HostName, Link>,
    requests: &LogRequests,
    service: &ServiceName,
    named: &BTreeSet<HostName>,
    version: Option<Version>,
    mut order: v1::ReadLogs,
) -> Result<Begun, Refusal> {
    if state.service(service).is_none() {
        return Err(Refusal::NoService(service.clone()));
    }
    let mut hosts = BTreeSet::new();
    for name in named {
        state.host(name)?;
        hosts.insert(name.clone());
    }
    if named.is_empty() {
        hosts.extend(state.hosts_with_instances(service));
    }
    if hosts.len() > MAX_HOSTS {
        return Err(Refusal::Invalid(format!(
            "service {service} is on {} hosts, and the logs of at most {MAX_HOSTS} are read at once: choose some with --host",
            hosts.len()
        )));
    }
    let versions = state.instances_of(service);
    if let Some(version) = version {
        let release = ReleaseRef { service: service.clone(), version };
        state.get_release(&release)?;
        let of_it = versions.iter().filter(|(_, found)| **found == release.version);
        order.instances = of_it.map(|(instance, _)| instance.to_string()).collect();
        if order.instances.is_empty() {
            return Err(Refusal::Invalid(format!("release {release} was never deployed")));
        }
    }
    let (mut sources, mut missing) = (Vec::new(), Vec::new());
    for host in hosts {
        let Some(link) = links.get(&host) else {
            missing.push(Ended { host, failed: Some("it is offline".to_owned()), notes: Vec::new() });
            continue;
        };
        let batches = requests.expect(order.request_id, &host);
        match link.logs.try_send(order.clone()) {
            Ok(()) => sources.push(Source { host, batches }),
            Err(_) => {
                let failed = Some("its session has too much to do".to_owned());
                missing.push(Ended { host, failed, notes: Vec::new() });
            }
        }
    }
    Ok(Begun { sources, missing, versions })
}

fn wire_lines(told: Lines) -> v1::Logs {
    let Lines { lines, left_out, ended } = told;
    let line = |(host, version, line): (HostName, Option<Version>, Line)| {
        let Line { instance, micros, seen, text, cut } = line;
        v1::LogLine {
            host: host.to_string(),
            instance: instance.map(|instance| instance.to_string()).unwrap_or_default(),
            version: version.map(|version| version.to_string()).unwrap_or_default(),
            time_unix_micros: micros.unwrap_or(0),
            seen,
            text,
            cut,
        }
    };
    let end = |Ended { host, failed, notes }| v1::HostLogs {
        host: HostName::to_string(&host),
        failed: Option::<String>::unwrap_or_default(failed),
        notes,
    };
    v1::Logs {
        lines: lines.into_iter().map(line).collect(),
        left_out,
        ended: ended.into_iter().map(end).collect(),
    }
}

/// Takes what an agent sends for a request that its host was asked for. Returns when nobody reads any more.
pub(super) async fn take(
    context: &Context,
    host: &HostName,
    mut parts: Streaming<v1::LogBatch>,
) -> Result<v1::SendLogsResponse, Status> {
    let first = timeout(FIRST, parts.message()).await;
    let first = first.map_err(|_| refuse(Reason::Protocol, "no request was named in time", ""))??;
    let first = first.ok_or_else(|| refuse(Reason::Protocol, "no request was named", ""))?;
    let request = first.request_id;
    let Some(out) = context.logs.answer(request, host) else {
        return Err(refuse(
            Reason::NotAuthorised,
            format!("host {host} was not asked for logs {request}"),
            "",
        ));
    };
    let mut next = Some(first);
    while let Some(part) = next {
        let batch = batch(part)?;
        tokio::select! {
            sent = out.send(batch) => if sent.is_err() { break },
            () = context.stop.cancelled() => break,
        }
        next = tokio::select! {
            next = parts.message() => next?,
            () = out.closed() => break,
            () = context.stop.cancelled() => break,
        };
    }
    Ok(v1::SendLogsResponse {})
}

fn batch(wire: v1::LogBatch) -> Result<Batch, Status> {
    let v1::LogBatch { request_id: _, lines, caught_up, failed, note } = wire;
    if lines.len() > MAX_BATCH_LINES {
        return Err(ConvertError::new(
            "lines",
            format!("has {} entries, at most {MAX_BATCH_LINES}", lines.len()),
        )
        .into());
    }
    let words = |text: String| {
        let plain: String = text.chars().filter(|c| !c.is_control()).take(MAX_NOTE).collect();
        (!plain.is_empty()).then_some(plain)
    };
    let lines: Result<Vec<Line>, Status> = lines.into_iter().map(line).collect();
    Ok(Batch { lines: lines?, caught_up, failed: words(failed), note: words(note) })
}

fn line(wire: v1::AgentLogLine) -> Result<Line, Status> {
    let v1::AgentLogLine { instance, time_unix_micros, seen, mut text, cut } = wire;
    let longer = text.len() > MAX_LINE_BYTES;
    text.truncate(MAX_LINE_BYTES);
    Ok(Line {
        instance: request::parse_optional("instance", &instance)?,
        micros: (time_unix_micros != 0).then_some(time_unix_micros),
        seen,
        text,
        cut: cut || longer,
    })
}
