//! Deployments: exclusive, idempotent, and what their ends mean.

use super::{Fixture, name, release, request, rollback};
use crate::fleet::{Act, Asker, DeploymentRequest, Refusal, Whose};
use handover_model::{DeploymentId, HostName};
use std::collections::BTreeSet;

#[test]
fn deployments_of_one_service_exclude_each_other_and_no_other_service() {
    let mut fleet = Fixture::with_hosts(&["a", "b"]);
    for service in ["web", "api"] {
        fleet.push(service, "1", "");
        fleet.push(service, "2", "");
    }
    let first = fleet.deploy(&request("web", "1")).unwrap();
    let refused = fleet.deploy(&request("web", "2")).unwrap_err();
    assert!(
        matches!(&refused, Refusal::DeploymentInProgress { deployment, .. } if *deployment == first),
        "{refused}"
    );
    assert!(refused.to_string().contains("d1") && refused.to_string().contains("abort"), "{refused}");
    fleet.deploy(&request("api", "1")).unwrap();
    fleet.settle();
    assert_eq!(fleet.current("web").as_deref(), Some("1"));
    assert_eq!(fleet.current("api").as_deref(), Some("1"));
    fleet.deploy(&request("web", "2")).unwrap();
}

#[test]
fn the_same_request_sent_twice_is_one_deployment_also_after_its_end() {
    let mut fleet = Fixture::with_hosts(&["a"]);
    fleet.push("web", "1", "");
    fleet.push("web", "2", "");
    let asked = DeploymentRequest { request: "r-1".into(), ..request("web", "1") };
    let first = fleet.deploy(&asked).unwrap();
    assert_eq!(fleet.deploy(&asked), Ok(first));
    fleet.settle();
    assert_eq!(fleet.deploy(&asked), Ok(first));
    assert!(fleet.state.live.is_empty(), "a second deployment was begun");
    let other = DeploymentRequest { version: Some(name("2")), ..asked };
    assert!(
        matches!(fleet.deploy(&other), Err(Refusal::RequestReused { deployment, .. }) if deployment == first)
    );
}

#[test]
fn a_failed_deployment_leaves_the_current_release() {
    let mut fleet = Fixture::with_hosts(&["a", "b"]);
    fleet.push("web", "1", "");
    fleet.push("web", "2", "");
    fleet.broken.insert("2".into());
    fleet.deploy(&request("web", "1")).unwrap();
    fleet.settle();
    let id = fleet.deploy(&request("web", "2")).unwrap();
    fleet.settle();
    let (record, _) = fleet.state.deployment(id).unwrap();
    assert_eq!(record.ended.unwrap().1, crate::fleet::Ending::RolledBack);
    assert!(record.reason.contains("exited with 1"), "{}", record.reason);
    assert_eq!(fleet.current("web").as_deref(), Some("1"));
    assert_eq!(
        (fleet.runs("a", "web").as_deref(), fleet.runs("b", "web").as_deref()),
        (Some("1"), Some("1"))
    );
}

#[test]
fn a_first_deployment_that_fails_leaves_no_current_release_and_no_instance() {
    let mut fleet = Fixture::with_hosts(&["a"]);
    fleet.push("web", "1", "");
    fleet.broken.insert("1".into());
    fleet.deploy(&request("web", "1")).unwrap();
    fleet.settle();
    assert_eq!(fleet.current("web"), None);
    assert_eq!(fleet.runs("a", "web"), None);
    let refused = fleet.deploy(&rollback("web")).unwrap_err();
    assert!(matches!(refused, Refusal::NoPreviousRelease { .. }), "{refused}");
}

#[test]
fn rolling_back_twice_goes_back_twice_and_never_to_what_was_just_left() {
    let mut fleet = Fixture::with_hosts(&["a", "b", "c"]);
    for version in ["1", "2", "3"] {
        fleet.push("web", version, "");
        fleet.deploy(&request("web", version)).unwrap();
        fleet.settle();
    }
    let (plan, _) = fleet.state.plan_deployment(&rollback("web"), fleet.now).unwrap();
    assert_eq!(plan.stages.len(), 1, "a rollback is no slow roll-out");
    assert_eq!((plan.policy.max_in_flight, plan.stages[0].bake.as_millis()), (3, 0));
    for expected in ["2", "1"] {
        fleet.deploy(&rollback("web")).unwrap();
        fleet.settle();
        assert_eq!(fleet.current("web").as_deref(), Some(expected));
        assert_eq!(fleet.runs("b", "web").as_deref(), Some(expected));
    }
    assert!(matches!(fleet.deploy(&rollback("web")), Err(Refusal::NoPreviousRelease { .. })));
}

#[test]
fn a_version_never_changes_its_content() {
    let mut fleet = Fixture::with_hosts(&[]);
    fleet.push("web", "1", "");
    fleet.push("web", "1", "");
    let other = release("web", "1", "user = \"nobody\"");
    let refused =
        fleet.act(|state, now, effects| state.create_release(other, "uid:0", now, effects)).unwrap_err();
    assert!(matches!(refused, Refusal::ReleaseExists(_)), "{refused}");
    let foreign = handover_model::Release { manifest: super::manifest("api", ""), ..release("web", "2", "") };
    let refused =
        fleet.act(|state, now, effects| state.create_release(foreign, "uid:0", now, effects)).unwrap_err();
    assert!(matches!(refused, Refusal::OtherService { .. }), "{refused}");
}

#[test]
fn a_host_that_is_offline_is_skipped_failed_or_waited_for_as_the_manifest_says() {
    for (policy, skipped) in [("skip", 1), ("fail", 0), ("wait", 0)] {
        let mut fleet = Fixture::with_hosts(&["a", "b"]);
        let extra =
            format!("[rollout]\noffline = \"{policy}\"\noffline_deadline = \"30s\"\nfailures_allowed = 1\n");
        fleet.push("web", "1", &extra);
        fleet.disconnect("b");
        let (plan, _) = fleet.state.plan_deployment(&request("web", "1"), fleet.now).unwrap();
        assert_eq!(plan.skipped.len(), skipped, "{policy}");
        let began = fleet.now;
        let id = fleet.deploy(&request("web", "1")).unwrap();
        fleet.settle();
        let failures = fleet.state.finals.get(&id).unwrap().engine.failures();
        assert_eq!(failures, if policy == "skip" { 0 } else { 1 }, "{policy}");
        assert_eq!(fleet.now.since(began).as_secs() >= 30, policy == "wait", "{policy}");
        assert_eq!(fleet.runs("b", "web"), None, "{policy}");
        assert_eq!(fleet.current("web").as_deref(), Some("1"), "{policy}");
    }
}

#[test]
fn hosts_chosen_by_name_keep_their_release_and_the_service_its_own() {
    let mut fleet = Fixture::with_hosts(&["a", "b"]);
    fleet.push("web", "1", "");
    fleet.push("web", "2", "");
    fleet.deploy(&request("web", "1")).unwrap();
    fleet.settle();
    let only: BTreeSet<HostName> = [name("a")].into();
    fleet.deploy(&DeploymentRequest { hosts: only, ..request("web", "2") }).unwrap();
    fleet.settle();
    fleet.disconnect("a");
    fleet.connect("a");
    fleet.settle();
    assert_eq!(
        (fleet.runs("a", "web").as_deref(), fleet.runs("b", "web").as_deref()),
        (Some("2"), Some("1"))
    );
    assert_eq!(fleet.current("web").as_deref(), Some("1"));
    fleet.deploy(&request("web", "2")).unwrap();
    fleet.settle();
    assert_eq!((fleet.current("web").as_deref(), fleet.runs("b", "web").as_deref()), (Some("2"), Some("2")));
}

#[test]
fn an_abort_brings_every_touched_host_back() {
    let mut fleet = Fixture::with_hosts(&["a", "b"]);
    fleet.push("web", "1", "");
    fleet.push("web", "2", "[rollout]\nbake = \"1h\"\n");
    fleet.deploy(&request("web", "1")).unwrap();
    fleet.settle();
    let id = fleet.deploy(&request("web", "2")).unwrap();
    for _ in 0..5 {
        fleet.report_all();
    }
    let abort = |fleet: &mut Fixture, id| {
        let (whose, act) = (Whose::Deployment(id), Act::Abort { reason: "lunch".into() });
        fleet.act(|state, now, effects| state.control(&whose, &act, None, &Asker::default(), now, effects))
    };
    abort(&mut fleet, id).unwrap();
    fleet.settle();
    assert_eq!(fleet.runs("a", "web").as_deref(), Some("1"));
    let unknown = abort(&mut fleet, DeploymentId::new(99));
    assert!(matches!(unknown, Err(Refusal::NoDeployment(_))));
}

#[test]
fn bundles_that_nobody_needs_go_and_those_of_rollback_targets_stay() {
    let mut fleet = Fixture::with_hosts(&["a"]);
    for version in 1..=9 {
        fleet.push("web", &version.to_string(), "");
        fleet.now = fleet.now + std::time::Duration::from_secs(1);
        if version <= 2 {
            fleet.deploy(&request("web", &version.to_string())).unwrap();
            fleet.settle();
        }
    }
    fleet.act(|state, _, effects| state.prune(effects)).unwrap();
    let pruned: Vec<String> = fleet
        .state
        .releases
        .values()
        .filter(|release| release.record.pruned)
        .map(|release| release.release.name.version.to_string())
        .collect();
    assert_eq!(pruned, ["3", "4"], "2 is current, 1 the previous one, 5 to 9 the newest");
    assert!(matches!(fleet.deploy(&request("web", "3")), Err(Refusal::NoBundle(_))));
    fleet.push("web", "3", "");
    fleet.deploy(&request("web", "3")).unwrap();
}

#[test]
fn why_a_service_cannot_be_rolled_back_is_said_before_anybody_asks_for_it() {
    let mut fleet = Fixture::with_hosts(&["a"]);
    let why = |fleet: &Fixture| fleet.state.no_rollback(&name("web"));
    let refused = |fleet: &mut Fixture| fleet.deploy(&rollback("web")).unwrap_err().to_string();
    let says = |fleet: &mut Fixture, words: &str| {
        let why = why(fleet).expect("it says that it can be rolled back");
        assert!(why.contains(words), "{why}");
        let refused = refused(fleet);
        assert!(refused.contains(&why), "{refused} is not for what was said: {why}");
    };
    fleet.push("web", "1", "");
    fleet.push("web", "2", "");
    says(&mut fleet, "no deployment of it ended well yet");
    fleet.deploy(&request("web", "1")).unwrap();
    fleet.settle();
    says(&mut fleet, "there is no release before the current one");
    fleet.deploy(&request("web", "2")).unwrap();
    fleet.settle();
    assert_eq!(why(&fleet), None);
    let former = handover_model::ReleaseRef { service: name("web"), version: name("1") };
    fleet.state.releases.get_mut(&former).unwrap().record.pruned = true;
    says(&mut fleet, "the bundle of release 1 is not on the server any more");
    fleet.state.releases.get_mut(&former).unwrap().record.pruned = false;
    fleet.deploy(&rollback("web")).unwrap();
}
