//! Records: small, complete, and refused where they make no sense.

use crate::{
    agent::Program,
    fleet::{Fleet, Settings},
    names::{host, secs},
};
use handover_model::{
    DeploymentId, Duration, HostName, InstanceId, ReleaseRef, ServiceName, Share, Timestamp,
};
use handover_rollout::{
    Deployment, Event, HostState, OnFailure, Outcome, Placement, Plan, PlannedHost, Policy, Record,
    ReplayError, Stage,
};
use std::collections::{BTreeMap, BTreeSet};

const AT: Timestamp = Timestamp::from_unix_millis(1);

fn finished() -> Vec<Record> {
    let mut world = Fleet::of(Settings::default()).deploy();
    world.run_to_the_end();
    world.records
}

/// A plan with names as long as they may be.
fn longest(hosts: usize) -> Plan {
    let service: ServiceName = "s".repeat(48).parse().unwrap();
    let release =
        |letter: &str| ReleaseRef { service: service.clone(), version: letter.repeat(64).parse().unwrap() };
    let name = |number: usize| -> HostName { format!("{number:h>63}").parse().unwrap() };
    let instance: InstanceId = "i".repeat(96).parse().unwrap();
    let planned = |number| {
        let from = Placement { instance: instance.clone(), release: release("1"), share: Share::ALL };
        PlannedHost { standby: Some(instance.clone()), ..PlannedHost::new(name(number), Some(from)) }
    };
    Plan {
        service: service.clone(),
        release: release("2"),
        stages: vec![Stage::plain((0..hosts).map(planned).collect(), Share::ALL, secs(1), true)],
        policy: Policy {
            max_in_flight: u32::MAX,
            failures_allowed: 0,
            on_failure: OnFailure::RollBack,
            offline: handover_rollout::OfflinePolicy::Wait { deadline: secs(600) },
            ready_deadline: secs(60),
            flip_deadline: secs(20),
            retire_deadline: secs(40),
            keep_warm: secs(0),
            confirm: secs(0),
        },
        skipped: (hosts..2 * hosts).map(|number| (name(number), "\u{1b}\u{1F600}".repeat(1_000))).collect(),
    }
}

#[test]
fn no_record_is_larger_than_6_kib() {
    let plan = longest(200);
    let by = "\u{1b}".repeat(5_000);
    let offline = plan.stages[0].hosts.iter().take(1).map(|planned| planned.host.clone()).collect();
    let (mut deployment, step) =
        Deployment::create(DeploymentId::new(u64::MAX), &plan, &by, &offline, AT).unwrap();
    let mut records = step.records;
    let reason = "\u{1b}\u{1F600}".repeat(5_000);
    let pause = Event::Pause { by: by.clone(), reason: reason.clone() };
    records.extend(deployment.on_event(pause, AT).records);
    records.extend(deployment.on_event(Event::Resume { by: by.clone() }, AT).records);
    assert_eq!(records.iter().filter(|record| record.name() == "paused_by").count(), 1);
    records.extend(deployment.on_event(Event::Abort { by, reason }, AT).records);
    let late = AT + secs(3_600);
    records.extend(deployment.on_event(Event::Tick, late).records);
    assert!(deployment.outcome().is_some());
    assert!(records.len() > 200);
    for record in &records {
        let json = serde_json::to_string(record).unwrap();
        assert!(json.len() < 6 * 1024, "{} bytes: {}", json.len(), &json[..200]);
        assert_eq!(serde_json::from_str::<Record>(&json).unwrap(), *record);
    }
    assert_eq!(Deployment::replay(records).unwrap(), deployment);
}

#[test]
fn a_large_plan_survives_its_records() {
    let plan = longest(200);
    let (deployment, step) =
        Deployment::create(DeploymentId::new(7), &plan, "ada", &BTreeSet::new(), AT).unwrap();
    assert_eq!(deployment.plan().stages, plan.stages);
    let planned = step.records.iter().filter_map(|record| match record {
        Record::Planned { part, .. } => Some(part.hosts.len()),
        _other => None,
    });
    let sizes: Vec<_> = planned.collect();
    assert_eq!(sizes.iter().sum::<usize>(), 200);
    assert!(sizes.iter().all(|size| (1..=40).contains(size)));
}

#[test]
fn records_that_do_not_begin_a_deployment_are_refused() {
    assert_eq!(Deployment::replay([]), Err(ReplayError::NoBeginning { found: None }));
    let records = finished();
    let error = Deployment::replay(records.into_iter().skip(1)).unwrap_err();
    assert_eq!(error, ReplayError::NoBeginning { found: Some("planned") });
}

#[test]
fn a_record_that_is_missing_doubled_or_swapped_never_panics() {
    let records = finished();
    let mut refused = 0;
    for at in 0..records.len() {
        let mut missing = records.clone();
        missing.remove(at);
        let mut doubled = records.clone();
        doubled.insert(at, records[at].clone());
        let mut swapped = records.clone();
        swapped.swap(at, (at + 1) % records.len());
        for changed in [missing, doubled, swapped] {
            refused += usize::from(Deployment::replay(changed).is_err());
        }
    }
    assert!(refused > records.len(), "only {refused} of {} were refused", 3 * records.len());
}

#[test]
fn a_move_that_cannot_be_is_refused_and_changes_nothing() {
    let (mut deployment, _) = {
        let world = Fleet::of(Settings::default()).deploy();
        (world.deployment, world.records)
    };
    let before = deployment.clone();
    let done = HostState::Done { at: AT, ledger: None, note: String::new(), standby: false };
    let error = deployment.apply(&Record::HostMoved { host: host(1), to: done.clone(), at: AT }).unwrap_err();
    assert_eq!(error.to_string(), "deployment d2: host h1 is starting and cannot become done");
    let error = deployment.apply(&Record::HostMoved { host: host(9), to: done, at: AT }).unwrap_err();
    assert!(matches!(error, ReplayError::UnknownHost { .. }), "{error:?}");
    let error = deployment.apply(&Record::StageEntered { stage: 1, at: AT }).unwrap_err();
    assert!(matches!(error, ReplayError::OutOfPlace { .. }), "{error:?}");
    let failed = Record::HostFailed { host: host(1), reason: "no".to_owned(), at: AT };
    deployment.apply(&failed).unwrap();
    assert!(deployment.apply(&failed).is_err(), "a host fails once");
    assert_ne!(deployment, before);
}

#[test]
fn a_journal_cut_after_any_record_goes_on_to_an_end() {
    let mut fleet = Fleet::of(Settings { hosts: 4, batch: 2, in_flight: 2, ..Settings::default() });
    fleet.agent(4).new_program = Program::dying_after(secs(4));
    let mut world = fleet.deploy();
    world.run_to_the_end();
    let started = world.records.iter().position(|record| matches!(record, Record::Started { .. })).unwrap();
    for cut in started + 1..world.records.len() {
        let mut deployment = Deployment::replay(world.records.iter().take(cut).cloned()).unwrap();
        let mut now = world.now;
        let mut steps = 0;
        while deployment.outcome().is_none() {
            let step = deployment.on_event(Event::Tick, now);
            assert!(!step.records.is_empty() || deployment.next_deadline().is_some_and(|next| next > now));
            now = deployment.next_deadline().map_or(now, |next| next.max(now));
            steps += 1;
            assert!(steps < 200, "cut after {cut} of {} records, it never ends", world.records.len());
        }
    }
}

#[test]
fn the_orders_can_be_told_from_the_records_alone() {
    let mut world = Fleet::of(Settings::default()).deploy();
    world.run_until("the second host bakes", |world| world.state(2) == "baking");
    let ordered: BTreeMap<_, _> = world.deployment.assignments();
    let replayed = Deployment::replay(world.records.clone()).unwrap();
    assert_eq!(replayed.assignments(), ordered);
    assert_eq!(ordered.keys().map(HostName::as_str).collect::<Vec<_>>(), ["h1", "h2"]);
}

#[test]
fn a_fleet_of_10000_hosts_is_deployed_and_taken_back() {
    let hosts = 10_000;
    let settings =
        Settings { hosts, batch: 2_500, in_flight: 2_500, bake: Duration::ZERO, ..Settings::default() };
    let mut fleet = Fleet::of(settings);
    fleet.agent(hosts - 1).new_program = Program::EXITS_AT_ONCE;
    let mut world = fleet.deploy();
    let mut rounds = 0;
    while world.deployment.outcome().is_none() {
        world.now = world.now + secs(1);
        let moving: Vec<_> = world
            .deployment
            .hosts()
            .filter(|view| {
                matches!(view.state.name(), "starting" | "shifting" | "baking" | "retiring" | "returning")
            })
            .map(|view| view.host.clone())
            .collect();
        for host in &moving {
            world.report(host);
        }
        world.event(Event::Tick);
        rounds += 1;
        assert!(rounds < 1_000, "{:?}", world.deployment.waiting_on());
    }
    assert!(
        matches!(world.deployment.outcome(), Some(Outcome::RolledBack { .. })),
        "{:?}",
        world.deployment.outcome()
    );
    assert!(world.serving().iter().all(|version| version == "1"));
}
