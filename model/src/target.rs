//! Targets: what a host should run.

use crate::{Confirm, Digest, HostName, InstanceId, Labels, MigrationTarget, Release, ServiceName, Share};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What a host should run, whole: services that are not in it are to be stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Counted up by the server for each host. An agent refuses an older one, and another text under the same one.
    pub revision: u64,
    /// What the host's own values in manifests stand for.
    pub host: HostValues,
    /// Each service's instances.
    pub services: BTreeMap<ServiceName, ServiceTarget>,
    /// Bundles that stay on the host although no instance of the target runs them: rollback targets. A hint: it
    /// may change under one revision.
    #[serde(default)]
    pub keep: BTreeSet<Digest>,
    /// What the host should apply to the databases of services, whether it runs them or not.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub migrations: BTreeMap<ServiceName, MigrationTarget>,
}

/// The values that `{host.name}`, `{host.address}` and `{label.KEY}` stand for in a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostValues {
    /// The host's name.
    pub name: HostName,
    /// The address that the host's services are reached at, as the operator gave it to the agent.
    pub address: String,
    /// Its labels.
    pub labels: Labels,
}

/// The instances of one service on one host, with their shares.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ServiceTarget {
    /// In the order in which they were added: the oldest first.
    pub instances: Vec<InstanceTarget>,
    /// That a flip to these shares has to be confirmed; `None`: it stands as soon as it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<Confirm>,
}

/// One instance that should run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceTarget {
    /// Its name.
    pub instance: InstanceId,
    /// What it runs.
    pub release: Release,
    /// Its share once it is ready. Until then it has none, whatever stands here.
    pub share: Share,
}

/// A service's target that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// The shares of the instances do not add up to all, although there are instances.
    #[error("the shares of service {service} add up to {sum} basis points, not to 10000")]
    Shares {
        /// Whose.
        service: ServiceName,
        /// What they add up to.
        sum: u32,
    },
    /// An instance is named twice.
    #[error("instance {0} is named twice")]
    Twice(InstanceId),
    /// A release of another service.
    #[error("instance {instance} of service {service} is to run a release of service {other}")]
    Foreign {
        /// The service in whose target it stands.
        service: ServiceName,
        /// The instance.
        instance: InstanceId,
        /// The service that the release belongs to.
        other: ServiceName,
    },
    /// Migrations of another service's release.
    #[error("service {service} is to be migrated by a release of service {other}")]
    ForeignMigration {
        /// Whose database.
        service: ServiceName,
        /// The service that the release belongs to.
        other: ServiceName,
    },
}

impl Target {
    /// Checks what must hold of every target: shares add up to all (or all are 0: a first instance that is being
    /// checked), no instance stands twice, each release is of its service.
    ///
    /// # Errors
    /// The first thing that does not hold.
    pub fn check(&self) -> Result<(), TargetError> {
        let mut seen = BTreeSet::new();
        for (service, target) in &self.services {
            let mut sum = 0;
            for instance in &target.instances {
                sum += u32::from(instance.share.basis_points());
                if !seen.insert(&instance.instance) {
                    return Err(TargetError::Twice(instance.instance.clone()));
                }
                if instance.release.name.service != *service {
                    return Err(TargetError::Foreign {
                        service: service.clone(),
                        instance: instance.instance.clone(),
                        other: instance.release.name.service.clone(),
                    });
                }
            }
            if sum != 0 && sum != u32::from(Share::ALL.basis_points()) {
                return Err(TargetError::Shares { service: service.clone(), sum });
            }
        }
        let foreign = |(service, migration): &(&ServiceName, &MigrationTarget)| {
            migration.release.name.service != **service
        };
        match self.migrations.iter().find(foreign) {
            Some((service, migration)) => Err(TargetError::ForeignMigration {
                service: service.clone(),
                other: migration.release.name.service.clone(),
            }),
            None => Ok(()),
        }
    }
}
