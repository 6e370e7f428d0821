//! What a deployment's records tell: in the log, and to people who watch events.

use crate::events::{self, EventKind};
use handover_model::{DeploymentId, HostName, ReleaseRef, Timestamp};
use handover_rollout::{Deployment, Record};
use tracing::Span;

/// What every line that a deployment's step writes carries; the host where the step is about one.
pub(super) fn span(id: DeploymentId, engine: &Deployment, host: Option<&HostName>) -> Span {
    let service = engine.service();
    match host {
        Some(host) => tracing::info_span!("deployment", deployment = %id, %service, %host),
        None => tracing::info_span!("deployment", deployment = %id, %service),
    }
}

/// A step of a deployment, in the log.
pub(super) fn tell(id: DeploymentId, engine: &Deployment, record: &Record) {
    let of_host = |host: &HostName| span(id, engine, Some(host));
    match record {
        Record::HostMoved { host, to, .. } => {
            of_host(host).in_scope(|| tracing::info!(state = to.name(), "host moves"));
        }
        Record::HostFailed { host, reason, .. } => {
            of_host(host).in_scope(|| tracing::warn!(reason, "host failed"));
        }
        Record::StageEntered { stage, .. } => tracing::info!(stage, "stage begins"),
        Record::Paused { reason, .. } => tracing::warn!(reason, "deployment paused"),
        Record::PausedBy { by, reason, .. } => tracing::info!(by, reason, "deployment paused"),
        Record::Resumed { by, .. } => tracing::info!(by, "deployment resumed"),
        Record::JudgementHeld { verdict, .. } => tracing::warn!(verdict, "the judge came to no verdict"),
        Record::Promoted { by, .. } => tracing::info!(by, "deployment promoted"),
        Record::Migrated { phase, version, .. } => tracing::info!(%phase, %version, "migrations applied"),
        Record::HostRetried { host, by, .. } => {
            of_host(host).in_scope(|| tracing::info!(by, "host gets another attempt"));
        }
        Record::RollbackStarted { reason, .. } => tracing::warn!(reason, "rollback begins"),
        Record::FlipsMeasured { skew, .. } => tracing::info!(%skew, "flips"),
        Record::Created { .. }
        | Record::Planned { .. }
        | Record::LeftOut { .. }
        | Record::Started { .. }
        | Record::BakeStarted { .. }
        | Record::BakePassed { .. }
        | Record::JudgementPassed { .. }
        | Record::MigrationStarted { .. }
        | Record::DeadlinesLifted { .. }
        | Record::Ended { .. } => {}
    }
}

/// What a record tells people who watch; its end is told by the deployment's own record.
pub(super) fn event_of(id: DeploymentId, release: &ReleaseRef, record: &Record) -> Option<events::Event> {
    let event = |kind, at: &Timestamp| events::Event::new(kind, *at).deployment(id).release(release);
    match record {
        Record::Created { by, at, .. } => Some(event(EventKind::DeploymentCreated, at).by(by)),
        Record::StageEntered { stage, at } => {
            Some(event(EventKind::StageEntered, at).text(&format!("stage {stage}")))
        }
        Record::HostFailed { host, reason, at } => {
            Some(event(EventKind::HostFailed, at).host(host).text(reason))
        }
        Record::Paused { reason, at } => Some(event(EventKind::DeploymentPaused, at).text(reason)),
        Record::PausedBy { by, reason, at } => {
            Some(event(EventKind::DeploymentPaused, at).by(by).text(reason))
        }
        Record::Resumed { by, at } => Some(event(EventKind::DeploymentResumed, at).by(by)),
        Record::JudgementHeld { verdict, at } => Some(event(EventKind::DeploymentHeld, at).text(verdict)),
        Record::Migrated { phase, version, at } => {
            let text = format!("{phase}: the schema is at {version}");
            Some(event(EventKind::SchemaMigrated, at).text(&text))
        }
        Record::Promoted { by, at } => Some(event(EventKind::DeploymentPromoted, at).by(by)),
        Record::HostRetried { host, by, at } => Some(event(EventKind::HostRetried, at).host(host).by(by)),
        Record::RollbackStarted { reason, at } => Some(event(EventKind::RollbackStarted, at).text(reason)),
        Record::Planned { .. }
        | Record::LeftOut { .. }
        | Record::Started { .. }
        | Record::BakeStarted { .. }
        | Record::FlipsMeasured { .. }
        | Record::BakePassed { .. }
        | Record::JudgementPassed { .. }
        | Record::MigrationStarted { .. }
        | Record::HostMoved { .. }
        | Record::DeadlinesLifted { .. }
        | Record::Ended { .. } => None,
    }
}
