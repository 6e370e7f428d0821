//! Rehearsals: what they leave as it was, what is remembered of them, and deployments that are refused without one.

use super::{Fixture, name, request, rollback};
use crate::fleet::{
    Act, Asker, DeploymentRequest, Effects, Ending, FreezeRequest, LockScope, Purpose, Refusal,
    RehearsalRecord, State, Whose,
};
use handover_model::{
    DeploymentId, Duration, HostName, Measurement, Sample, ServiceName, Share, Traffic, Usage,
};
use std::collections::BTreeMap;

const REQUIRED: &str = "[rollout]\nrehearsal = \"required\"\nrehearsal_max_age = \"48h\"";

/// A fleet at release 2, with release 3 pushed.
fn fleet(manifest: &str) -> Fixture {
    let mut fleet = Fixture::with_hosts(&["a", "b"]);
    for version in ["1", "2"] {
        fleet.push("web", version, "");
        fleet.deploy(&request("web", version)).unwrap();
        fleet.settle();
    }
    fleet.now = fleet.now + Duration::from_secs(1);
    fleet.push("web", "3", manifest);
    fleet
}

fn rehearse(version: &str) -> DeploymentRequest {
    DeploymentRequest { rehearse: Some(Duration::from_secs(10)), ..request("web", version) }
}

fn of(fleet: &Fixture, id: DeploymentId) -> RehearsalRecord {
    fleet.state.rehearsal(id).expect("it is not remembered").clone()
}

/// What a rehearsal must not change.
fn untouched(fleet: &Fixture) -> (Option<String>, Vec<String>, Vec<Option<String>>) {
    let service = &fleet.state.services[&name::<ServiceName>("web")];
    let history = service.history.iter().map(ToString::to_string).collect();
    (fleet.current("web"), history, ["a", "b"].map(|host| fleet.runs(host, "web")).to_vec())
}

fn measured(fleet: &mut Fixture, host: &str, instance: &str, requests: u64, bad: u64) {
    let traffic = Traffic { requests, bad, latency: None };
    let sample = Sample { run: 0, share: Share::HIDDEN, traffic: Ok(traffic), usage: Usage::default() };
    let measurement =
        Measurement { service: name("web"), instances: BTreeMap::from([(name(instance), sample)]) };
    let session = fleet.sessions[&name::<HostName>(host)];
    let said = BTreeMap::from([(name("web"), measurement)]);
    fleet.state.measured(&name(host), session, said, fleet.now);
}

#[test]
fn it_changes_nothing_of_the_service_and_tells_how_long_both_flips_took() {
    let mut fleet = fleet("");
    let before = untouched(&fleet);
    let id = fleet.deploy(&rehearse("3")).unwrap();
    assert_eq!(fleet.runs("b", "web").as_deref(), Some("2"), "one host is enough");
    fleet.settle();
    assert_eq!(untouched(&fleet), before);
    assert_eq!(fleet.state.deployments[&id].purpose, Purpose::Rehearsal);
    let record = of(&fleet, id);
    assert!(record.succeeded());
    assert_eq!((record.host.as_str(), record.from.as_str(), record.to.as_str()), ("a", "2", "3"));
    // Agents of this fleet report every second, the one of the flip back in the moment of its order.
    for (flip, seconds) in [(record.forward.unwrap(), 1), (record.back.unwrap(), 0)] {
        assert_eq!(flip.nanos, Some(900));
        assert_eq!(flip.reported.unwrap().since(flip.ordered), Duration::from_secs(seconds));
    }
    let between = record.back.unwrap().ordered.since(record.forward.unwrap().reported.unwrap());
    assert!(between >= Duration::from_secs(10), "{between:?}");
    fleet.crash_and_start_again();
    assert_eq!(of(&fleet, id), record, "it is durable");
    fleet.deploy(&rollback("web")).unwrap();
    fleet.settle();
    assert_eq!(fleet.current("web").as_deref(), Some("1"), "a rollback goes where it went before");
}

#[test]
fn what_the_release_answered_is_counted_from_the_flip_to_it_on() {
    let mut fleet = fleet("");
    let id = fleet.deploy(&rehearse("3")).unwrap();
    measured(&mut fleet, "a", "web-d3", 40, 4);
    measured(&mut fleet, "b", "web-d2", 1_000, 9);
    assert_eq!(of(&fleet, id).answered(), None, "it has no share yet");
    fleet.report_all();
    measured(&mut fleet, "a", "web-d3", 90, 5);
    fleet.crash_and_start_again();
    measured(&mut fleet, "a", "web-d3", 140, 7);
    fleet.settle();
    let answered = of(&fleet, id).answered().unwrap();
    assert_eq!((answered.requests, answered.bad), (100, 3));
}

#[test]
fn a_release_that_is_not_well_is_a_failed_rehearsal_and_the_host_is_back() {
    let mut fleet = fleet("");
    let before = untouched(&fleet);
    fleet.broken.insert("3".to_owned());
    let id = fleet.deploy(&rehearse("3")).unwrap();
    fleet.settle();
    let record = of(&fleet, id);
    assert!(!record.succeeded() && record.reason.contains("exited with 1"), "{}", record.reason);
    assert_eq!((record.forward, record.back), (None, None), "nobody saw the release");
    assert_eq!(untouched(&fleet), before);
    assert!(matches!(fleet.state.deployments[&id].ended, Some((_, Ending::RolledBack))));
}

#[test]
fn a_server_that_is_killed_at_any_moment_ends_it_with_the_host_as_it_was() {
    for beats in 0..16 {
        let mut fleet = fleet("");
        let before = untouched(&fleet);
        let id = fleet.deploy(&rehearse("3")).unwrap();
        for _ in 0..beats {
            fleet.report_all();
            fleet.now = fleet.now + Duration::from_secs(1);
            fleet.act(State::tick).unwrap();
        }
        fleet.crash_and_start_again();
        fleet.settle();
        assert_eq!(untouched(&fleet), before, "killed after {beats} beats");
        let record = of(&fleet, id);
        assert!(record.succeeded(), "killed after {beats} beats: {}", record.reason);
        assert!(record.forward.unwrap().reported.is_some() && record.back.unwrap().reported.is_some());
    }
}

#[test]
fn it_excludes_other_deployments_and_is_refused_by_freezes_and_locks() {
    let mut fleet = fleet("");
    let refused = |fleet: &mut Fixture| fleet.deploy(&rehearse("3")).unwrap_err();
    let lock = |state: &mut State, now, effects: &mut Effects| {
        let ada = Asker { by: "ada".to_owned(), ..Asker::default() };
        let freeze =
            FreezeRequest { scope: LockScope::Fleet, reason: "sales".into(), from: now, until: None };
        state.freeze(&freeze, &ada, now, effects)
    };
    fleet.act(lock).unwrap();
    match refused(&mut fleet) {
        Refusal::Frozen { command, .. } => {
            assert!(command.starts_with("handover rehearse web --release 3 "), "{command}");
        }
        other => panic!("{other}"),
    }
    fleet.act(|state, _, effects| state.unfreeze(1, &Asker::default(), effects)).unwrap();
    let id = fleet.deploy(&rehearse("3")).unwrap();
    assert!(
        matches!(refused(&mut fleet), Refusal::DeploymentInProgress { deployment, .. } if deployment == id)
    );
    assert!(matches!(fleet.deploy(&request("web", "3")), Err(Refusal::DeploymentInProgress { .. })));
}

#[test]
fn without_a_release_named_what_stands_by_is_rehearsed_and_stands_by_again() {
    let mut fleet = Fixture::with_hosts(&["a", "b"]);
    for version in ["1", "2"] {
        fleet.push("web", version, "[rollout]\nkeep_warm = \"1h\"");
        fleet.deploy(&request("web", version)).unwrap();
        fleet.settle();
    }
    fleet.report_all();
    let placed = |fleet: &Fixture| {
        let host = &fleet.state.hosts[&name::<HostName>("a")];
        let assignment = &host.assignments[&name::<ServiceName>("web")].assignment;
        let part = |placed: Option<&handover_rollout::Placement>| placed.unwrap().instance.to_string();
        [part(assignment.main()), part(assignment.standby())]
    };
    let before = placed(&fleet);
    let id = fleet.deploy(&DeploymentRequest { version: None, ..rehearse("1") }).unwrap();
    fleet.settle();
    let record = of(&fleet, id);
    assert!(record.succeeded());
    assert_eq!((record.from.as_str(), record.to.as_str()), ("2", "1"));
    assert_eq!(placed(&fleet), before);
    assert!(fleet.state.services[&name::<ServiceName>("web")].standby_until.is_some());
}

#[test]
fn without_a_release_named_and_a_standby_the_newest_is_meant() {
    let mut fleet = fleet("");
    let any = DeploymentRequest { version: None, ..rehearse("3") };
    let id = fleet.deploy(&any).unwrap();
    fleet.settle();
    assert_eq!(of(&fleet, id).to.as_str(), "3");
    fleet.deploy(&request("web", "3")).unwrap();
    fleet.settle();
    let refused = fleet.deploy(&any).unwrap_err();
    assert!(refused.to_string().contains("name the release to rehearse"), "{refused}");
    let long = DeploymentRequest { rehearse: Some(Duration::from_secs(3_601)), ..rehearse("2") };
    assert!(matches!(fleet.deploy(&long), Err(Refusal::Invalid(_))));
}

#[test]
fn where_it_is_required_a_release_without_a_fresh_good_one_is_refused() {
    let mut fleet = fleet(REQUIRED);
    let why = |fleet: &mut Fixture| match fleet.deploy(&request("web", "3")).unwrap_err() {
        Refusal::RehearsalRequired { why, command, .. } => {
            assert_eq!(&*command, "handover deploy web --version 3 --override-rehearsal --reason WHY");
            why
        }
        other => panic!("{other}"),
    };
    assert_eq!(why(&mut fleet), "none is recorded");
    fleet.broken.insert("3".to_owned());
    fleet.deploy(&rehearse("3")).unwrap();
    fleet.settle();
    assert!(why(&mut fleet).starts_with("the last one, d3, failed: "));
    fleet.broken.clear();
    fleet.deploy(&rehearse("3")).unwrap();
    fleet.settle();
    fleet.now = fleet.now + Duration::from_secs(3 * 24 * 3600);
    assert_eq!(why(&mut fleet), "the last good one, d4, was 72h00m ago, and 48h00m are allowed");
    fleet.deploy(&rehearse("3")).unwrap();
    fleet.settle();
    fleet.crash_and_start_again();
    fleet.deploy(&request("web", "3")).unwrap();
    fleet.settle();
    assert_eq!(fleet.current("web").as_deref(), Some("3"));
    fleet.deploy(&rollback("web")).unwrap();
    fleet.settle();
    assert_eq!(fleet.current("web").as_deref(), Some("2"), "a rollback is never refused");
}

#[test]
fn another_pair_does_not_count_and_a_first_deployment_needs_none() {
    let mut fleet = Fixture::with_hosts(&["a"]);
    for version in ["1", "2", "3"] {
        fleet.push("web", version, REQUIRED);
    }
    fleet.deploy(&request("web", "1")).unwrap();
    fleet.settle();
    for version in ["2", "3"] {
        fleet.deploy(&rehearse(version)).unwrap();
        fleet.settle();
    }
    fleet.deploy(&request("web", "2")).unwrap();
    fleet.settle();
    let refused = fleet.deploy(&request("web", "3")).unwrap_err();
    assert!(refused.to_string().contains("from the current release 2"), "1 to 3 was rehearsed: {refused}");
}

#[test]
fn it_is_overridden_with_a_reason_only() {
    let mut fleet = fleet(REQUIRED);
    let with =
        |why: &str| DeploymentRequest { override_rehearsal: Some(why.to_owned()), ..request("web", "3") };
    assert!(matches!(fleet.deploy(&with(" ")), Err(Refusal::Invalid(_))));
    fleet.deploy(&with("the fire is larger")).unwrap();
    fleet.settle();
    assert_eq!(fleet.current("web").as_deref(), Some("3"));
}

#[test]
fn the_last_twenty_of_a_service_are_remembered() {
    let mut fleet = fleet("");
    let ids: Vec<_> = (0..22)
        .map(|_| {
            let id = fleet.deploy(&rehearse("3")).unwrap();
            fleet.settle();
            id
        })
        .collect();
    let loaded = fleet.loaded();
    let kept: Vec<_> = loaded.rehearsals(&name("web")).unwrap().map(|(id, _)| id).collect();
    assert_eq!(kept, ids[2..]);
    assert!(matches!(loaded.rehearsals(&name("nobody")).err(), Some(Refusal::NoService(_))));
}

#[test]
fn aborted_it_is_a_failed_one_and_one_that_ended_is_neither_taken_back_nor_tried_again() {
    let mut fleet = fleet("");
    let id = fleet.deploy(&rehearse("3")).unwrap();
    let act = |fleet: &mut Fixture, id: DeploymentId, act: Act| {
        let ended = fleet.state.finals.get(&id).map(|live| live.engine.clone());
        fleet.act(|state, now, effects| {
            state.control(&Whose::Deployment(id), &act, ended.as_ref(), &Asker::default(), now, effects)
        })
    };
    let abort = || Act::Abort { reason: "lunch".to_owned() };
    act(&mut fleet, id, abort()).unwrap();
    fleet.settle();
    assert!(of(&fleet, id).reason.contains("lunch"));
    let id = fleet.deploy(&rehearse("3")).unwrap();
    fleet.settle();
    let refused = act(&mut fleet, id, abort()).unwrap_err().to_string();
    assert!(refused.contains("was a rehearsal") && !refused.contains("rollback"), "{refused}");
    let refused = act(&mut fleet, id, Act::Retry { hosts: [].into() }).unwrap_err().to_string();
    assert!(refused.contains("`handover rehearse web --release 3`"), "{refused}");
}
