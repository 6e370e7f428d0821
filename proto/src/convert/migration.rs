//! Migrations: what a host should apply, and how far it is.

use super::{ConvertError, MAX_DETAIL_CHARS, MAX_SERVICES, bounded, parse, plain};
use crate::v1;
use handover_model::{
    DeploymentId, MAX_READERS, MigrationId, MigrationState, MigrationTarget, Release, ReleaseRef,
    SchemaPhase, SchemaReader, SchemaVersion, ServiceName,
};
use std::collections::BTreeMap;

/// Longest name of code that a migration is held against, in characters.
const MAX_WHO: usize = 500;

/// The migrations of a target, one for each service.
pub(super) fn targets(
    wire: Vec<v1::MigrationTarget>,
    releases: &BTreeMap<ReleaseRef, Release>,
) -> Result<BTreeMap<ServiceName, MigrationTarget>, ConvertError> {
    bounded("migrations", &wire, MAX_SERVICES)?;
    let mut migrations = BTreeMap::new();
    for (at, migration) in wire.into_iter().enumerate() {
        let inside = |error: ConvertError| error.inside(format_args!("migrations[{at}]"));
        let (service, migration) = target(migration, releases).map_err(inside)?;
        if migrations.contains_key(&service) {
            return Err(inside(ConvertError::new("service", format!("{service} is named twice"))));
        }
        migrations.insert(service, migration);
    }
    Ok(migrations)
}

fn target(
    wire: v1::MigrationTarget,
    releases: &BTreeMap<ReleaseRef, Release>,
) -> Result<(ServiceName, MigrationTarget), ConvertError> {
    let v1::MigrationTarget { id, service, version, phase, readers, paused, resolve } = wire;
    let service: ServiceName = parse("service", &service)?;
    let name = ReleaseRef { service: service.clone(), version: parse("version", &version)? };
    let release = releases
        .get(&name)
        .ok_or_else(|| ConvertError::new("version", format!("{name} is not among the target's releases")))?;
    bounded("readers", &readers, MAX_READERS)?;
    let reader = |v1::SchemaReader { who, reads }: v1::SchemaReader| {
        Ok(SchemaReader { who: plain(&who, MAX_WHO), reads: parse("reads", &reads)? })
    };
    let migration = MigrationTarget {
        id: required(id)?,
        release: release.clone(),
        phase: v1::SchemaPhase::try_from(phase)
            .map_err(|_| ConvertError::new("phase", format!("{phase} is no phase that this version knows")))?
            .try_into()?,
        readers: readers.into_iter().map(reader).collect::<Result<_, ConvertError>>()?,
        resolve: match resolve.as_str() {
            "" => None,
            text => Some(parse("resolve", text)?),
        },
        paused,
    };
    Ok((service, migration))
}

impl From<(&ServiceName, &MigrationTarget)> for v1::MigrationTarget {
    fn from((service, target): (&ServiceName, &MigrationTarget)) -> Self {
        let MigrationTarget { id, release, phase, readers, resolve, paused } = target;
        let reader = |reader: &SchemaReader| v1::SchemaReader {
            who: plain(&reader.who, MAX_WHO),
            reads: reader.reads.to_string(),
        };
        Self {
            id: Some((*id).into()),
            service: service.to_string(),
            version: release.name.version.to_string(),
            phase: v1::SchemaPhase::from(*phase).into(),
            readers: readers.iter().map(reader).collect(),
            paused: *paused,
            resolve: resolve.map(|resolve| resolve.to_string()).unwrap_or_default(),
        }
    }
}

/// Where migrations are, each named once.
pub(super) fn reports(
    wire: Vec<v1::MigrationReport>,
) -> Result<BTreeMap<MigrationId, MigrationState>, ConvertError> {
    bounded("migrations", &wire, MAX_SERVICES)?;
    let mut reports = BTreeMap::new();
    for (at, report) in wire.into_iter().enumerate() {
        let inside = |error: ConvertError| error.inside(format_args!("migrations[{at}]"));
        let v1::MigrationReport { id, state } = report;
        let id = required(id).map_err(inside)?;
        let state = state.ok_or_else(|| inside(ConvertError::new("state", "is missing")))?;
        if reports.insert(id, state.into()).is_some() {
            return Err(inside(ConvertError::new("id", format!("{id} is named twice"))));
        }
    }
    Ok(reports)
}

impl From<(&MigrationId, &MigrationState)> for v1::MigrationReport {
    fn from((id, state): (&MigrationId, &MigrationState)) -> Self {
        Self { id: Some((*id).into()), state: Some(state.into()) }
    }
}

impl From<v1::migration_report::State> for MigrationState {
    /// Texts that are too long are cut; control characters in them, other than line breaks, are replaced.
    fn from(wire: v1::migration_report::State) -> Self {
        match wire {
            v1::migration_report::State::Running(v1::MigrationRunning { doing, rows, of_rows }) => {
                let rows = rows.map(|rows| (rows, of_rows));
                Self::Running { doing: plain(&doing, MAX_DETAIL_CHARS), rows }
            }
            v1::migration_report::State::Done(version) => Self::Done { version: SchemaVersion::new(version) },
            v1::migration_report::State::Failed(reason) => {
                Self::Failed { reason: plain(&reason, MAX_DETAIL_CHARS) }
            }
        }
    }
}

impl From<&MigrationState> for v1::migration_report::State {
    fn from(state: &MigrationState) -> Self {
        match state {
            MigrationState::Running { doing, rows } => Self::Running(v1::MigrationRunning {
                doing: plain(doing, MAX_DETAIL_CHARS),
                rows: rows.map(|(rows, _)| rows),
                of_rows: rows.and_then(|(_, of)| of),
            }),
            MigrationState::Done { version } => Self::Done(version.number()),
            MigrationState::Failed { reason } => Self::Failed(plain(reason, MAX_DETAIL_CHARS)),
        }
    }
}

fn required(wire: Option<v1::MigrationId>) -> Result<MigrationId, ConvertError> {
    wire.map(MigrationId::from).ok_or_else(|| ConvertError::new("id", "is missing"))
}

impl From<v1::MigrationId> for MigrationId {
    fn from(wire: v1::MigrationId) -> Self {
        let v1::MigrationId { deployment, stage, attempt } = wire;
        Self { deployment: DeploymentId::new(deployment), stage, attempt }
    }
}

impl From<MigrationId> for v1::MigrationId {
    fn from(id: MigrationId) -> Self {
        let MigrationId { deployment, stage, attempt } = id;
        Self { deployment: deployment.number(), stage, attempt }
    }
}

impl TryFrom<v1::SchemaPhase> for SchemaPhase {
    type Error = ConvertError;

    fn try_from(wire: v1::SchemaPhase) -> Result<Self, ConvertError> {
        Ok(match wire {
            v1::SchemaPhase::Unspecified => return Err(ConvertError::new("phase", "is not set")),
            v1::SchemaPhase::Expand => Self::Expand,
            v1::SchemaPhase::Backfill => Self::Backfill,
            v1::SchemaPhase::Contract => Self::Contract,
        })
    }
}

impl From<SchemaPhase> for v1::SchemaPhase {
    fn from(phase: SchemaPhase) -> Self {
        match phase {
            SchemaPhase::Expand => Self::Expand,
            SchemaPhase::Backfill => Self::Backfill,
            SchemaPhase::Contract => Self::Contract,
        }
    }
}
