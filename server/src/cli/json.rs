//! What the protocol's messages are as JSON. Times are Unix milliseconds, shares basis points.

use handover_proto::v1::{self, canary_limit::Of};
use serde_json::{Value, json};

/// A number that may be left out.
fn opt<T: Into<Value>>(value: Option<T>) -> Value {
    value.map_or(Value::Null, Into::into)
}

fn phase(instance: &v1::InstanceReport) -> String {
    phase_of(instance.phase())
}

/// A phase in a word.
pub(super) fn phase_of(phase: v1::InstancePhase) -> String {
    let name = phase.as_str_name();
    name.strip_prefix("INSTANCE_PHASE_").unwrap_or(name).to_lowercase()
}

pub(super) fn ledger(ledger: &v1::DrainLedger) -> Value {
    let v1::DrainLedger { connections, force_closed, reset, queues_millis, drain_millis, killed } = ledger;
    json!({"connections": connections, "force_closed": force_closed, "reset": reset,
           "queues_millis": queues_millis, "drain_millis": drain_millis, "killed": killed})
}

pub(super) fn instance(report: &v1::InstanceReport) -> Value {
    json!({
        "instance": report.instance, "service": report.service, "version": report.version,
        "phase": phase(report), "share": report.share, "pid": opt(report.pid), "restarts": report.restarts,
        "connections": opt(report.connections), "since": report.since_unix_millis,
        "until": opt(report.until_unix_millis), "detail": report.detail, "flip_nanos": opt(report.flip_nanos),
        "ready_millis": opt(report.ready_millis),
        "unready_probes": opt(report.unready_probes),
        "unserved": opt(report.unserved.as_ref().map(|unserved| unserved.listeners.clone())), "ledger": opt(report.ledger.as_ref().map(ledger)),
        "pin": opt(report.pin.as_ref().map(pin)),
    })
}

fn pin(pin: &v1::Pin) -> Value {
    let v1::Pin { address, first_port, last_port } = pin;
    json!({"address": address, "first_port": first_port, "last_port": last_port})
}

/// An instance that no client is sent to; `curl`: a line for each of its listeners.
pub(super) fn hidden(hidden: &v1::HiddenInstance, curl: &[String]) -> Value {
    let addresses = hidden.addresses.iter();
    json!({
        "host": hidden.host, "instance": hidden.instance, "version": hidden.version,
        "phase": phase_of(hidden.phase()), "pin": opt(hidden.pin.as_ref().map(pin)),
        "addresses": addresses.map(|a| json!({"listener": a.listener, "address": a.address})).collect::<Vec<_>>(),
        "curl": curl,
    })
}

/// How a command ended beside a hidden instance.
pub(super) fn outcome(outcome: &v1::PreviewOutcome) -> Value {
    json!({
        "host": outcome.host, "instance": outcome.instance, "version": outcome.version, "passed": outcome.passed,
        "ended": outcome.ended, "code": opt(outcome.code),
        "output": String::from_utf8_lossy(&outcome.output), "cut": outcome.cut,
    })
}

fn disk(disk: &handover_model::Disk) -> Value {
    json!({"folders": disk.folders, "path": disk.path, "free": disk.free, "total": disk.total,
           "room": super::facts::room(disk.room())})
}

fn facts(facts: &v1::HostFacts) -> Value {
    json!({
        "disk_free": facts.disk_free, "disk_total": facts.disk_total, "containment": facts.containment,
        "journald": facts.journald, "tcp_migrate_req": opt(facts.tcp_migrate_req),
        "disks": super::facts::disks(facts).iter().map(disk).collect::<Vec<_>>(),
        "unwritten": opt(facts.unwritten.as_ref().map(|unwritten| json!({
            "what": unwritten.what, "since": unwritten.since_unix_millis,
        }))),
    })
}

pub(super) fn host(host: &v1::Host) -> Value {
    json!({
        "name": host.name, "address": host.address, "labels": host.labels, "cordoned": host.cordoned,
        "online": host.online, "last_contact": host.last_contact_unix_millis,
        "agent_version": host.agent_version, "skew": host.skew, "kernel": host.kernel, "boot_id": host.boot_id,
        "enrolled": host.enrolled_unix_millis, "certificate_expires": host.certificate_expires_unix_millis,
        "certificate_issued": host.certificate_issued_unix_millis, "clock_ahead_millis": host.clock_ahead_millis,
        "facts": opt(host.facts.as_ref().map(facts)),
        "clone": opt(host.clone.as_ref().map(|alarm| json!({
            "since": alarm.since_unix_millis, "from": alarm.from, "boot_id": alarm.boot_id, "why": alarm.why,
        }))),
        "target_revision": host.target_revision, "target_refused": host.target_refused,
        "instances": host.instances.iter().map(instance).collect::<Vec<_>>(),
        "assignments": host.assignments.iter().map(|a| {
            json!({"service": a.service, "version": a.version, "outdated": a.outdated})
        }).collect::<Vec<_>>(),
    })
}

pub(super) fn release(info: &v1::ReleaseInfo) -> Value {
    let release = info.release.clone().unwrap_or_default();
    let bundle = release.bundle.unwrap_or_default();
    json!({
        "service": release.service, "version": release.version, "created": info.created_unix_millis,
        "created_by": info.created_by, "manifest": release.manifest,
        "bundle": {"digest": bundle.digest, "size": bundle.size, "tree": bundle.tree,
                   "unpacked": bundle.unpacked, "entries": bundle.entries},
    })
}

pub(super) fn plan(plan: &v1::Plan) -> Value {
    let stage = |stage: &v1::PlanStage| {
        let hosts = stage.hosts.iter().map(|h| json!({"host": h.host, "from": h.from_version}));
        json!({
            "hosts": hosts.collect::<Vec<_>>(), "share": stage.share, "bake_millis": stage.bake_millis,
            "at_once": stage.at_once, "approval": stage.approval, "returns": stage.returns,
            "judged": opt(stage.judged.as_ref().map(|judged| {
                json!({"within_millis": judged.within_millis, "inconclusive": judged.inconclusive})
            })),
            "migration": opt(stage.migration.as_ref().map(|migration| json!({
                "host": migration.host, "phase": super::migrate::phase_name(migration.phase()),
                "within_millis": migration.within_millis, "on_failure": migration.on_failure, "resolve": opt((!migration.resolve.is_empty()).then_some(migration.resolve.as_str())),
            }))),
        })
    };
    let policy = plan.policy.clone().unwrap_or_default();
    json!({
        "service": plan.service, "version": plan.version,
        "stages": plan.stages.iter().map(stage).collect::<Vec<_>>(),
        "skipped": plan.skipped.iter().map(|s| json!({"host": s.host, "reason": s.reason})).collect::<Vec<_>>(),
        "policy": {
            "max_in_flight": policy.max_in_flight, "failures_allowed": policy.failures_allowed,
            "on_failure": policy.on_failure, "offline": policy.offline,
            "offline_deadline_millis": policy.offline_deadline_millis,
            "ready_deadline_millis": policy.ready_deadline_millis,
            "flip_deadline_millis": policy.flip_deadline_millis,
            "retire_deadline_millis": policy.retire_deadline_millis,
            "keep_warm_millis": policy.keep_warm_millis, "confirm_millis": policy.confirm_millis,
        },
        "preflight": opt(plan.preflight.as_ref().map(preflight)),
    })
}

/// The points that are looked at before a release is deployed.
pub(super) fn preflight(preflight: &v1::Preflight) -> Value {
    let v1::Preflight { service, version, current_version, points } = preflight;
    let point = |point: &v1::PreflightPoint| {
        let v1::PreflightPoint { number, name, grade, evidence, advice, stops } = point;
        json!({"number": number, "name": name, "grade": grade, "evidence": evidence, "advice": advice,
               "stops": stops})
    };
    json!({"service": service, "version": version, "current": current_version,
           "points": points.iter().map(point).collect::<Vec<_>>()})
}

fn wait(wait: &v1::Wait) -> Value {
    json!({"what": wait.what, "since": wait.since_unix_millis, "until": wait.until_unix_millis, "then": wait.then})
}

pub(super) fn deployment(deployment: &v1::Deployment) -> Value {
    let host = |host: &v1::DeploymentHost| {
        json!({
            "host": host.host, "stage": host.stage, "from": host.from_version, "state": host.state,
            "online": host.online, "reason": host.reason, "waiting": opt(host.waiting.as_ref().map(wait)),
            "new_instance": opt(host.new_instance.as_ref().map(instance)),
            "old_instance": opt(host.old_instance.as_ref().map(instance)),
            "ledger": opt(host.ledger.as_ref().map(ledger)), "attempt": host.attempt,
        })
    };
    json!({
        "id": format!("d{}", deployment.id), "service": deployment.service, "version": deployment.version,
        "created_by": deployment.created_by, "created": deployment.created_unix_millis,
        "ended": deployment.ended_unix_millis, "state": super::outcome::state(deployment),
        "reason": deployment.reason, "stage": deployment.stage, "revision": deployment.revision,
        "plan": opt(deployment.plan.as_ref().map(plan)),
        "waiting": opt(deployment.waiting.as_ref().map(wait)), "answer": deployment.answer,
        "hosts": deployment.hosts.iter().map(host).collect::<Vec<_>>(),
        "canary": opt(deployment.canary.as_ref().map(canary)), "purpose": deployment.purpose,
        "rehearsal": opt(deployment.rehearsal.as_ref().map(rehearsal)),
        "flips": deployment.flip_skews.iter().map(flip_skew).collect::<Vec<_>>(),
        "migration": opt(deployment.migration.as_ref().map(|migration| json!({
            "host": migration.host, "phase": super::migrate::phase_name(migration.phase()), "doing": migration.doing,
            "rows": opt(migration.rows), "of_rows": opt(migration.of_rows),
        }))),
    })
}

/// How a service stands with its database's schema.
pub(super) fn schema(schema: &v1::Schema) -> Value {
    let release = |release: &v1::SchemaRelease| {
        json!({
            "version": release.version, "current": release.current, "rollback_target": release.rollback_target,
            "reads": release.reads, "expand": opt(release.expand), "backfill": opt(release.backfill),
            "contract": opt(release.contract),
        })
    };
    let reader = |reader: &v1::SchemaReaderInfo| {
        json!({
            "service": reader.service, "version": reader.version, "reads": reader.reads, "lost": reader.lost, "runs_on": reader.runs_on,
            "stands_by_on": reader.stands_by_on, "offline_on": reader.offline_on,
            "rollback_target": reader.rollback_target, "current": reader.current,
        })
    };
    let overtaken = schema.overtaken.as_ref().map(|backfill| {
        json!({"version": backfill.version, "by_service": backfill.by_service, "by_version": backfill.by_version})
    });
    let soak =
        schema.soak.as_ref().map(|soak| json!({"due": soak.due_unix_millis, "waits_for": soak.waits_for}));
    json!({
        "service": schema.service, "database": schema.database, "version": opt(schema.version),
        "since": schema.since_unix_millis, "by": opt((schema.by_deployment > 0).then(|| format!("d{}", schema.by_deployment))),
        "releases": schema.releases.iter().map(release).collect::<Vec<_>>(),
        "readers": schema.readers.iter().map(reader).collect::<Vec<_>>(), "no_return": schema.no_return, "soak": soak, "overtaken": overtaken,
    })
}

fn flip_skew(skew: &v1::FlipSkew) -> Value {
    let v1::FlipSkew { stage, hosts, first_to_last_nanos, give_or_take_nanos } = skew;
    json!({"stage": stage, "hosts": hosts, "first_to_last_nanos": first_to_last_nanos,
           "give_or_take_nanos": give_or_take_nanos})
}

/// What a rehearsal showed.
pub(super) fn rehearsal(rehearsal: &v1::Rehearsal) -> Value {
    let flip = |flip: &v1::RehearsedFlip| {
        json!({"ordered": flip.ordered_unix_millis, "reported_millis": opt(flip.reported_millis),
               "nanos": opt(flip.nanos)})
    };
    json!({
        "deployment": format!("d{}", rehearsal.deployment), "service": rehearsal.service, "host": rehearsal.host,
        "from": rehearsal.from_version, "to": rehearsal.to_version, "by": rehearsal.by,
        "began": rehearsal.began_unix_millis, "ended": rehearsal.ended_unix_millis,
        "succeeded": rehearsal.succeeded, "reason": rehearsal.reason,
        "forward": opt(rehearsal.forward.as_ref().map(flip)), "back": opt(rehearsal.back.as_ref().map(flip)),
        "ledger": opt(rehearsal.ledger.as_ref().map(ledger)),
        "requests": opt(rehearsal.requests), "bad": opt(rehearsal.bad),
    })
}

/// A canary as it stands; the evidence as natural logarithms.
fn canary(canary: &v1::Canary) -> Value {
    let metric = |metric: &v1::CanaryMetric| {
        json!({
            "name": metric.name, "slower_than_seconds": metric.slower_than_seconds,
            "canary_requests": metric.canary_requests, "canary_bad": metric.canary_bad,
            "baseline_requests": metric.baseline_requests, "baseline_bad": metric.baseline_bad,
            "ln_e": metric.ln_e, "ln_fails_at": metric.ln_fails_at, "ln_promotion": metric.ln_promotion,
            "ln_passes_at": metric.ln_passes_at, "skipped_blocks": metric.skipped_blocks,
        })
    };
    let block = |block: &v1::CanaryBlock| {
        json!({
            "ended": block.ended_unix_millis,
            "canary_requests": block.canary_requests, "canary_bad": block.canary_bad,
            "baseline_requests": block.baseline_requests, "baseline_bad": block.baseline_bad,
        })
    };
    let limit = |limit: &v1::CanaryLimit| match &limit.of {
        Some(Of::Requests(requests)) => json!({
            "name": limit.name, "slower_than_seconds": requests.slower_than_seconds, "most": requests.most,
            "at_least": requests.at_least,
            "canary_requests": requests.canary_requests, "canary_bad": requests.canary_bad,
            "baseline_requests": requests.baseline_requests, "baseline_bad": requests.baseline_bad,
        }),
        Some(Of::Use(used)) => json!({
            "name": limit.name, "most": used.most, "blocks": used.blocks, "above": used.above,
            "host": used.host, "canary": (!used.host.is_empty()).then_some(used.canary),
            "baseline": used.baseline,
        }),
        Some(Of::Ends(ends)) => json!({
            "name": limit.name, "most": ends.most, "at_least": ends.at_least,
            "canary_ended": ends.canary_ended, "canary_reset": ends.canary_reset,
            "baseline_ended": ends.baseline_ended, "baseline_reset": ends.baseline_reset,
        }),
        None => json!({"name": limit.name}),
    };
    json!({
        "stage": canary.stage, "verdict": canary.verdict, "says": canary.says, "silent": canary.silent,
        "asked_share": canary.asked_share, "canary_connections": canary.canary_connections,
        "baseline_connections": canary.baseline_connections, "next": canary.next_unix_millis,
        "prometheus": canary.prometheus, "prometheus_since": canary.prometheus_since_unix_millis,
        "metrics": canary.metrics.iter().map(metric).collect::<Vec<_>>(),
        "blocks": canary.blocks.iter().map(block).collect::<Vec<_>>(),
        "limits": canary.limits.iter().map(limit).collect::<Vec<_>>(),
    })
}

/// A lock.
pub(super) fn lock(lock: &v1::Lock) -> Value {
    json!({
        "owner": lock.owner, "reason": lock.reason, "since": lock.since_unix_millis,
        "until": lock.until_unix_millis, "taken_from": lock.taken_from, "taken_reason": lock.taken_reason,
    })
}

/// Whether a freeze is of a service, or of all.
pub(super) fn concerns(freeze: &v1::Freeze, service: &str) -> bool {
    freeze.service.is_empty() || freeze.service == service
}

/// A freeze.
pub(super) fn freeze(freeze: &v1::Freeze) -> Value {
    json!({
        "number": freeze.number, "service": freeze.service, "by": freeze.by, "reason": freeze.reason,
        "since": freeze.since_unix_millis, "from": freeze.from_unix_millis, "until": freeze.until_unix_millis,
    })
}

pub(super) fn lock_answer(answer: &v1::LockResponse) -> Value {
    json!({"answer": answer.answer, "lock": opt(answer.lock.as_ref().map(lock))})
}

/// A line of a deployment's story; the record in it is the journal's own.
pub(super) fn story_line(line: &v1::StoryLine) -> Value {
    let record: Value = serde_json::from_str(&line.record).unwrap_or(Value::Null);
    json!({
        "sequence": line.sequence, "at": line.at_unix_millis, "stage": line.stage, "kind": line.kind,
        "host": line.host, "text": line.text, "record": record,
    })
}

/// A service, with its deployment that goes on as it stands: what it and each host wait for.
pub(super) fn service(
    service: &v1::Service,
    course: Option<&v1::Deployment>,
    fleet: &v1::ListServicesResponse,
) -> Value {
    let host = |host: &v1::ServiceHost| {
        json!({
            "host": host.host, "online": host.online, "cordoned": host.cordoned, "version": host.version,
            "last_contact": host.last_contact_unix_millis,
            "instances": host.instances.iter().map(instance).collect::<Vec<_>>(),
        })
    };
    json!({
        "service": service.name, "version": service.version, "previous_version": service.previous_version,
        "no_rollback": service.no_rollback, "no_return": service.no_return, "deployment": opt(service.deployment.map(|id| format!("d{id}"))),
        "course": opt(course.map(deployment)), "lock": opt(service.lock.as_ref().map(lock)),
        "last_rehearsal": opt(service.last_rehearsal.as_ref().map(rehearsal)),
        "fleet_lock": opt(fleet.lock.as_ref().map(lock)),
        "freezes": fleet.freezes.iter().filter(|freeze| concerns(freeze, &service.name)).map(freeze).collect::<Vec<_>>(),
        "hosts": service.hosts.iter().map(host).collect::<Vec<_>>(),
    })
}

pub(super) fn operator(operator: &v1::Operator) -> Value {
    let certificate = |certificate: &v1::OperatorCertificate| {
        json!({"serial": certificate.serial, "issued": certificate.issued_unix_millis,
               "expires": certificate.expires_unix_millis})
    };
    let revoked = operator
        .revoked
        .as_ref()
        .map(|revoked| json!({"at": revoked.at_unix_millis, "by": revoked.by, "reason": revoked.reason}));
    json!({
        "operator": operator.name, "role": super::operator::role(operator.role()), "services": operator.services,
        "created": operator.created_unix_millis, "created_by": operator.created_by,
        "certificates": operator.certificates.iter().map(certificate).collect::<Vec<_>>(),
        "revoked": opt(revoked),
    })
}

pub(super) fn audit_entry(entry: &v1::AuditEntry) -> Value {
    json!({
        "sequence": entry.sequence, "at": entry.at_unix_millis, "who": entry.who, "role": entry.role,
        "credential": entry.credential, "from": entry.from, "method": entry.method, "service": entry.service,
        "resource": entry.resource, "outcome": entry.outcome, "detail": entry.detail, "reason": entry.reason,
        "request_id": entry.request_id, "count": entry.count, "previous_hash": entry.previous_hash,
        "hash": entry.hash,
    })
}
