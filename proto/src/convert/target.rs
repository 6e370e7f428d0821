//! Targets: in the message each release stands once, and instances name it by its version.

use super::{
    ConvertError, MAX_ADDRESS_BYTES, MAX_INSTANCES, MAX_LABELS, MAX_SERVICES, bounded, migration, parse,
};
use crate::v1;
use handover_model::{
    Confirm, Duration, HostValues, InstanceTarget, Label, Labels, Release, ReleaseRef, ServiceName,
    ServiceTarget, Share, Target, Version,
};
use std::collections::{BTreeMap, HashMap};

impl TryFrom<v1::Target> for Target {
    type Error = ConvertError;

    /// Besides each field, what [`Target::check`] asks for holds of the result.
    fn try_from(wire: v1::Target) -> Result<Self, ConvertError> {
        let v1::Target {
            revision,
            host_name,
            host_address,
            host_labels,
            services,
            releases,
            keep,
            migrations,
        } = wire;
        bounded("services", &services, MAX_SERVICES)?;
        bounded("releases", &releases, MAX_INSTANCES)?;
        let instances: usize = services.iter().map(|service| service.instances.len()).sum();
        if instances > MAX_INSTANCES {
            let reason = format!("have {instances} instances together, at most {MAX_INSTANCES} are taken");
            return Err(ConvertError::new("services", reason));
        }
        let releases = releases_by_name(releases)?;
        let host = HostValues {
            name: parse("host_name", &host_name)?,
            address: address(host_address)?,
            labels: labels(host_labels)?,
        };
        let mut by_name = BTreeMap::new();
        for (at, service) in services.into_iter().enumerate() {
            let inside = |error: ConvertError| error.inside(format_args!("services[{at}]"));
            let (name, target) = service_target(service, &releases).map_err(inside)?;
            if by_name.contains_key(&name) {
                return Err(inside(ConvertError::new("service", format!("{name} is named twice"))));
            }
            by_name.insert(name, target);
        }
        bounded("keep", &keep, MAX_INSTANCES)?;
        let keep = keep.iter().map(|digest| parse("keep", digest)).collect::<Result<_, _>>()?;
        let migrations = migration::targets(migrations, &releases)?;
        let target = Self { revision, host, services: by_name, keep, migrations };
        target.check().map_err(|error| ConvertError::new("services", error))?;
        Ok(target)
    }
}

fn releases_by_name(wire: Vec<v1::Release>) -> Result<BTreeMap<ReleaseRef, Release>, ConvertError> {
    let mut releases = BTreeMap::new();
    for (at, release) in wire.into_iter().enumerate() {
        let inside = |error: ConvertError| error.inside(format_args!("releases[{at}]"));
        let release = Release::try_from(release).map_err(inside)?;
        if releases.contains_key(&release.name) {
            return Err(inside(ConvertError::new("version", format!("{} is named twice", release.name))));
        }
        releases.insert(release.name.clone(), release);
    }
    Ok(releases)
}

fn address(address: String) -> Result<String, ConvertError> {
    if address.len() > MAX_ADDRESS_BYTES {
        return Err(ConvertError::new("host_address", format!("is longer than {MAX_ADDRESS_BYTES} bytes")));
    }
    if address.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(ConvertError::new("host_address", "has blanks or control characters"));
    }
    Ok(address)
}

fn labels(wire: HashMap<String, String>) -> Result<Labels, ConvertError> {
    if wire.len() > MAX_LABELS {
        let reason = format!("has {} entries, at most {MAX_LABELS} are taken", wire.len());
        return Err(ConvertError::new("host_labels", reason));
    }
    let checked = |(key, value): (String, String)| {
        let Label { key, value } =
            Label::new(&key, &value).map_err(|error| ConvertError::new("host_labels", error))?;
        Ok((key, value))
    };
    wire.into_iter().map(checked).collect()
}

fn service_target(
    wire: v1::ServiceTarget,
    releases: &BTreeMap<ReleaseRef, Release>,
) -> Result<(ServiceName, ServiceTarget), ConvertError> {
    let v1::ServiceTarget { service, instances, confirm } = wire;
    let service: ServiceName = parse("service", &service)?;
    let mut target = ServiceTarget { confirm: confirm.map(Confirm::from), ..ServiceTarget::default() };
    for (at, instance) in instances.into_iter().enumerate() {
        let inside = |error: ConvertError| error.inside(format_args!("instances[{at}]"));
        target.instances.push(instance_target(instance, &service, releases).map_err(inside)?);
    }
    Ok((service, target))
}

fn instance_target(
    wire: v1::InstanceTarget,
    service: &ServiceName,
    releases: &BTreeMap<ReleaseRef, Release>,
) -> Result<InstanceTarget, ConvertError> {
    let v1::InstanceTarget { instance, version, share } = wire;
    let version: Version = parse("version", &version)?;
    let name = ReleaseRef { service: service.clone(), version };
    let release = releases
        .get(&name)
        .ok_or_else(|| ConvertError::new("version", format!("{name} is not among the target's releases")))?;
    Ok(InstanceTarget {
        instance: parse("instance", &instance)?,
        release: release.clone(),
        share: Share::new(share).map_err(|error| ConvertError::new("share", error))?,
    })
}

impl From<&Target> for v1::Target {
    fn from(target: &Target) -> Self {
        let Target { revision, host: HostValues { name, address, labels }, services, keep, migrations } =
            target;
        let instances = services.values().flat_map(|service| &service.instances);
        let run = instances.map(|instance| &instance.release);
        let named = run.chain(migrations.values().map(|migration| &migration.release));
        let releases: BTreeMap<&ReleaseRef, &Release> =
            named.map(|release| (&release.name, release)).collect();
        Self {
            revision: *revision,
            host_name: name.to_string(),
            host_address: address.clone(),
            host_labels: labels.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
            services: services
                .iter()
                .map(|(service, ServiceTarget { instances, confirm })| v1::ServiceTarget {
                    service: service.to_string(),
                    instances: instances.iter().map(v1::InstanceTarget::from).collect(),
                    confirm: confirm.map(v1::FlipConfirm::from),
                })
                .collect(),
            releases: releases.into_values().map(v1::Release::from).collect(),
            keep: keep.iter().map(ToString::to_string).collect(),
            migrations: migrations.iter().map(v1::MigrationTarget::from).collect(),
        }
    }
}

impl From<Target> for v1::Target {
    fn from(target: Target) -> Self {
        Self::from(&target)
    }
}

impl From<v1::FlipConfirm> for Confirm {
    fn from(wire: v1::FlipConfirm) -> Self {
        let v1::FlipConfirm { within_millis, revision } = wire;
        Self { within: Duration::from_millis(within_millis), revision }
    }
}

impl From<Confirm> for v1::FlipConfirm {
    fn from(confirm: Confirm) -> Self {
        let Confirm { within, revision } = confirm;
        Self { within_millis: u64::try_from(within.as_millis()).unwrap_or(u64::MAX), revision }
    }
}

impl From<&InstanceTarget> for v1::InstanceTarget {
    fn from(target: &InstanceTarget) -> Self {
        let InstanceTarget { instance, release, share } = target;
        Self {
            instance: instance.to_string(),
            version: release.name.version.to_string(),
            share: u32::from(share.basis_points()),
        }
    }
}
