//! Reports of hosts and instances.

use super::{ConvertError, MAX_DETAIL_CHARS, MAX_INSTANCES, MAX_SERVICES, bounded, migration, parse, plain};
use crate::v1;
use handover_model::{
    DrainLedger, HostReport, InstanceId, InstancePhase, InstanceReport, PinSource, Readings, ReleaseRef,
    ServiceName, Share, Timestamp,
    config::{ListenerName, MAX_LISTENERS},
};
use std::collections::{BTreeMap, BTreeSet};

impl TryFrom<v1::HostReport> for HostReport {
    type Error = ConvertError;

    fn try_from(wire: v1::HostReport) -> Result<Self, ConvertError> {
        let v1::HostReport { revision, instances, flips, readings, migrations } = wire;
        bounded("instances", &instances, MAX_INSTANCES)?;
        let mut by_id: BTreeMap<InstanceId, InstanceReport> = BTreeMap::new();
        for (at, instance) in instances.into_iter().enumerate() {
            let inside = |error: ConvertError| error.inside(format_args!("instances[{at}]"));
            let (id, report) = <(InstanceId, InstanceReport)>::try_from(instance).map_err(inside)?;
            if by_id.contains_key(&id) {
                return Err(inside(ConvertError::new("instance", format!("{id} is named twice"))));
            }
            by_id.insert(id, report);
        }
        let services: BTreeSet<&ServiceName> = by_id.values().map(|report| &report.service).collect();
        if services.len() > MAX_SERVICES {
            let reason = format!("are of {} services, at most {MAX_SERVICES} are taken", services.len());
            return Err(ConvertError::new("instances", reason));
        }
        let flips = super::flip::flips(flips)?;
        let migrations = migration::reports(migrations)?;
        Ok(Self { revision, instances: by_id, flips, readings: readings.map(Readings::from), migrations })
    }
}

impl From<&HostReport> for v1::HostReport {
    fn from(report: &HostReport) -> Self {
        let HostReport { revision, instances, flips, readings, migrations } = report;
        Self {
            revision: *revision,
            instances: instances.iter().map(v1::InstanceReport::from).collect(),
            flips: flips.iter().map(v1::FlipReport::from).collect(),
            readings: readings.map(v1::ClockReadings::from),
            migrations: migrations.iter().map(v1::MigrationReport::from).collect(),
        }
    }
}

impl From<HostReport> for v1::HostReport {
    fn from(report: HostReport) -> Self {
        Self::from(&report)
    }
}

impl TryFrom<v1::InstanceReport> for (InstanceId, InstanceReport) {
    type Error = ConvertError;

    /// A `detail` that is too long is cut; control characters in it, other than line breaks, are replaced.
    fn try_from(wire: v1::InstanceReport) -> Result<Self, ConvertError> {
        let v1::InstanceReport {
            instance,
            service,
            version,
            phase,
            share,
            pid,
            restarts,
            connections,
            since_unix_millis,
            until_unix_millis,
            detail,
            flip_nanos,
            ready_millis,
            unready_probes,
            unserved,
            ledger,
            pin,
        } = wire;
        let service: ServiceName = parse("service", &service)?;
        let report = InstanceReport {
            release: ReleaseRef { service: service.clone(), version: parse("version", &version)? },
            service,
            phase: v1::InstancePhase::try_from(phase)
                .map_err(|_| {
                    ConvertError::new("phase", format!("{phase} is no phase that this version knows"))
                })?
                .try_into()?,
            share: Share::new(share).map_err(|error| ConvertError::new("share", error))?,
            pid,
            restarts,
            connections,
            since: Timestamp::from_unix_millis(since_unix_millis),
            until: until_unix_millis.map(Timestamp::from_unix_millis),
            detail: plain(&detail, MAX_DETAIL_CHARS),
            flip_nanos,
            ready_millis,
            unready_probes,
            unserved: unserved.map(TryInto::try_into).transpose()?,
            ledger: ledger.map(DrainLedger::from),
            pin: pin.map(PinSource::try_from).transpose().map_err(|error| error.inside("pin"))?,
        };
        Ok((parse("instance", &instance)?, report))
    }
}

impl From<(&InstanceId, &InstanceReport)> for v1::InstanceReport {
    fn from((id, report): (&InstanceId, &InstanceReport)) -> Self {
        let InstanceReport {
            service,
            // A release of another service cannot be said in this message; no instance runs one.
            release: ReleaseRef { service: _, version },
            phase,
            share,
            pid,
            restarts,
            connections,
            since,
            until,
            detail,
            flip_nanos,
            ready_millis,
            unready_probes,
            unserved,
            ledger,
            pin,
        } = report;
        Self {
            instance: id.to_string(),
            service: service.to_string(),
            version: version.to_string(),
            phase: v1::InstancePhase::from(*phase).into(),
            share: u32::from(share.basis_points()),
            pid: *pid,
            restarts: *restarts,
            connections: *connections,
            since_unix_millis: since.unix_millis(),
            until_unix_millis: until.map(Timestamp::unix_millis),
            detail: plain(detail, MAX_DETAIL_CHARS),
            flip_nanos: *flip_nanos,
            ready_millis: *ready_millis,
            unready_probes: *unready_probes,
            unserved: unserved.as_ref().map(|listeners| v1::Unserved {
                listeners: listeners.iter().map(ToString::to_string).collect(),
            }),
            ledger: ledger.map(v1::DrainLedger::from),
            pin: pin.map(v1::Pin::from),
        }
    }
}

impl TryFrom<v1::Unserved> for Vec<ListenerName> {
    type Error = ConvertError;

    fn try_from(wire: v1::Unserved) -> Result<Self, ConvertError> {
        let v1::Unserved { listeners } = wire;
        bounded("unserved", &listeners, MAX_LISTENERS)?;
        listeners.iter().map(|name| parse("unserved", name)).collect()
    }
}

impl TryFrom<v1::Pin> for PinSource {
    type Error = ConvertError;

    fn try_from(wire: v1::Pin) -> Result<Self, ConvertError> {
        let v1::Pin { address, first_port, last_port } = wire;
        let port = |field, port: u32| u16::try_from(port).map_err(|error| ConvertError::new(field, error));
        Ok(Self {
            address: parse("address", &address)?,
            first_port: port("first_port", first_port)?,
            last_port: port("last_port", last_port)?,
        })
    }
}

impl From<PinSource> for v1::Pin {
    fn from(pin: PinSource) -> Self {
        let PinSource { address, first_port, last_port } = pin;
        Self { address: address.to_string(), first_port: first_port.into(), last_port: last_port.into() }
    }
}

impl TryFrom<v1::InstancePhase> for InstancePhase {
    type Error = ConvertError;

    fn try_from(wire: v1::InstancePhase) -> Result<Self, ConvertError> {
        Ok(match wire {
            v1::InstancePhase::Unspecified => return Err(ConvertError::new("phase", "is not set")),
            v1::InstancePhase::Fetching => Self::Fetching,
            v1::InstancePhase::Starting => Self::Starting,
            v1::InstancePhase::Ready => Self::Ready,
            v1::InstancePhase::Unhealthy => Self::Unhealthy,
            v1::InstancePhase::BackingOff => Self::BackingOff,
            v1::InstancePhase::GaveUp => Self::GaveUp,
            v1::InstancePhase::Draining => Self::Draining,
            v1::InstancePhase::Stopping => Self::Stopping,
            v1::InstancePhase::Exited => Self::Exited,
        })
    }
}

impl From<InstancePhase> for v1::InstancePhase {
    fn from(phase: InstancePhase) -> Self {
        match phase {
            InstancePhase::Fetching => Self::Fetching,
            InstancePhase::Starting => Self::Starting,
            InstancePhase::Ready => Self::Ready,
            InstancePhase::Unhealthy => Self::Unhealthy,
            InstancePhase::BackingOff => Self::BackingOff,
            InstancePhase::GaveUp => Self::GaveUp,
            InstancePhase::Draining => Self::Draining,
            InstancePhase::Stopping => Self::Stopping,
            InstancePhase::Exited => Self::Exited,
        }
    }
}

impl From<v1::DrainLedger> for DrainLedger {
    fn from(wire: v1::DrainLedger) -> Self {
        let v1::DrainLedger { connections, force_closed, reset, queues_millis, drain_millis, killed } = wire;
        Self { connections, force_closed, reset, queues_millis, drain_millis, killed }
    }
}

impl From<DrainLedger> for v1::DrainLedger {
    fn from(ledger: DrainLedger) -> Self {
        let DrainLedger { connections, force_closed, reset, queues_millis, drain_millis, killed } = ledger;
        Self { connections, force_closed, reset, queues_millis, drain_millis, killed }
    }
}
