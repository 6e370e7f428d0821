//! What deployments of the tests are made with, and the hosts before one.

use crate::{
    agent::Agent,
    migrator::Migrator,
    names::{host, old_placement, release, secs},
    world::World,
};
use handover_model::{DeploymentId, Duration, HostName, Labels, Timestamp};
use handover_rollout::{
    BatchSize, Deployment, FleetHost, OfflinePolicy, OnFailure, Plan, PlanRequest, Rolling, rolling,
};
use std::collections::{BTreeMap, BTreeSet};

/// What the deployments of the tests are made with.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) hosts: usize,
    pub(crate) batch: u32,
    pub(crate) in_flight: u32,
    pub(crate) failures_allowed: u32,
    pub(crate) on_failure: OnFailure,
    pub(crate) offline: OfflinePolicy,
    pub(crate) bake: Duration,
    /// How long the old instances stand by afterwards.
    pub(crate) keep_warm: Duration,
    /// How soon each flip must be confirmed; zero: it need not be.
    pub(crate) confirm: Duration,
    /// Whether the hosts run v1 already.
    pub(crate) replaces: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            hosts: 3,
            batch: 1,
            in_flight: 1,
            failures_allowed: 0,
            on_failure: OnFailure::RollBack,
            offline: OfflinePolicy::Skip,
            bake: secs(5),
            keep_warm: Duration::ZERO,
            confirm: Duration::ZERO,
            replaces: true,
        }
    }
}

impl Settings {
    pub(crate) fn rolling(&self) -> Plan {
        rolling(&self.request(), Rolling { batch: BatchSize::Hosts(self.batch), bake: self.bake }).unwrap()
    }

    pub(crate) fn request(&self) -> PlanRequest {
        let fleet_host = |number| FleetHost {
            host: host(number),
            labels: Labels::new(),
            cordoned: false,
            online: true,
            runs: self.replaces.then(old_placement),
            gave_up: false,
            standby: None,
        };
        PlanRequest {
            service: "web".parse().unwrap(),
            release: release("2"),
            labels: Labels::new(),
            only: BTreeSet::new(),
            hosts: (1..=self.hosts).map(fleet_host).collect(),
            order_by: None,
            max_in_flight: Some(BatchSize::Hosts(self.in_flight)),
            failures_allowed: self.failures_allowed,
            on_failure: self.on_failure,
            offline: self.offline,
            ready_deadline: secs(60),
            flip_deadline: secs(20),
            retire_deadline: secs(40),
            keep_warm: self.keep_warm,
            confirm: self.confirm,
            force: false,
        }
    }
}

/// Hosts before a deployment.
pub(crate) struct Fleet {
    settings: Settings,
    pub(crate) agents: BTreeMap<HostName, Agent>,
    pub(crate) migrator: Migrator,
}

impl Fleet {
    pub(crate) fn of(settings: Settings) -> Self {
        let agent = |number| (host(number), Agent::running(settings.replaces.then(old_placement)));
        let agents = (1..=settings.hosts).map(agent).collect();
        Self { settings, agents, migrator: Migrator::default() }
    }

    pub(crate) fn agent(&mut self, number: usize) -> &mut Agent {
        self.agents.get_mut(&host(number)).unwrap()
    }

    pub(crate) fn deploy(self) -> World {
        let plan = self.settings.rolling();
        self.run(&plan)
    }

    pub(crate) fn run(self, plan: &Plan) -> World {
        let now = Timestamp::from_unix_millis(1_000_000);
        let offline =
            self.agents.iter().filter(|(_, agent)| !agent.online).map(|(host, _)| host.clone()).collect();
        let (deployment, step) =
            Deployment::create(DeploymentId::new(2), plan, "ada", &offline, now).unwrap();
        let orders =
            self.agents.iter().map(|(host, agent)| (host.clone(), (agent.order().clone(), 0))).collect();
        let mut world = World {
            deployment,
            records: Vec::new(),
            now,
            agents: self.agents,
            migrator: self.migrator,
            orders,
            confirms: BTreeMap::new(),
            standing: BTreeSet::new(),
            commands: Vec::new(),
            seen_ready: BTreeSet::new(),
        };
        world.take(step);
        world
    }
}
