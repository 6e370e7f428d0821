//! The fleet's state as the protocol shows it.

use super::rehearsals;
use crate::{
    audit::{Deed, Entry, Head, Sealed},
    fleet::{
        CertificateRecord, DeploymentRecord, Ending, FreezeRecord, Host, Live, LockRecord, LockScope,
        OperatorRecord, Purpose, Role, State, StoredRelease,
    },
};
use handover_identity::OperatorName;
use handover_model::{
    DeploymentId, HostName, InstanceId, InstanceReport, MigrationState, ReleaseRef, ServiceName, Timestamp,
};
use handover_proto::v1;
use handover_rollout::{
    Deployment, DeploymentState, HostView, Inconclusive, OfflinePolicy, OnFailure, Outcome, Plan, Policy,
    Skew, StagePhase, WaitingOn,
};
use std::time::Duration;

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A host, with what is there of the services that `sees` says yes to.
pub(super) fn host(
    state: &State,
    name: &HostName,
    host: &Host,
    sees: impl Fn(&ServiceName) -> bool,
) -> v1::Host {
    let record = &host.record;
    // Of two that it may come with, the newer one: that is the one that the agent has, or gets again.
    let (issued, expires) =
        record.renewed.as_ref().map_or((record.certificate_issued, record.certificate_expires), |renewed| {
            (renewed.issued, renewed.expires)
        });
    v1::Host {
        name: name.to_string(),
        address: record.address.clone(),
        labels: record.labels.clone().into_iter().collect(),
        cordoned: record.cordoned,
        online: host.online.is_some(),
        last_contact_unix_millis: host.last_contact.unix_millis(),
        agent_version: record.agent_version.clone(),
        skew: host.online.as_ref().map(|online| online.skew.clone()).unwrap_or_default(),
        kernel: record.kernel.clone(),
        boot_id: record.boot_id.clone(),
        enrolled_unix_millis: record.enrolled.unix_millis(),
        certificate_issued_unix_millis: issued.unix_millis(),
        certificate_expires_unix_millis: expires.unix_millis(),
        target_revision: record.revision,
        instances: host
            .report
            .iter()
            .flat_map(|report| &report.instances)
            .filter(|(_, instance)| sees(&instance.service))
            .map(Into::into)
            .collect(),
        target_refused: host.target_refused.clone(),
        assignments: assignments(state, host, sees),
        facts: host.facts.as_ref().map(|(facts, _)| facts.into()),
        clock_ahead_millis: host.facts.as_ref().map_or(0, |(_, ahead)| *ahead),
        clone: record.clone.as_ref().map(|alarm| v1::CloneAlarm {
            since_unix_millis: alarm.since.unix_millis(),
            from: alarm.from.clone(),
            boot_id: alarm.boot_id.clone(),
            why: alarm.why.clone(),
        }),
    }
}

fn assignments(state: &State, host: &Host, sees: impl Fn(&ServiceName) -> bool) -> Vec<v1::HostAssignment> {
    let one = |(service, record): (&ServiceName, &crate::fleet::AssignmentRecord)| {
        let version = record.assignment.main()?.release.version.clone();
        let current = state.service(service).and_then(|service| service.current.as_ref());
        let outdated =
            current.filter(|current| **current != version).map(ToString::to_string).unwrap_or_default();
        Some(v1::HostAssignment { service: service.to_string(), version: version.to_string(), outdated })
    };
    host.assignments.iter().filter(|(service, _)| sees(service)).filter_map(one).collect()
}

/// A release; without its manifest in lists.
pub(super) fn release(stored: &StoredRelease, with_manifest: bool) -> v1::ReleaseInfo {
    let mut release = v1::Release::from(&stored.release);
    if !with_manifest {
        release.manifest.clear();
    }
    v1::ReleaseInfo {
        release: Some(release),
        created_unix_millis: stored.record.created.unix_millis(),
        created_by: stored.record.created_by.clone(),
    }
}

/// The services, of one name or all, that `sees` says yes to.
pub(super) fn services(
    state: &State,
    only: Option<&ServiceName>,
    sees: impl Fn(&ServiceName) -> bool,
    now: Timestamp,
) -> v1::ListServicesResponse {
    let lock_on = |scope: LockScope| state.lock_on(&scope, now).map(lock);
    let chosen = state.services().filter(|(name, _)| only.is_none_or(|only| only == *name) && sees(name));
    let rehearsals = state.last_rehearsals();
    let services = chosen.map(|(name, record)| v1::Service {
        name: name.to_string(),
        version: record.current.as_ref().map(ToString::to_string).unwrap_or_default(),
        previous_version: record.history.last().map(ToString::to_string).unwrap_or_default(),
        no_rollback: state.no_rollback(name).unwrap_or_default(),
        no_return: state.no_return(name, now).unwrap_or_default(),
        deployment: state.active_deployment(name).map(DeploymentId::number),
        hosts: state.hosts_of(name).map(|(host_name, host)| service_host(name, host_name, host)).collect(),
        lock: lock_on(LockScope::Service(name.clone())),
        last_rehearsal: rehearsals.get(name).map(|(id, record)| rehearsals::view(*id, record)),
    });
    let frozen = |freeze: &FreezeRecord| match &freeze.service {
        None => true,
        Some(service) => only.is_none_or(|only| only == service) && sees(service),
    };
    let freezes = state.freezes(now).filter(|(_, record)| frozen(record));
    v1::ListServicesResponse {
        services: services.collect(),
        revision: 0,
        lock: lock_on(LockScope::Fleet),
        freezes: freezes.map(|(number, record)| freeze(number, record)).collect(),
    }
}

/// A freeze, as it is shown.
pub(super) fn freeze(number: u64, freeze: &FreezeRecord) -> v1::Freeze {
    let FreezeRecord { service, by, reason, since, from, until } = freeze.clone();
    v1::Freeze {
        number,
        service: service.map(|service| service.to_string()).unwrap_or_default(),
        by,
        reason,
        since_unix_millis: since.unix_millis(),
        from_unix_millis: from.unix_millis(),
        until_unix_millis: until.map_or(0, Timestamp::unix_millis),
    }
}

/// A lock, as it is shown.
pub(super) fn lock(lock: &LockRecord) -> v1::Lock {
    let LockRecord { owner, reason, since, until, taken_from } = lock.clone();
    let (taken_from, taken_reason) = taken_from.map(|from| (from.owner, from.reason)).unwrap_or_default();
    v1::Lock {
        owner,
        reason,
        since_unix_millis: since.unix_millis(),
        until_unix_millis: until.unix_millis(),
        taken_from,
        taken_reason,
    }
}

fn service_host(service: &ServiceName, name: &HostName, host: &Host) -> v1::ServiceHost {
    let main = host.assignments.get(service).and_then(|record| record.assignment.main());
    let instances = host.report.iter().flat_map(|report| &report.instances);
    v1::ServiceHost {
        host: name.to_string(),
        online: host.online.is_some(),
        cordoned: host.record.cordoned,
        version: main.map(|main| main.release.version.to_string()).unwrap_or_default(),
        instances: instances.filter(|(_, instance)| instance.service == *service).map(Into::into).collect(),
        last_contact_unix_millis: host.last_contact.unix_millis(),
    }
}

pub(super) fn plan(plan: &Plan) -> v1::Plan {
    let stage = |stage: &handover_rollout::Stage| v1::PlanStage {
        hosts: stage
            .hosts
            .iter()
            .map(|planned| v1::PlanHost {
                host: planned.host.to_string(),
                from_version: planned
                    .from
                    .as_ref()
                    .map(|from| from.release.version.to_string())
                    .unwrap_or_default(),
            })
            .collect(),
        share: u32::from(stage.share.basis_points()),
        bake_millis: millis(stage.bake),
        at_once: stage.at_once,
        approval: stage.approval,
        returns: stage.returns,
        judged: stage.judged.map(|judged| v1::PlanJudged {
            within_millis: millis(judged.within),
            inconclusive: match judged.inconclusive {
                Inconclusive::Hold => "hold",
                Inconclusive::RollBack => "rollback",
                Inconclusive::GoOn => "go-on",
            }
            .to_owned(),
        }),
        migration: stage.migration.as_ref().map(|migration| v1::PlanMigration {
            host: migration.host.to_string(),
            phase: v1::SchemaPhase::from(migration.phase).into(),
            within_millis: millis(migration.within),
            on_failure: on_failure(migration.on_failure).to_owned(),
            resolve: migration.resolve.map(|found| found.to_string()).unwrap_or_default(),
        }),
    };
    v1::Plan {
        service: plan.service.to_string(),
        version: plan.release.version.to_string(),
        stages: plan.stages.iter().map(stage).collect(),
        policy: Some(policy(&plan.policy)),
        skipped: plan
            .skipped
            .iter()
            .map(|(host, reason)| v1::PlanSkip { host: host.to_string(), reason: reason.clone() })
            .collect(),
        preflight: None,
    }
}

fn policy(policy: &Policy) -> v1::PlanPolicy {
    let (offline, deadline) = match policy.offline {
        OfflinePolicy::Wait { deadline } => ("wait", deadline),
        OfflinePolicy::Skip => ("skip", Duration::ZERO),
        OfflinePolicy::Fail => ("fail", Duration::ZERO),
    };
    v1::PlanPolicy {
        max_in_flight: policy.max_in_flight,
        failures_allowed: policy.failures_allowed,
        on_failure: on_failure(policy.on_failure).to_owned(),
        offline: offline.to_owned(),
        offline_deadline_millis: millis(deadline),
        ready_deadline_millis: millis(policy.ready_deadline),
        flip_deadline_millis: millis(policy.flip_deadline),
        retire_deadline_millis: millis(policy.retire_deadline),
        keep_warm_millis: millis(policy.keep_warm),
        confirm_millis: millis(policy.confirm),
    }
}

const fn on_failure(on_failure: OnFailure) -> &'static str {
    match on_failure {
        OnFailure::RollBack => "rollback",
        OnFailure::Pause => "pause",
    }
}

/// A deployment as a line of the history.
pub(super) fn summary(id: DeploymentId, record: &DeploymentRecord, live: Option<&Live>) -> v1::Deployment {
    let state = match (record.ended, live) {
        (Some((_, Ending::Succeeded)), _) => v1::DeploymentState::Succeeded,
        (Some((_, Ending::RolledBack)), _) => v1::DeploymentState::RolledBack,
        (Some((_, Ending::NeedsPerson)), _) => v1::DeploymentState::NeedsPerson,
        (None, Some(live)) => deployment_state(live.engine.state()),
        (None, None) => v1::DeploymentState::Running,
    };
    v1::Deployment {
        id: id.number(),
        service: record.release.service.to_string(),
        version: record.release.version.to_string(),
        created_by: record.created_by.clone(),
        created_unix_millis: record.created.unix_millis(),
        ended_unix_millis: record.ended.map_or(0, |(at, _)| at.unix_millis()),
        state: state.into(),
        reason: live.map_or_else(|| record.reason.clone(), |live| live.engine.reason().to_owned()),
        stage: live.map_or(0, |live| live.engine.stage()),
        waiting: live.and_then(|live| live.engine.waiting_on()).map(wait),
        revision: live.map_or(0, |live| live.revision),
        plan: None,
        hosts: Vec::new(),
        answer: String::new(),
        canary: None,
        purpose: purpose(record.purpose).to_owned(),
        rehearsal: None,
        flip_skews: live.into_iter().flat_map(|live| live.engine.skews()).map(flip_skew).collect(),
        migration: live.and_then(|live| migration(&live.engine)),
    }
}

/// A deployment with its plan and all its hosts.
pub(super) fn deployment(id: DeploymentId, record: &DeploymentRecord, live: &Live) -> v1::Deployment {
    v1::Deployment {
        plan: Some(plan(live.engine.plan())),
        hosts: live.engine.hosts().map(|view| deployment_host(&view)).collect(),
        ..summary(id, record, Some(live))
    }
}

/// A deployment that is only in the journal.
pub(super) fn deployment_from_journal(
    id: DeploymentId,
    record: &DeploymentRecord,
    engine: Deployment,
) -> v1::Deployment {
    let revision = record.ended.map_or(0, |(at, _)| at.unix_millis());
    deployment(id, record, &Live { engine, sequence: record.records, revision })
}

/// How far migrations are that go on.
fn migration(engine: &Deployment) -> Option<v1::MigrationProgress> {
    let order = engine.migration_order()?;
    let (doing, rows) = match engine.migration_state() {
        Some(MigrationState::Running { doing, rows }) => (doing.clone(), *rows),
        Some(MigrationState::Done { .. } | MigrationState::Failed { .. }) | None => (String::new(), None),
    };
    Some(v1::MigrationProgress {
        host: order.host.to_string(),
        phase: v1::SchemaPhase::from(order.phase).into(),
        doing,
        rows: rows.map(|(rows, _)| rows),
        of_rows: rows.and_then(|(_, of)| of),
    })
}

const fn purpose(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Release => "release",
        Purpose::NamedHosts => "hosts",
        Purpose::Rollback => "rollback",
        Purpose::CatchUp => "catch-up",
        Purpose::Rehearsal => "rehearsal",
        Purpose::Migration => "migration",
    }
}

fn deployment_state(state: &DeploymentState) -> v1::DeploymentState {
    match state {
        DeploymentState::Running { phase: StagePhase::Approving { .. }, .. } => {
            v1::DeploymentState::WaitsForPromotion
        }
        DeploymentState::Planning | DeploymentState::Running { .. } => v1::DeploymentState::Running,
        DeploymentState::Paused { .. } => v1::DeploymentState::Paused,
        DeploymentState::RollingBack { .. } => v1::DeploymentState::RollingBack,
        DeploymentState::Ended { outcome, .. } => match outcome {
            Outcome::Succeeded { .. } | Outcome::Returned { .. } => v1::DeploymentState::Succeeded,
            Outcome::RolledBack { .. } => v1::DeploymentState::RolledBack,
            Outcome::NeedsPerson { .. } => v1::DeploymentState::NeedsPerson,
        },
    }
}

fn flip_skew((stage, skew): (u32, Skew)) -> v1::FlipSkew {
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let Skew { hosts, first_to_last, give_or_take } = skew;
    v1::FlipSkew {
        stage,
        hosts,
        first_to_last_nanos: nanos(first_to_last),
        give_or_take_nanos: nanos(give_or_take),
    }
}

fn deployment_host(view: &HostView<'_>) -> v1::DeploymentHost {
    let instance = |seen: Option<(&InstanceId, &InstanceReport)>| seen.map(v1::InstanceReport::from);
    let version = |release: &ReleaseRef| release.version.to_string();
    v1::DeploymentHost {
        host: view.host.to_string(),
        stage: view.stage,
        from_version: view.from.map(|from| version(&from.release)).unwrap_or_default(),
        state: view.state.name().to_owned(),
        waiting: view.waiting.clone().map(wait),
        reason: view.failure.unwrap_or_else(|| view.state.reason()).to_owned(),
        // Unknown is not offline: a deployment begins with the hosts that are, and is told of each change.
        online: view.online.unwrap_or(true),
        new_instance: instance(view.new_instance),
        old_instance: instance(view.old_instance),
        ledger: view.state.ledger().map(Into::into),
        attempt: view.attempt,
    }
}

fn wait(waiting: WaitingOn) -> v1::Wait {
    let WaitingOn { what, since, until, then } = waiting;
    v1::Wait {
        what,
        since_unix_millis: since.unix_millis(),
        until_unix_millis: until.map_or(0, Timestamp::unix_millis),
        then,
    }
}

/// An operator.
pub(super) fn operator(name: &OperatorName, record: &OperatorRecord) -> v1::Operator {
    let OperatorRecord { grant, created, created_by, certificates, revoked } = record;
    let certificate = |certificate: &CertificateRecord| v1::OperatorCertificate {
        serial: certificate.serial.clone(),
        issued_unix_millis: certificate.issued.unix_millis(),
        expires_unix_millis: certificate.expires.unix_millis(),
    };
    let role = match grant.role {
        Role::Viewer => v1::OperatorRole::Viewer,
        Role::Deployer => v1::OperatorRole::Deployer,
        Role::Admin => v1::OperatorRole::Admin,
    };
    v1::Operator {
        name: name.to_string(),
        role: role.into(),
        services: grant.services.iter().map(ToString::to_string).collect(),
        created_unix_millis: created.unix_millis(),
        created_by: created_by.clone(),
        certificates: certificates.iter().map(certificate).collect(),
        revoked: revoked.as_ref().map(|revoked| v1::OperatorRevocation {
            at_unix_millis: revoked.at.unix_millis(),
            by: revoked.by.clone(),
            reason: revoked.reason.clone(),
        }),
    }
}

/// An entry of the audit.
pub(super) fn audit_entry(sealed: Sealed) -> v1::AuditEntry {
    let Sealed { entry: Entry { sequence, at, previous, deed }, hash } = sealed;
    let Deed {
        who,
        role,
        credential,
        from,
        method,
        service,
        resource,
        outcome,
        detail,
        reason,
        request,
        count,
    } = deed;
    v1::AuditEntry {
        sequence,
        at_unix_millis: at.unix_millis(),
        who,
        role,
        credential,
        from,
        method,
        service,
        resource,
        outcome,
        detail,
        reason,
        request_id: request,
        count,
        previous_hash: previous.hex(),
        hash: hash.hex(),
    }
}

/// The end of the audit's chain.
pub(super) fn audit_head(head: Head) -> v1::AuditHead {
    v1::AuditHead { sequence: head.sequence, hash: head.hash.hex() }
}
