//! The fleet's decisions, without a runtime, a store or a clock.

mod asking;
mod canary;
mod catch_up;
mod columns;
mod confirming;
mod control;
mod deploying;
mod durable;
mod freezes;
mod hosts;
mod limits;
mod operators;
mod overtaken;
mod preflight;
mod prometheus;
mod rehearsals;
mod renewal;
mod schemas;
mod soak;
mod standby;

use super::{DeploymentRequest, Effects, Enrolment, Introduction, Refusal, ReleaseSchema, State, persist};
use crate::store::{MemoryStore, Store};
use handover_identity::{JoinToken, TokenClaim};
use handover_model::{
    BundleDescriptor, DeploymentId, Digest, DrainLedger, Duration, HostName, HostReport, InstanceId,
    InstancePhase, InstanceReport, Labels, MigrationState, MigrationTarget, Release, ReleaseRef,
    SchemaVersion, ServiceName, Share, Timestamp, config::ListenerName,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

type Readiness = (Option<u64>, Option<u32>, Option<Vec<ListenerName>>);

/// A fleet with its own clock, whose agents do at once what their targets say.
pub(super) struct Fixture {
    pub(super) state: State,
    pub(super) now: Timestamp,
    sessions: BTreeMap<HostName, u64>,
    /// Versions that never get ready.
    pub(super) broken: BTreeSet<String>,
    /// What agents say of an instance that is ready: after how many milliseconds it was, how many probes were not answered
    /// well until then, and where it accepted nothing.
    pub(super) ready: fn(&InstanceId) -> Readiness,
    /// What becomes of the connections of an instance that is not wanted any more; `None`: agents forget it.
    pub(super) gone: Option<fn(&InstanceId) -> DrainLedger>,
    /// What each agent said last: it remembers that, whatever becomes of the server.
    said: BTreeMap<HostName, HostReport>,
    /// What a database's schema is before the fleet has seen it.
    pub(super) schema_at: SchemaVersion,
    /// Whether no migration can be applied.
    pub(super) migrations_fail: bool,
    /// The version that every migration leads to, whatever it should.
    pub(super) migrates_to: Option<SchemaVersion>,
    /// Where every decision is written.
    pub(super) store: Arc<dyn Store>,
}

fn write(store: &Arc<dyn Store>, effects: Effects) -> Result<(), Refusal> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(persist::commit(store, effects.writes))
}

pub(super) fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

pub(super) fn claim() -> TokenClaim {
    JoinToken::generate(Digest::of(b"ca"), name("localhost:7443")).unwrap().claim
}

pub(super) fn manifest(service: &str, extra: &str) -> String {
    format!("service = \"{service}\"\ncommand = [\"bin/run\"]\n{extra}")
}

pub(super) fn release(service: &str, version: &str, extra: &str) -> Release {
    let digest = Digest::of(format!("{service} {version}").as_bytes());
    Release {
        name: ReleaseRef { service: name(service), version: name(version) },
        bundle: BundleDescriptor { digest, size: 1, tree: digest, unpacked: 1, entries: 1 },
        manifest: manifest(service, extra),
    }
}

pub(super) fn request(service: &str, version: &str) -> DeploymentRequest {
    DeploymentRequest::of(&name(service), &name(version))
}

pub(super) fn rollback(service: &str) -> DeploymentRequest {
    DeploymentRequest { version: None, rollback: true, ..request(service, "0") }
}

impl Fixture {
    /// A fleet whose server has been running for a minute, with these hosts enrolled and online.
    pub(super) fn with_hosts(hosts: &[&str]) -> Self {
        let now = Timestamp::from_unix_millis(1_700_000_000_000);
        let state = State { started: now, ..State::default() };
        let now = now + Duration::from_secs(60);
        let mut fixture = Self {
            state,
            now,
            sessions: BTreeMap::new(),
            broken: BTreeSet::new(),
            ready: |_| (None, None, None),
            gone: None,
            said: BTreeMap::new(),
            schema_at: SchemaVersion::new(41),
            migrations_fail: false,
            migrates_to: None,
            store: Arc::new(MemoryStore::new()),
        };
        fixture.act(State::tick).unwrap();
        for host in hosts {
            fixture.enrol(host, &[]);
            fixture.connect(host);
        }
        fixture
    }

    /// One decision, whose effects are done at once.
    pub(super) fn act<T>(
        &mut self,
        decide: impl FnOnce(&mut State, Timestamp, &mut Effects) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let mut effects = Effects::default();
        let decided = decide(&mut self.state, self.now, &mut effects)?;
        write(&self.store, effects).unwrap();
        Ok(decided)
    }

    /// What a server finds that starts now.
    pub(super) fn loaded(&self) -> State {
        let (state, effects) = persist::load(&*self.store, self.now).unwrap();
        write(&self.store, effects).unwrap();
        state
    }

    /// kill -9 of the server and a new start: every agent connects again.
    pub(super) fn crash_and_start_again(&mut self) {
        self.state = self.loaded();
        for host in std::mem::take(&mut self.sessions).into_keys() {
            self.connect(host.as_str());
        }
    }

    pub(super) fn enrol(&mut self, host: &str, labels: &[(&str, &str)]) {
        let claim = claim();
        let (id, secret) = (claim.id, claim.secret.digest());
        let labels: Labels = labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        let enrolment = Enrolment {
            claim,
            host: name(host),
            address: "127.0.0.1".into(),
            labels,
            agent_version: "0.1.0".into(),
        };
        self.act(|state, now, effects| {
            state.create_token(id, secret, None, Duration::ZERO, now, effects)?;
            state.enrol(enrolment, "1".into(), now + Duration::from_secs(3600), now, effects)
        })
        .unwrap();
    }

    pub(super) fn connect(&mut self, host: &str) {
        let host: HostName = name(host);
        let opened = host.clone();
        let session = self
            .act(|state, now, effects| {
                state.open_session(&opened, "1", Introduction::default(), now, effects)
            })
            .unwrap();
        self.sessions.insert(host, session);
    }

    pub(super) fn disconnect(&mut self, host: &str) {
        let host: HostName = name(host);
        let session = self.sessions.remove(&host).unwrap();
        self.act(|state, now, effects| state.close_session(&host, session, now, effects)).unwrap();
    }

    pub(super) fn push(&mut self, service: &str, version: &str, extra: &str) {
        self.push_with(service, version, extra, None);
    }

    pub(super) fn push_with(
        &mut self,
        service: &str,
        version: &str,
        extra: &str,
        schema: Option<ReleaseSchema>,
    ) {
        let release = release(service, version, extra);
        self.act(|state, now, effects| state.create_release(release, schema, "uid:0", now, effects)).unwrap();
    }

    pub(super) fn deploy(&mut self, request: &DeploymentRequest) -> Result<DeploymentId, Refusal> {
        let request = request.clone();
        self.act(|state, now, effects| state.create_deployment(&request, "uid:0", now, effects))
    }

    /// Every connected agent makes its target true and reports, and time goes on, until no deployment goes on.
    pub(super) fn settle(&mut self) {
        for _ in 0..400 {
            if self.state.live.is_empty() {
                return;
            }
            self.report_all();
            self.now = self.now + Duration::from_secs(1);
            self.act(State::tick).unwrap();
        }
        panic!("the deployments do not end: {:?}", self.state.live);
    }

    pub(super) fn report_all(&mut self) {
        for host in self.sessions.keys().cloned().collect::<Vec<_>>() {
            self.report(host.as_str());
        }
    }

    /// One host says what it runs.
    pub(super) fn report(&mut self, host: &str) {
        let host: HostName = name(host);
        let (report, session) = (self.report_of(&host), self.sessions[&host]);
        self.said.insert(host.clone(), report.clone());
        self.act(|state, now, effects| state.report(&host, session, report, now, effects)).unwrap();
    }

    fn report_of(&self, host: &HostName) -> HostReport {
        let target = self.state.target(host).unwrap();
        let mut instances = BTreeMap::new();
        for (service, service_target) in &target.services {
            for instance in &service_target.instances {
                let broken = self.broken.contains(instance.release.name.version.as_str());
                let (ready_millis, unready_probes, unserved) = (self.ready)(&instance.instance);
                let report = InstanceReport {
                    service: service.clone(),
                    release: instance.release.name.clone(),
                    phase: if broken { InstancePhase::GaveUp } else { InstancePhase::Ready },
                    share: if broken { Share::HIDDEN } else { instance.share },
                    pid: Some(1),
                    restarts: 0,
                    connections: Some(0),
                    since: self.now,
                    until: None,
                    detail: if broken { "exited with 1".into() } else { String::new() },
                    flip_nanos: Some(900),
                    ready_millis,
                    unready_probes,
                    unserved,
                    ledger: None,
                    pin: None,
                };
                instances.insert(instance.instance.clone(), report);
            }
        }
        if let Some(ledger) = self.gone {
            let before = self.said.get(host).cloned().unwrap_or_default();
            for (id, report) in before.instances {
                let (phase, ledger) = (InstancePhase::Exited, Some(ledger(&id)));
                let gone = InstanceReport { phase, ledger, share: Share::HIDDEN, pid: None, ..report };
                instances.entry(id).or_insert(gone);
            }
        }
        let migrated = target.migrations.into_values().filter(|migration| !migration.paused);
        let migrations = migrated.map(|migration| (migration.id, self.migrate(&migration)));
        let migrations = migrations.collect();
        HostReport { revision: target.revision, instances, migrations, ..HostReport::default() }
    }

    /// What becomes of migrations: they are applied, unless the fixture says that they fail, or somebody does not read them.
    fn migrate(&self, migration: &MigrationTarget) -> MigrationState {
        let schema = self.state.schema_of(&migration.release.name).unwrap();
        let known = self.state.schema_version(&schema.database).unwrap_or(self.schema_at);
        let version = schema.after(migration.phase).unwrap_or(known).max(known);
        if let Some(version) = self.migrates_to {
            return MigrationState::Done { version };
        }
        let refused = migration.readers.iter().find(|reader| !reader.reads.contains(version));
        match (self.migrations_fail, refused) {
            (true, _) => MigrationState::Failed { reason: "42 cannot be applied".to_owned() },
            (false, Some(reader)) => {
                MigrationState::Failed { reason: format!("{} does not read it", reader.who) }
            }
            (false, None) => MigrationState::Done { version },
        }
    }

    /// The version that a host should run of a service.
    pub(super) fn runs(&self, host: &str, service: &str) -> Option<String> {
        let host = self.state.hosts.get(&name::<HostName>(host))?;
        let record = host.assignments.get(&name::<ServiceName>(service))?;
        Some(record.assignment.main()?.release.version.to_string())
    }

    pub(super) fn current(&self, service: &str) -> Option<String> {
        self.state.services.get(&name::<ServiceName>(service))?.current.as_ref().map(ToString::to_string)
    }
}
