//! Preflights of a fleet: what deployments leave for the next one, deployments that are refused, and how that is overridden.

use super::{Fixture, name, request, rollback};
use crate::fleet::{DeploymentRequest, Grade, Preflight, Refusal, State};
use handover_model::{DrainLedger, Duration, InstanceId};

const LISTENER: &str = "[listeners]\nhttp = \"0.0.0.0:8080\"\n";
const PROBED: &str =
    "[listeners]\nhttp = \"0.0.0.0:8080\"\n[readiness]\nkind = \"http\"\npath = \"/ready\"\n";
/// Readiness that says nothing of serving.
const BAD: &str = "[listeners]\nhttp = \"0.0.0.0:8080\"\n[readiness]\nkind = \"alive\"\n";

/// A fleet at release 2, after release 1.
fn fleet(manifest: &str) -> Fixture {
    let mut fleet = Fixture::with_hosts(&["a", "b"]);
    for version in ["1", "2"] {
        push(&mut fleet, version, manifest);
        fleet.deploy(&request("web", version)).unwrap();
        fleet.settle();
    }
    fleet
}

fn push(fleet: &mut Fixture, version: &str, manifest: &str) {
    fleet.now = fleet.now + Duration::from_secs(1);
    fleet.push("web", version, manifest);
}

fn look(fleet: &Fixture, version: &str) -> Preflight {
    fleet.state.preflight(&name("web"), Some(&name(version)), fleet.now).unwrap()
}

/// How a point stands, and all that it says.
fn point(fleet: &Fixture, version: &str, number: u32) -> (Grade, String) {
    let points = look(fleet, version).points;
    let point = points.iter().find(|point| point.subject.number() == number).unwrap();
    (point.grade, point.evidence.join("; "))
}

#[track_caller]
fn is(found: &(Grade, String), grade: Grade, evidence: &str) {
    assert!(found.0 == grade && found.1.contains(evidence), "{found:?}");
}

fn refused(fleet: &mut Fixture, request: &DeploymentRequest) -> (String, String) {
    match fleet.deploy(request).unwrap_err() {
        Refusal::PreflightFailed { what, command, .. } => (what.into(), command.into()),
        other => panic!("{other}"),
    }
}

#[test]
fn a_deployment_is_refused_for_a_point_that_fails_and_overridden_with_a_reason_only() {
    let mut fleet = fleet("");
    push(&mut fleet, "3", "compatible = [\"1\"]");
    let (what, command) = refused(&mut fleet, &request("web", "3"));
    assert!(what.starts_with("fail 2, compatibility: not among what 3 declares (1): 2 on a, b ("), "{what}");
    assert_eq!(command, "handover deploy web --version 3 --override-preflight --reason WHY");
    let by_name = DeploymentRequest { hosts: [name("a")].into(), ..request("web", "3") };
    refused(&mut fleet, &by_name);
    let with =
        |why: &str| DeploymentRequest { override_preflight: Some(why.to_owned()), ..request("web", "3") };
    assert!(matches!(fleet.deploy(&with(" ")), Err(Refusal::Invalid(_))));
    fleet.deploy(&with("it was tried elsewhere")).unwrap();
    fleet.settle();
    assert_eq!(fleet.current("web").as_deref(), Some("3"));
}

#[test]
fn the_first_deployment_a_rehearsal_and_a_rollback_are_never_refused() {
    let mut fleet = Fixture::with_hosts(&["a"]);
    for version in ["1", "2"] {
        push(&mut fleet, version, &format!("{BAD}[preflight]\nreadiness = \"fail\""));
    }
    assert_eq!(point(&fleet, "1", 1).0, Grade::Fail);
    fleet.deploy(&request("web", "1")).unwrap();
    fleet.settle();
    let (what, _) = refused(&mut fleet, &request("web", "2"));
    assert!(what.starts_with("fail 1, readiness: "), "{what}");
    let rehearse = DeploymentRequest { rehearse: Some(Duration::from_secs(1)), ..request("web", "2") };
    fleet.deploy(&rehearse).unwrap();
    fleet.settle();
    let over = DeploymentRequest { override_preflight: Some("now".to_owned()), ..request("web", "2") };
    fleet.deploy(&over).unwrap();
    fleet.settle();
    fleet.deploy(&rollback("web")).unwrap();
    fleet.settle();
    assert_eq!(fleet.current("web").as_deref(), Some("1"));
}

#[test]
fn what_a_manifest_never_stops_for_is_told_only_and_what_it_warns_of_may_stop() {
    let mut fleet = fleet("");
    push(&mut fleet, "3", &format!("{BAD}[preflight]\nreadiness = \"never\""));
    push(&mut fleet, "4", "[preflight]\ncompatibility = \"warn\"");
    fleet.deploy(&request("web", "3")).unwrap();
    fleet.settle();
    let (what, _) = refused(&mut fleet, &request("web", "4"));
    assert!(what.starts_with("warn 2, compatibility: 4 does not declare what it goes with"), "{what}");
}

#[test]
fn whoever_overrides_a_rehearsal_need_not_override_the_point_of_rollbacks_as_well() {
    let mut fleet = fleet("");
    push(&mut fleet, "3", "[rollout]\nrehearsal = \"required\"");
    assert!(matches!(fleet.deploy(&request("web", "3")), Err(Refusal::RehearsalRequired { .. })));
    is(&point(&fleet, "3", 5), Grade::Fail, "none is recorded");
    let over = DeploymentRequest { override_rehearsal: Some("now".to_owned()), ..request("web", "3") };
    fleet.deploy(&over).unwrap();
}

#[test]
fn the_newest_release_is_looked_at_where_none_is_named_and_what_is_not_there_is_refused() {
    let mut fleet = fleet("");
    push(&mut fleet, "3", "");
    let newest = fleet.state.preflight(&name("web"), None, fleet.now).unwrap();
    assert_eq!((newest.release.version.as_str(), newest.current.unwrap().as_str()), ("3", "2"));
    let of = |service: &str, version: &str| {
        fleet.state.preflight(&name(service), Some(&name(version)), fleet.now).unwrap_err()
    };
    assert!(matches!(of("web", "9"), Refusal::NoRelease(_)));
    assert!(matches!(of("mail", "1"), Refusal::NoService(_)));
}

#[test]
fn what_starts_showed_is_remembered_over_a_crash_and_only_for_the_same_check() {
    let mut fleet = Fixture::with_hosts(&["a", "b"]);
    push(&mut fleet, "1", PROBED);
    is(&point(&fleet, "1", 1), Grade::Warn, "no start with it was seen yet");
    fleet.ready = |_| (Some(90), Some(0), None);
    fleet.deploy(&request("web", "1")).unwrap();
    fleet.settle();
    fleet.crash_and_start_again();
    is(&point(&fleet, "1", 1), Grade::Warn, "never false in 2 starts (d1), and held 90 ms");
    fleet.ready = |instance| (Some(120), Some(u32::from(instance.as_str() == "web-d2")), None);
    push(&mut fleet, "2", PROBED);
    fleet.deploy(&request("web", "2")).unwrap();
    fleet.settle();
    fleet.crash_and_start_again();
    push(&mut fleet, "3", PROBED);
    is(&point(&fleet, "3", 1), Grade::Pass, "false at first in 2 of 4 starts (d1, d2)");
    push(&mut fleet, "4", &PROBED.replace("/ready", "/other"));
    is(&point(&fleet, "4", 1), Grade::Warn, "http GET /other at http: no start with it");
}

#[test]
fn what_agents_find_out_after_a_start_counts_until_a_later_one_shows_better() {
    let notify = "[listeners]\nhttp = \"0.0.0.0:8080\"\n[readiness]\nkind = \"notify\"\n";
    let mut fleet = Fixture::with_hosts(&["a", "b"]);
    fleet.ready = |_| (Some(5), None, None);
    push(&mut fleet, "1", notify);
    fleet.deploy(&request("web", "1")).unwrap();
    fleet.report_all();
    // It has become known while the hosts bake.
    fleet.ready = |_| (Some(5), None, Some(vec!["http".parse().unwrap()]));
    fleet.settle();
    fleet.crash_and_start_again();
    push(&mut fleet, "2", notify);
    is(
        &point(&fleet, "2", 1),
        Grade::Fail,
        "2 of 2 instances that d1 started were ready and accepted nothing on http, on a, b",
    );
    refused(&mut fleet, &request("web", "2"));
    fleet.ready = |_| (Some(5), None, Some(Vec::new()));
    let rehearse = DeploymentRequest { rehearse: Some(Duration::from_secs(1)), ..request("web", "2") };
    fleet.deploy(&rehearse).unwrap();
    fleet.settle();
    is(&point(&fleet, "2", 1), Grade::Pass, "d2 showed that what is ready accepts");
    fleet.deploy(&request("web", "2")).unwrap();
}

#[test]
fn connections_that_a_deployment_cut_are_told_by_the_next_preflight() {
    let mut fleet = fleet(LISTENER);
    is(&point(&fleet, "2", 4), Grade::Pass, "no deployment of it drained an instance yet");
    let ledger = |instance: &InstanceId| DrainLedger {
        connections: 4,
        force_closed: if instance.as_str() == "web-d2" { 3 } else { 0 },
        ..DrainLedger::default()
    };
    fleet.gone = Some(ledger);
    push(&mut fleet, "3", LISTENER);
    fleet.deploy(&request("web", "3")).unwrap();
    fleet.settle();
    fleet.crash_and_start_again();
    let cut = "d3 to 3: 6 cut at the deadline, 0 reset in a queue, of 8 connections of 2 instances (0 killed), on a, b";
    is(&point(&fleet, "3", 4), Grade::Warn, cut);
    push(&mut fleet, "4", LISTENER);
    fleet.deploy(&request("web", "4")).unwrap();
    fleet.settle();
    let told = point(&fleet, "4", 4);
    is(&told, Grade::Warn, cut);
    is(&told, Grade::Warn, "nobody was cut off in d4: 2 instances drained, 8 connections open");
}

#[test]
fn a_server_that_is_killed_at_any_moment_counts_each_start_and_each_drain_once() {
    for beats in 0..16 {
        let mut fleet = fleet(PROBED);
        fleet.ready = |_| (Some(90), Some(1), None);
        fleet.gone = Some(|_| DrainLedger { connections: 4, force_closed: 1, ..DrainLedger::default() });
        push(&mut fleet, "3", PROBED);
        fleet.deploy(&request("web", "3")).unwrap();
        for _ in 0..beats {
            fleet.report_all();
            fleet.now = fleet.now + Duration::from_secs(1);
            fleet.act(State::tick).unwrap();
        }
        fleet.crash_and_start_again();
        fleet.settle();
        let fleet = Fixture { state: fleet.loaded(), ..fleet };
        let at = format!("killed after {beats} beats");
        let (_, readiness) = point(&fleet, "3", 1);
        assert!(readiness.contains("false at first in 2 of 2 starts (d3)"), "{at}: {readiness}");
        let (_, draining) = point(&fleet, "3", 4);
        assert!(
            draining.contains("2 cut at the deadline, 0 reset in a queue, of 8 connections"),
            "{at}: {draining}"
        );
    }
}

#[test]
fn a_rehearsal_and_a_rollback_show_that_the_way_back_works() {
    let mut fleet = fleet("");
    push(&mut fleet, "3", "");
    is(&point(&fleet, "3", 5), Grade::Warn, "neither rehearsed nor done");
    fleet.broken.insert("3".to_owned());
    let rehearse = DeploymentRequest { rehearse: Some(Duration::from_secs(1)), ..request("web", "3") };
    fleet.deploy(&rehearse).unwrap();
    fleet.settle();
    is(&point(&fleet, "3", 5), Grade::Fail, "the last rehearsal, d3, failed: ");
    refused(&mut fleet, &request("web", "3"));
    fleet.broken.clear();
    fleet.deploy(&rehearse).unwrap();
    fleet.settle();
    fleet.crash_and_start_again();
    is(&point(&fleet, "3", 5), Grade::Pass, "rehearsed in d4 on a, from 2 to 3 and back");
    fleet.deploy(&request("web", "3")).unwrap();
    fleet.settle();
    fleet.deploy(&rollback("web")).unwrap();
    fleet.settle();
    is(&point(&fleet, "3", 5), Grade::Pass, "d6 rolled 3 back to 2 at ");
}

#[test]
fn what_stands_by_counts_as_running() {
    let mut fleet = fleet("[rollout]\nkeep_warm = \"1h\"");
    push(&mut fleet, "3", "compatible = [\"2\"]");
    is(&point(&fleet, "3", 2), Grade::Fail, "not among what 3 declares (2): 1 on a, b");
    is(&point(&fleet, "3", 2), Grade::Fail, "among what 3 declares (2): 2 on a, b");
}

#[test]
fn of_the_last_twenty_deployments_it_is_remembered_what_they_showed() {
    let mut fleet = fleet("");
    for number in 3..=24 {
        push(&mut fleet, &number.to_string(), "");
        fleet.deploy(&request("web", &number.to_string())).unwrap();
        fleet.settle();
    }
    let kept: Vec<u64> = fleet.loaded().lessons.keys().map(|id| id.number()).collect();
    assert_eq!(kept, (5..=24).collect::<Vec<_>>());
}
